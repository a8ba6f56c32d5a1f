/* reporter_api: makes the balena API believe what is true of our devices, over its whole life:
 * registers a service instance (or goes on with the recorded one), reports starts and ends in
 * batches, one call at a time so that their order holds, registers anew when the API has lost our
 * instance, and compares the API's list with ours: at start, after trouble and every few minutes.
 * What is to be told is the ledger's business; this is the carrier. */
#pragma once

#include "common/balena_api.h"
#include "sidecar-proxy/session/sessions.h"

struct reporter_api;

struct reporter_api_options { /* copied; what is pointed to is borrowed */
    struct loop *loop;
    struct balena_api *api;
    struct sessions *sessions;
    size_t max_devices;
    const char *register_address; /* NULL: the API takes the address we call from */
    int64_t service_id;           /* of an earlier life in this epoch; 0: register */
    /* Registered: keep the id. 0: the API has forgotten us, another will come. */
    void (*on_service_id)(void *arg, int64_t service_id);
    void *arg;
};

struct reporter_api *reporter_api_new(const struct reporter_api_options *options);
void reporter_api_close(struct reporter_api *r); /* at once, nothing is told; NULL is fine */

/* The sessions are in step with OpenVPN, and who knows of newer sessions elsewhere had the time to
 * say so: the first comparison may be made. Before this no difference is looked for. */
void reporter_api_settle(struct reporter_api *r);
/* Would we know if a device had moved elsewhere? While not, sessions that the API no longer lists
 * are left to it. */
void reporter_api_trust(struct reporter_api *r, bool trusted);
/* balena_api_watch()'s on_change: a wait ends when the API is sane again. */
void reporter_api_sanity(struct reporter_api *r);

int64_t reporter_api_service_id(const struct reporter_api *r); /* 0: not registered */
size_t reporter_api_unreported(const struct reporter_api *r);
