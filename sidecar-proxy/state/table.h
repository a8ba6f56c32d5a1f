/* table: who is where, as the sidecars say. Pure: no input, no output, no clock.
 * An instance is known by (pool, index), one epoch at a time; a session by (instance, id); a device
 * by its UUID. A device has one current session, the newest. All sessions it has are at one
 * instance: a newer one elsewhere ends the older ones here at once, and their sidecar is told that
 * they are stale. At one instance there may be two for a moment (OpenVPN announces the new one
 * before it ends the old one); then the older steps in should the newer end first.
 * All texts are checked by feed_message.c before they get here; none needs escaping in JSON. */
#pragma once

#include "common/err.h"
#include "common/hashmap.h"
#include "common/subnet.h"
#include "common/uuid.h"

#define TABLE_POOL_MAX 63
#define TABLE_EPOCH_MAX 64
#define TABLE_PROXY_MAX 271 /* "{host name of 255 bytes}:{port}" and brackets */
#define TABLE_PHASE_MAX 15
#define TABLE_ID_MAX 41               /* "{generation}.{cid}" */
#define TABLE_INDEX_MAX 65535         /* of an instance */
#define TABLE_INSTANCE_SESSIONS 65536 /* more than a /16 has addresses */

struct table;

struct table_now { /* the caller's reading of both clocks */
    int64_t mono_ms;
    int64_t unix_ms;
};

/* Who feeds an instance. Both run inside a call of the table's and must not call it; after dropped
 * the feed must forget the instance. */
struct table_feed {
    void (*stale)(void *arg, const char *uuid, const char *id);
    void (*dropped)(void *arg, const char *why); /* never for the feed's own bye or end */
    void *arg;
};

struct table_instance { /* read only for all but table.c */
    char pool[TABLE_POOL_MAX + 1];
    uint32_t index; /* 1..TABLE_INDEX_MAX */
    char epoch[TABLE_EPOCH_MAX + 1];
    int64_t service_id; /* -1: not registered yet */
    char proxy[TABLE_PROXY_MAX + 1];
    char subnet[SUBNET_TEXT_MAX + 1];
    char phase[TABLE_PHASE_MAX + 1];
    int64_t since_ms;            /* Unix time of this epoch's first hello */
    bool synced;                 /* a complete snapshot of this epoch was heard */
    struct table_feed *feed;     /* NULL: none now, lost at lost_at_ms */
    int64_t lost_at_ms;          /* monotonic */
    struct hashmap sessions;     /* by id */
    uint32_t round;              /* private: what the last snapshot holds has its number */
    struct table_instance *next; /* in order of pool and index */
};

struct table_device {
    struct table_session *current;      /* newest first; never NULL */
    struct table_device *older, *newer; /* in order of coming online */
    char uuid[];
};

struct table_session {
    struct table_instance *instance;
    struct table_device *device;
    struct table_session *reserve; /* the next newest of this device, or NULL */
    int64_t since_ms;              /* Unix time, the sidecar's clock */
    uint32_t round;                /* private */
    uint32_t address;              /* host byte order */
    char id[];
};

struct table_claim { /* a session as a sidecar states it */
    char id[TABLE_ID_MAX + 1];
    char uuid[UUID_TEXT_MAX + 1];
    uint32_t address;
    int64_t since_ms;
};

struct table_hello {
    char pool[TABLE_POOL_MAX + 1];
    uint32_t index;
    char epoch[TABLE_EPOCH_MAX + 1];
    int64_t service_id;
    char proxy[TABLE_PROXY_MAX + 1];
    char subnet[SUBNET_TEXT_MAX + 1];
    char phase[TABLE_PHASE_MAX + 1];
};

/* Told synchronously; must not change the table. The caller's storage. Any may be NULL. */
struct table_watcher {
    void (*on_up)(void *arg, const struct table_session *s);  /* came online, or moved here */
    void (*on_down)(void *arg, const struct table_session *s, /* went offline: s was the last */
                    int64_t at_ms);                           /* Unix time */
    void (*on_instance)(void *arg, const struct table_instance *i, bool gone);
    void *arg;
    struct table_watcher *next; /* private */
};

struct table_counts {
    size_t devices;   /* online */
    size_t sessions;  /* devices and reserves */
    size_t instances; /* without a feed included */
    uint64_t ups, downs, stale, lost, refused;
};

struct table_options {
    int64_t lost_ms;      /* how long an instance without a feed keeps its sessions */
    size_t max_sessions;  /* in all; more are not taken, and counted as refused */
    size_t max_instances; /* more get -ENOSPC */
};

struct table *table_new(const struct table_options *options);
void table_free(struct table *t); /* tells nobody */

/* The instance h names, fed by feed from now on. An earlier feed of the same epoch is dropped, its
 * sessions stay until the next snapshot; another epoch of this index is dropped with all it has.
 * -ENOSPC: max_instances. */
int table_hello(struct table *t, const struct table_hello *h, struct table_feed *feed,
                struct table_now now, struct table_instance **ret, struct err *err);
void table_info(struct table *t, struct table_instance *i, int64_t service_id, const char *phase);
/* Replaces all sessions of the instance, without a moment of absence for those in both. */
void table_snapshot(struct table *t, struct table_instance *i, const struct table_claim *claims,
                    size_t count, struct table_now now);
void table_up(struct table *t, struct table_instance *i, const struct table_claim *claim,
              struct table_now now);
/* A session that is not there (any more) is fine: false. */
bool table_down(struct table *t, struct table_instance *i, const char *id, int64_t at_ms);
/* The feed ended without a bye: the instance has lost_ms to come back. */
void table_feed_ended(struct table *t, struct table_instance *i, struct table_now now);
/* Forgets the instance and its sessions; a feed that is not NULL is told why. */
void table_drop(struct table *t, struct table_instance *i, struct table_feed *told, const char *why,
                struct table_now now);
/* Drops the instances whose time to come back is over. To be called about each second. */
void table_tick(struct table *t, struct table_now now);

/* The current session of a device, or NULL. Valid until the table changes. */
const struct table_session *table_find(const struct table *t, const char *uuid);
struct table_instance *table_instances(const struct table *t); /* the first; then ->next */
struct table_instance *table_find_instance(const struct table *t, const char *pool, uint32_t index);
struct table_counts table_counts(const struct table *t);

void table_watch(struct table *t, struct table_watcher *w);
void table_unwatch(struct table *t, struct table_watcher *w);

/* A walk over all devices that may pause: the table may change in between. Who comes online after
 * the walk began may be left out. */
struct table_cursor {
    struct table_device *at;    /* next to be returned */
    struct table_cursor *other; /* private */
};
void table_cursor_open(struct table *t, struct table_cursor *c);
const struct table_session *table_cursor_next(struct table_cursor *c); /* NULL: the end */
void table_cursor_close(struct table *t, struct table_cursor *c);
