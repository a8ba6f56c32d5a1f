/* wall: keeps the nftables table (nft.h) in step with the indices that exist. A change is carried
 * out by nft in the background; until it is, wall_covers() says no, and nothing may be started. */
#pragma once

#include "common/loop.h"

struct wall;

/* on_change(arg): a run of nft has ended, well or not. */
struct wall *wall_new(struct loop *loop, const char *nft_program, const char *pool,
                      loop_fn on_change, void *arg);
void wall_close(struct wall *w); /* the table stays. NULL is fine */

/* The table is to hold exactly these. Tried again for ever, with a pause. */
void wall_set(struct wall *w, const uint32_t *indices, size_t count);
/* bit/s to and from each device, 0: no limit. Takes effect with the next wall_set(). */
void wall_limit(struct wall *w, uint64_t down, uint64_t up);
/* The kernel has refused the limits; the wall stands without them. */
bool wall_is_without_limits(const struct wall *w);
void wall_remove(struct wall *w); /* the table is to go */

bool wall_covers(const struct wall *w, uint32_t index); /* is its tun behind the wall by now? */
bool wall_settled(const struct wall *w);                /* is all as asked? */
const char *wall_why(const struct wall *w);             /* why not, in nft's words; "" */
