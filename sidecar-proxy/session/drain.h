/* drain: moves the devices of an instance elsewhere, evenly: as fast as asked, and faster if the
 * time allowed would not do otherwise. It begins with a pause, in which whoever sends devices here
 * may notice that we are not ready. A device that stays although it was told to go is told again
 * after a while. Over when no session is left and those that were moved had time to come back
 * elsewhere: until then who they are is worth keeping. Begins again should one still come. */
#pragma once

#include "common/loop.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/sessions.h"

struct drain;

struct drain_figures {
    uint32_t rate_per_minute; /* at least 1 */
    uint32_t timeout_s;       /* from drain_start(); 0: all at once */
    uint32_t pause_s; /* of those, before anybody is moved; more than timeout_s: all of it */
    uint32_t
        linger_s; /* of those, after the last has gone; at most half of what the pause leaves */
};

/* on_change(arg): the pause is over (drain_is_moving()), or the drain is, or is no longer. Never
 * within drain_start(). */
struct drain *drain_new(struct loop *loop, struct sessions *sessions, loop_fn on_change, void *arg);
void drain_close(struct drain *d); /* NULL is fine */
void drain_set_link(struct drain *d, struct link *link);
/* Starts, or goes on with other figures from now: a pause is never made longer, nor again. */
void drain_start(struct drain *d, const struct drain_figures *figures);
bool drain_started(const struct drain *d);
bool drain_is_moving(const struct drain *d); /* and the pause is over */
bool drain_is_over(const struct drain *d);
