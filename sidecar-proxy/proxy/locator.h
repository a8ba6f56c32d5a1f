/* locator: asks the state service where a device is. Main loop only. Its replicas' addresses are
 * asked in turn, from the one that answered last, until one knows: refused, silent, 503 and rubbish
 * mean the next. Equal questions at the same time share one lookup. */
#pragma once

#include "common/http_client.h"
#include "common/uuid.h"

struct locator;
struct locator_entry;

enum located {
    LOCATED_AT,          /* at a sidecar's proxy */
    LOCATED_NOWHERE,     /* no instance of ours has it */
    LOCATED_STARTING,    /* no replica can say yet */
    LOCATED_UNREACHABLE, /* no replica answers in order */
};

struct location {
    enum located kind;
    char address[46]; /* of LOCATED_AT: numeric */
    uint16_t port;
};

struct locator_wait {
    struct locator_wait *prev, *next;
    struct locator_entry *entry; /* NULL: waits for nothing */
    void (*on_located)(struct locator_wait *wait, const struct location *location);
};

/* replicas: "host:port,name:port", see common/replicas.h. */
int locator_new(struct loop *loop, const char *replicas, struct locator **ret, struct err *err);
void locator_close(struct locator *locator); /* nobody waits any more */

/* True: *now is set. False: on_located(wait) will run, unless it is cancelled. */
bool locator_ask(struct locator *locator, const char *uuid, struct locator_wait *wait,
                 struct location *now);
void locator_cancel(struct locator_wait *wait); /* waiting for nothing is fine */
