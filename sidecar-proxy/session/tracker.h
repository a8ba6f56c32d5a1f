/* tracker: turns what the link tells into sessions of the table. It gives each life of OpenVPN its
 * number within the epoch, keeps sessions over a short loss of the management connection, ends them
 * after a long one, and is the one that logs "connected" and "disconnected".
 *
 * Losing the connection says nothing of the devices: OpenVPN and its tunnels live on when it is the
 * socket that broke. So sessions outlive a loss by lost_ms; if the link is not in step again by
 * then, OpenVPN is taken for dead. Should it live after all, the next resync brings them back. */
#pragma once

#include "common/subnet.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/sessions.h"

#define TRACKER_LOST_MS 3000

struct tracker;

struct tracker_options { /* copied */
    struct loop *loop;
    struct sessions *sessions; /* borrowed */
    struct subnet subnet;      /* a device has an address in it, or it is sent away */
    uint32_t lost_ms;          /* 0: TRACKER_LOST_MS */
    uint64_t known_generation; /* from an earlier life of ours, 0: none */
    int known_pid;             /* of that generation's OpenVPN */
    /* Within the link's callback: a new life of OpenVPN; and the table is in step with it. */
    void (*on_generation)(void *arg, uint64_t generation, int pid);
    void (*on_synced)(void *arg);
    void *arg;
};

struct tracker *tracker_new(const struct tracker_options *options);
void tracker_set_link(struct tracker *t, struct link *link); /* for killing what does not fit */
void tracker_close(struct tracker *t);                       /* NULL is fine */

/* The link's callbacks of the same names. */
void tracker_generation(struct tracker *t, uint64_t link_generation, int pid, bool began);
void tracker_established(struct tracker *t, const struct link_client *c);
void tracker_disconnect(struct tracker *t, const struct link_client *c);
void tracker_bytes(struct tracker *t, uint64_t cid, uint64_t in, uint64_t out);
void tracker_resync_row(struct tracker *t, const struct link_client *c);
void tracker_resync_end(struct tracker *t);
void tracker_lost(struct tracker *t);

/* The device has a newer session elsewhere: ends this one here and sends its client away. False:
 * there is no such session. */
bool tracker_drop(struct tracker *t, const char *uuid, struct session_id id, const char *why);

uint64_t tracker_current(const struct tracker *t); /* generation; 0: none seen yet */
bool tracker_synced(const struct tracker *t);      /* ever in step since our start? */
/* Lost, and it is not yet decided what that means for the sessions there are. */
bool tracker_undecided(const struct tracker *t);
bool tracker_is_lost(const struct tracker *t); /* no connection since the last one ended */
