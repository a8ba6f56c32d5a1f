/* Whether a pool on this machine serves anybody, and if not, why. */
#include "common/log.h"
#include "controller/pool/drive_local_priv.h"

#include <stdio.h>
#include <string.h>

const char *drive_local_program_why(const struct drive_local *d, enum local_program which)
{
    if (which == LOCAL_HAPROXY && pool_is_udp(&d->pool)) {
        return NULL;
    }
    switch (local_programs_state(d->programs, which)) {
    case KEEPER_RUNNING:
        return local_health_answers(d->health, which) ? NULL : "does not answer";
    case KEEPER_WAITING:
        return local_programs_last_end(d->programs, which);
    case KEEPER_STOPPING:
        return "is being stopped";
    case KEEPER_IDLE:
    case KEEPER_STATES:
        break;
    }
    return "is not started yet";
}

/* The first thing that is missing, in the order of a device's way. */
static void find_unavailable(struct drive_local *d, char *ret, size_t size)
{
    /* With one instance that may be missing for a moment, the planner is content with none. */
    bool enough = d->plan.available && (d->plan.ready > 0 || d->pool.replicas == 0);

    ret[0] = '\0';
    for (int p = 0; p < LOCAL_PROGRAMS && ret[0] == '\0'; p++) {
        const char *why = drive_local_program_why(d, (enum local_program)p);
        if (why != NULL) {
            snprintf(ret, size, "%s: %s", local_program_names[p], why);
        }
    }
    for (size_t i = 0; !enough && i < d->count && ret[0] == '\0'; i++) {
        char why[ERR_TEXT_MAX];
        instance_why(d->items[i], why);
        if (why[0] != '\0') {
            snprintf(ret, size, "instance %u: %.480s", instance_record(d->items[i])->index, why);
        }
    }
    if (!enough && ret[0] == '\0') {
        snprintf(ret, size, "%u of %u instances are ready", d->plan.ready, d->pool.replicas);
    }
}

static void tell_available(struct drive_local *d)
{
    char why[ERR_TEXT_MAX];

    find_unavailable(d, why, sizeof(why));
    bool other = strcmp(why, d->unavailable) != 0;
    memcpy(d->unavailable, why, sizeof(why));
    d->available = why[0] == '\0';
    if (d->stopping || (!other && d->available == d->told_available)) {
        return;
    }
    if (d->available) {
        log_info("the pool is available", "ready", NUM(d->plan.ready), "replicas",
                 NUM(d->pool.replicas), NULL);
    } else if (d->told_available) {
        log_warn("the pool is not available", "ready", NUM(d->plan.ready), "replicas",
                 NUM(d->pool.replicas), "why", why, NULL);
    }
    d->told_available = d->available;
}

static void tell_degraded(struct drive_local *d)
{
    if (d->plan.degraded != NULL && d->plan.degraded != d->was_degraded) {
        log_warn("the pool is degraded", "why", d->plan.degraded, NULL);
    }
    d->was_degraded = d->plan.degraded;
}

void drive_local_judge(struct drive_local *d)
{
    tell_available(d);
    tell_degraded(d);
}
