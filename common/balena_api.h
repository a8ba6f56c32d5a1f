/* balena_api: every call we make to the balena API, each as a question with an enum for an answer.
 * Source: the API's observed behaviour (ARCHITECTURE.md, "The balena API").
 * An answer is never invented: what is not clearly yes or no is API_UNKNOWN, and a 401 alone proves
 * nothing: the API says 401 to everyone while its database is down. So a refusal is believed only
 * if a call with our own service key, begun after it, succeeds (api_verify_sane). */
#pragma once

#include "common/http_client.h"

struct balena_api;
struct api_call;

struct balena_api_options {  /* copied */
    const char *base_url;    /* "https://api.example.com" without a slash at its end */
    const char *service_key; /* required */
    const char *ca_pem;      /* or NULL */
    size_t max_in_flight;    /* 0: 32 */
    uint32_t timeout_ms;     /* of a call; 0: 8000 */
};

enum api_answer {
    API_YES,
    API_NO,      /* clearly refused, absent or empty, and the API is sane */
    API_GONE,    /* client-connect only: our service instance does not exist (409) */
    API_UNKNOWN, /* ill, down, slow, or nonsense: why says which */
};

struct api_result { /* borrowed during the callback */
    enum api_answer answer;
    bool timed_out;           /* of API_UNKNOWN */
    const char *why;          /* of API_UNKNOWN: for a log line; never a key */
    int64_t id;               /* registered service instance, or the device's id from canAccess */
    const char *address;      /* service_instance.ip_address of the migration query; or NULL */
    const char *const *uuids; /* of the list query; only valid UUIDs */
    size_t uuid_count;
};
typedef void (*api_done_fn)(void *arg, const struct api_result *result);

/* From the environment: BALENA_API_INTERNAL_HOST / API_INTERNAL_HOST (http) before BALENA_API_HOST
 * / API_HOST (https); each a host, host:port or a full URL. Caller frees. NULL: none is set.
 * -EINVAL text names the variable. */
int balena_api_url_from_env(char **ret, struct err *err);
/* ROOT_CA: base64 of PEM. *ret NULL when unset. Caller frees. */
int balena_api_ca_from_env(char **ret, struct err *err);

int balena_api_new(struct loop *loop, const struct balena_api_options *options,
                   struct balena_api **ret, struct err *err);
/* No callback afterwards. Not from inside one. NULL is fine. */
void balena_api_close(struct balena_api *api);

/* Each returns a call that may be cancelled until its callback ran; on_done never runs before the
 * function has returned. uuid must be valid (asserted): callers check what came from outside.
 * traceparent: W3C header value to pass on, or NULL. */

/* Is key this device's? 401 -> API_NO only after verification, which is part of the call. A key
 * with bytes outside 0x21..0x7e is API_NO without asking. */
struct api_call *api_device_auth(struct balena_api *api, const char *uuid, const char *key,
                                 api_done_fn on_done, void *arg);
/* May the holder of key (NULL: nobody) open port of the device? API_YES with id; verified refusals.
 */
struct api_call *api_can_access(struct balena_api *api, const char *uuid, uint16_t port,
                                const char *key, const char *traceparent, api_done_fn on_done,
                                void *arg);
/* Does the API believe device id is on some VPN? */
struct api_call *api_is_connected(struct balena_api *api, int64_t id, const char *traceparent,
                                  api_done_fn on_done, void *arg);
/* Where? With the caller's key, since ours gets a 401. address set on API_YES. */
struct api_call *api_find_host(struct balena_api *api, const char *uuid, const char *key,
                               const char *traceparent, api_done_fn on_done, void *arg);

/* Reports up to API_BATCH_MAX devices of service instance service_id. API_YES, API_GONE (connect
 * only) or API_UNKNOWN: then nothing is known about it and it must be repeated if still true. */
#define API_BATCH_MAX 8000
struct api_call *api_report(struct balena_api *api, bool connected, int64_t service_id,
                            const char *const *uuids, size_t count, api_done_fn on_done, void *arg);

/* address NULL: the API takes the caller's. API_YES with id. */
struct api_call *api_register(struct balena_api *api, const char *address, api_done_fn on_done,
                              void *arg);
struct api_call *api_heartbeat(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                               void *arg);
/* Devices that the API lists as connected under service_id. API_YES with uuids (maybe none). */
struct api_call *api_list_devices(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                                  void *arg);
/* A cheap call with our own key, begun now or later, never earlier; equal ones are shared. */
struct api_call *api_verify_sane(struct balena_api *api, api_done_fn on_done, void *arg);
void api_call_cancel(struct api_call *call); /* on_done will not run; NULL is fine */

/* Did the newest finished call with our own key succeed? False before the first. For pages, metrics
 * and readiness; decisions about refusals use api_verify_sane. */
bool balena_api_sane(const struct balena_api *api);
/* Why not, as of that call; "": it did, or none has finished. Borrowed until the next one. */
const char *balena_api_why(const struct balena_api *api);
/* on_change(arg) through the loop whenever balena_api_sane() changes. */
void balena_api_watch(struct balena_api *api, loop_fn on_change, void *arg);
