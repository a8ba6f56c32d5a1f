/* locator: asks the state service where a device is. Main loop only.
 * Replicas are asked in turn until one knows. Equal questions share one lookup, and an answer that
 * says where is shared LOCATOR_SHARE_MS more: under load that is one lookup for many tunnels, and a
 * device that moved meanwhile is asked for anew (fresh) once its old sidecar says so. */
#pragma once

#include "common/http_client.h"
#include "common/uuid.h"

#define LOCATOR_SHARE_MS 100
#define LOCATOR_MAX 65536 /* devices in the table */
#define LOCATOR_REPLICAS_MAX 16

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

/* replicas: "host:port,host:port". -EINVAL: none, too many, or not host:port. */
int locator_new(struct loop *loop, const char *replicas, struct locator **ret, struct err *err);
void locator_close(struct locator *locator); /* nobody waits any more */

/* True: *now is set. False: on_located(wait) will run, unless it is cancelled. */
bool locator_ask(struct locator *locator, const char *uuid, bool fresh, struct locator_wait *wait,
                 struct location *now);
void locator_cancel(struct locator_wait *wait); /* waiting for nothing is fine */
