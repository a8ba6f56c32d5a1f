/* local_health: notices a program of the pool that runs and does not answer (stopped, stuck), which
 * no end of a process tells, and kills it so that it is started again. A program that refuses the
 * connection is starting or has a port taken from it: that is not for killing. */
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
};

struct local_health *local_health_new(const struct local_health_options *options);
void local_health_close(struct local_health *h); /* NULL is fine */
