/* local_health: whether the programs of the pool answer. One that runs and does not (stopped,
 * stuck), which no end of a process tells, is killed, so that it is started again; one that refuses
 * the connection is just starting: that is not for killing. */
#pragma once

#include "common/http_client.h"
#include "controller/pool/local_programs.h"

struct local_health;

struct local_health_options { /* copied; all borrowed while it lives */
    struct loop *loop;
    struct http_client *http;
    struct local_programs *programs;
    const struct pool_object *pool; /* its ports; its content changes with a reload */
    const struct local_paths *paths;
    loop_fn on_change; /* local_health_answers() of one has changed */
    void *arg;
};

struct local_health *local_health_new(const struct local_health_options *options);
/* Has it answered since it was started, and does it still? */
bool local_health_answers(const struct local_health *h, enum local_program which);
void local_health_close(struct local_health *h); /* NULL is fine */
