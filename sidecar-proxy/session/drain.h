/* drain: moves the devices of an instance elsewhere, evenly: as fast as asked, and faster if the
 * time allowed would not do otherwise. A device that stays although it was told to go is told again
 * after a while. Ends when no session is left, and begins again should one still come. */
#pragma once

#include "common/loop.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/sessions.h"

struct drain;

struct drain *drain_new(struct loop *loop, struct sessions *sessions);
void drain_close(struct drain *d); /* NULL is fine */
void drain_set_link(struct drain *d, struct link *link);
/* Starts, or goes on with other figures from now. rate_per_minute at least 1. */
void drain_start(struct drain *d, uint32_t rate_per_minute, uint32_t timeout_s);
bool drain_started(const struct drain *d);
