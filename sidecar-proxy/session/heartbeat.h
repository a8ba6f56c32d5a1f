/* heartbeat: tells the balena API every 10 s that our service instance is alive, and by its answers
 * us that the API is sane. While it is not, it is asked more often and waited for less, so that its
 * recovery is known within about 4 s. */
#pragma once

#include "common/balena_api.h"

#define HEARTBEAT_MS 10000
#define HEARTBEAT_ILL_MS 2000 /* between the end of one and the next, while it is ill */
#define HEARTBEAT_ILL_PATIENCE_MS 2000

struct heartbeat;

struct heartbeat *heartbeat_new(struct loop *loop, struct balena_api *api);
void heartbeat_close(struct heartbeat *h); /* NULL is fine */
/* Another question was not answered: as long as no beat is, that tells of an ill API, too. */
void heartbeat_note_ill(struct heartbeat *h, const char *why);
/* From now on this id; 0: none, then it is silent. The first beat is at once. */
void heartbeat_set_id(struct heartbeat *h, int64_t service_id);
