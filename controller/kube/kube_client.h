/* kube_client: requests to one cluster's API server. JSON in, cJSON out.
 *     struct kube_request request = {
 *         .method = "GET", .path = path, .on_done = on_pod, .arg = self};
 *     kube_client_send(client, &request, &self->call);
 * What it sees to: credentials (files read anew, exec plugins, one repetition after a 401), TLS
 * material that changes while we run, a bucket over all requests, 429 and 5xx that say when to come
 * again, connections that died silently, metrics. One thread: that of its loop. It never logs.
 *
 * A server that stopped answering (its node is gone, it is frozen) is noticed by the request's
 * deadline; the connections that it was on are not used any more. */
#pragma once

#include "common/json.h"
#include "common/loop.h"
#include "controller/kube/kube_config.h"

struct kube_client;
struct kube_call;

/* --- what there is: paths ----------------------------------------------------------------- */

struct kube_resource {
    const char *group;   /* "" is the core group */
    const char *version; /* "v1" */
    const char *plural;  /* "pods" */
};

extern const struct kube_resource kube_pods;            /* v1 */
extern const struct kube_resource kube_nodes;           /* v1 */
extern const struct kube_resource kube_leases;          /* coordination.k8s.io/v1 */
extern const struct kube_resource kube_endpoint_slices; /* discovery.k8s.io/v1 */
extern const struct kube_resource kube_events;          /* events.k8s.io/v1 */

/* "/api/v1/namespaces/vpn/pods/fleet-1/status". ns, name, subresource may be NULL (ns: a cluster's
 * resource, or all namespaces). Each part is escaped. Caller frees. */
char *kube_path(const struct kube_resource *resource, const char *ns, const char *name,
                const char *subresource);

/* --- an answer ---------------------------------------------------------------------------- */

enum kube_outcome {
    KUBE_OK,        /* 2xx */
    KUBE_NOT_FOUND, /* 404 */
    KUBE_EXISTS,   /* 409 AlreadyExists: of a create. Perhaps our own whose answer was lost: look */
    KUBE_CONFLICT, /* other 409: a resourceVersion, UID or field owner was not as we thought */
    KUBE_EXPIRED,  /* 410: the resourceVersion or the continue token is too old */
    KUBE_DENIED,   /* 401, 403 */
    KUBE_INVALID,  /* 400, 413, 415, 422 and other 4xx: the same request would fail again */
    KUBE_BUSY,     /* 429, 5xx: come again, not before retry_after_s */
    KUBE_UNREACHABLE, /* no answer. A write may have been carried out: look before doing it again */
};

struct kube_answer { /* borrowed during on_done */
    enum kube_outcome outcome;
    int status;         /* 100..599; 0: KUBE_UNREACHABLE */
    int result;         /* KUBE_UNREACHABLE: why, as http_client.h's on_done says; else 0 */
    cJSON *object;      /* the body, if it is JSON; NULL with on_body. To keep it: MOVE() it */
    const char *reason; /* of a metav1.Status: "NotFound", "AlreadyExists", "Expired"; or "" */
    const char *cause;  /* reason of its first cause: "ResourceVersionTooLarge"; or "" */
    int retry_after_s;  /* from the header or the Status' details; -1: not said */
    /* One line for a person, "" with KUBE_OK: "POST /api/v1/namespaces/vpn/pods: 403 Forbidden:
     * pods is forbidden: ..." */
    const char *text;
};

/* "OK", "not found", "exists", ... for logs and metrics. */
const char *kube_outcome_name(enum kube_outcome outcome);

/* --- a request ---------------------------------------------------------------------------- */

#define KUBE_JSON "application/json"
#define KUBE_MERGE_PATCH "application/merge-patch+json"
#define KUBE_STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define KUBE_JSON_PATCH "application/json-patch+json"
#define KUBE_APPLY_PATCH "application/apply-patch+yaml" /* JSON is YAML */

struct kube_request {         /* all borrowed during kube_client_send() only */
    const char *method;       /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path;         /* of kube_path() */
    const char *query;        /* "limit=500&watch=true", escaped, without '?'; or NULL */
    const char *body;         /* JSON text, or NULL */
    const char *content_type; /* NULL: KUBE_JSON when there is a body */
    uint32_t timeout_ms;      /* of one attempt, from its sending to its answer; 0: 30 s */
    /* 429 and 5xx with Retry-After are tried up to 10 times, after the time they name, if trying
     * again cannot do a thing twice: any method but POST, and no KUBE_JSON_PATCH. All together no
     * faster than 10 a second. true: never. */
    bool once;
    /* Of what must not wait behind others (a Lease's renewal): a connection of its own, and not
     * counted by the bucket. */
    bool urgent;
    /* Exactly once, unless cancelled; never before kube_client_send() has returned. */
    void (*on_done)(void *arg, struct kube_answer *answer);
    /* Instead of kube_answer.object: a 2xx body in pieces, as they come. False: end the request
     * (KUBE_UNREACHABLE, -ECANCELED). Such a request has no deadline but timeout_ms, if that is
     * not 0, and idle_timeout_ms; it is never tried again once a piece has come. */
    bool (*on_body)(void *arg, const char *bytes, size_t len);
    uint32_t idle_timeout_ms; /* with on_body: ends when nothing came for so long; 0: none */
    void *arg;
};

/* -EBUSY: too many wait already (8192). -EINVAL: the path or the query is none. *ret may be NULL.
 */
int kube_client_send(struct kube_client *client, const struct kube_request *request,
                     struct kube_call **ret, struct err *err);
/* on_done will not run. What was sent may be carried out nevertheless. NULL is fine. */
void kube_call_cancel(struct kube_call *call);

/* Server-side apply of object (apiVersion, kind, metadata.name and the fields that we own): fields
 * that others own are taken over only if force. subresource: "status", or NULL. The answer's object
 * is the whole result. */
int kube_apply(struct kube_client *client, const struct kube_resource *resource, const char *ns,
               const char *name, const char *subresource, const char *field_manager, bool force,
               const cJSON *object, void (*on_done)(void *arg, struct kube_answer *answer),
               void *arg, struct kube_call **ret, struct err *err);

/* --- the client --------------------------------------------------------------------------- */

struct kube_client_options {
    const struct kube_config *config; /* copied */
    const char *user_agent;           /* "vpn-controller/0.1.0"; NULL: "openbalena-vpn/{version}" */
    double requests_per_s;            /* over all but urgent ones; 0: 50 */
    unsigned burst;                   /* 0: 100 */
    uint32_t reread_ms;  /* files of certificates and tokens are read anew that often; 0: 50 s */
    size_t max_response; /* bytes of an answer that is not streamed; 0: 8 MiB */
};

/* Reads certificates (and the token) now, so that a wrong file is an error at start. */
int kube_client_new(struct loop *loop, const struct kube_client_options *options,
                    struct kube_client **ret, struct err *err);
/* Cancels what is under way (no on_done). NULL is fine. Close what stands on it first. */
void kube_client_close(struct kube_client *client);

struct loop *kube_client_loop(const struct kube_client *client);
const char *kube_client_namespace(const struct kube_client *client); /* kube_config.ns */

/* fn(arg) when the server answers after it had not: what waits for it may try at once. */
struct kube_listener {
    void (*fn)(void *arg);
    void *arg;
    struct kube_listener *prev, *next; /* private */
};
void kube_client_listen(struct kube_client *client, struct kube_listener *listener);
void kube_client_unlisten(struct kube_client *client, struct kube_listener *listener);
/* ms since an answer came, on the loop's clock; -1: never. For health checks. */
int64_t kube_client_silent_ms(const struct kube_client *client);
