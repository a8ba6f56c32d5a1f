/* broker: between the relay threads and the main loop. Takes their questions (struct ask), has them
 * decided by the gate and then placed by the program's router, and posts the answers back. What
 * both know already the threads are told without the trip: two wake-ups less for a tunnel. */
#pragma once

#include "sidecar-proxy/proxy/ask.h"

struct broker;

/* From options it takes api, guest_key, router, access_cache_ms, access_grace_ms. */
int broker_open(struct loop *loop, const struct proxy_options *options, struct broker **ret,
                struct err *err);
/* After the relay threads ended: forgets all that is still asked; freeing it is theirs. */
void broker_close(struct broker *broker);

/* Any thread: true if the ask could be answered at once, from what is known; it is as if it had
 * come back then. False: ask; what could be decided already need not be again. */
bool broker_knows(struct broker *broker, struct ask *ask);
/* From a relay thread. The ask comes back in a letter to ask->from; cancelled, in one of kind
 * LETTER_CANCEL: then nothing else follows. */
void broker_ask(struct broker *broker, struct ask *ask);
void broker_cancel(struct broker *broker, struct ask *ask);
