/* The parts of sidecar among themselves: sidecar.c makes the parts and ends them, sidecar_events.c
 * hands on what each has to say to the others. */
#pragma once

#include "common/balena_api.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/auth.h"
#include "sidecar-proxy/session/drain.h"
#include "sidecar-proxy/session/feeds.h"
#include "sidecar-proxy/session/record.h"
#include "sidecar-proxy/session/reporter_api.h"
#include "sidecar-proxy/session/sidecar.h"
#include "sidecar-proxy/session/tracker.h"

struct sidecar {
    struct sidecar_options o;
    struct subnet_block block;
    struct record record;
    struct sessions sessions;
    struct sessions_watcher watcher;
    struct verdicts verdicts;
    struct balena_api *api;       /* of devices and reports */
    struct balena_api *proxy_api; /* of callers: their crowds do not hold up the others */
    struct tracker *tracker;
    struct reporter_api *reporter;
    struct verdict_asker *asker;
    struct auth *auth;
    struct drain *drain;
    struct control *control;
    struct device_router *router;
    struct proxy *proxy;
    struct link *link;
    struct replicas *states;
    struct feeds *feeds; /* NULL: not yet, or closed */
    struct loop_timer *settle_timer;
    struct loop_timer *stop_timer;
    struct loop_timer *housekeeping;
    bool was_live; /* the link, ever */
    bool was_sane; /* the API, ever */
    bool stopping; /* asked to end */
    bool closing;  /* all is told: the parts are being closed */
    int64_t stop_by_ms;
    bool proxy_drained;
    int open_parts; /* of link and feeds, while closing */
};

/* Callbacks of the parts; arg is the sidecar. */
extern const struct link_callbacks sidecar_link_events;
void sidecar_on_life(void *arg, uint64_t generation, int pid);
void sidecar_on_synced(void *arg);
void sidecar_on_feed_change(void *arg);
void sidecar_on_stale(void *arg, const char *uuid, struct session_id id);
void sidecar_on_service_id(void *arg, int64_t service_id);
void sidecar_on_verdict(void *arg, const struct verdict *v);
void sidecar_on_sanity(void *arg);
void sidecar_on_up(void *arg, const struct session *session);
void sidecar_on_down(void *arg, const struct session *session, int64_t at_ms);
struct control_status sidecar_on_status(void *arg);
void sidecar_on_drain(void *arg, const struct control_drain *d);
void sidecar_on_drain_change(void *arg);
void sidecar_settle(void *arg);
void sidecar_part_closed(void *arg); /* the link or the feeds */

/* Starts a drain, or gives it other figures; pause_s as in drain.h. */
void sidecar_drain(struct sidecar *s, const struct control_drain *d, int64_t pause_s);
void sidecar_tell_feeds(struct sidecar *s); /* id and phase, if they are others now */
