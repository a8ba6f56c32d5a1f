/* fakes: the balena API, the link and the loop's patience, in place of the files that do input and
 * output. Calls are written down as text; the test answers them when it likes. */
#pragma once

#include "common/balena_api.h"
#include "common/loop.h"

/* --- the loop --- */
typedef bool (*fake_condition)(void *arg);
/* Runs the loop until condition(arg), or fails the test after 10 s. */
void fake_run_until(struct loop *loop, fake_condition condition, void *arg);
/* Lets all that is posted or due at once happen. */
void fake_settle(struct loop *loop);

/* A port of the loopback that nobody has. */
uint16_t fake_free_port(void);

/* --- the balena API --- */
struct balena_api *fake_api(void); /* one for all; starts sane */
void fake_api_reset(void);
/* The oldest call that waits, as text: "auth UUID KEY", "connect 7 UUID,UUID", "disconnect 7 UUID",
 * "register ADDRESS", "heartbeat 7", "list 7". "" when none does. Heartbeats are left out unless
 * fake_api_heartbeats is set. */
const char *fake_api_waiting(void);
size_t fake_api_waiting_count(void);
void fake_api_answer(enum api_answer answer); /* to that one */
void fake_api_answer_id(int64_t id);          /* registered */
void fake_api_answer_list(const char *const *uuids, size_t count);
size_t fake_api_cancelled(void);
void fake_api_set_sane(bool sane); /* tells the watcher */
extern bool fake_api_heartbeats;

/* --- the link --- */
struct link *fake_link(void);
/* All answers and commands so far, a line each: "allow 0 1", "deny 0 1", "temp 0 1 60", "kill 3";
 * and forgets them. */
const char *fake_link_take(void);
extern bool fake_link_live; /* false: answers say that nothing was sent */
