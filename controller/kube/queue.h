/* queue: names of what is to be looked at again ("reconciled"), each at most once in the queue and
 * at most once at work. A name that is added while at work comes again when that is done. Failures
 * come again after 5 ms, doubled up to 1000 s, and all of them together no faster than a bucket
 * lets (10 a second, 100 at once). Figures and metrics (workqueue_*, controller_runtime_*):
 * client-go's and controller-runtime's.
 *
 *     static void on_work(void *arg, const char *key)     // begins; ends by one of these, now or
 * later: queue_done(q, key)   queue_retry(q, key)   queue_done_after(q, key, ms) */
#pragma once

#include "common/loop.h"

struct queue;

struct queue_options {
    const char *name;                       /* label of its metrics: "vpnpool"; copied */
    size_t max_keys;                        /* 0: 10000 */
    unsigned workers;                       /* keys at work at once; 0: 1 */
    uint32_t first_retry_ms, last_retry_ms; /* 0: 5 ms, 1000 s */
    double retries_per_s;                   /* 0: 10 */
    unsigned retry_burst;                   /* 0: 100 */
    /* Look at key now. Through the loop, never within queue_add(). key is borrowed until it ends.
     */
    void (*on_work)(void *arg, const char *key);
    void *arg;
};

struct queue *queue_new(struct loop *loop, const struct queue_options *options);
void queue_close(struct queue *q); /* on_work will not run; NULL is fine */

/* 0, also when it is there already (an earlier time counts). -EBUSY: max_keys are known, and key is
 * not among them: counted in a metric; the periodic look at everything will find it. */
int queue_add(struct queue *q, const char *key);
int queue_add_after(struct queue *q, const char *key, uint64_t ms);

/* Ends on_work(key). Each of them takes what was added meanwhile into account. */
void queue_done(struct queue *q, const char *key); /* well: forget its failures */
void queue_done_after(struct queue *q, const char *key, uint64_t ms); /* well, and again then */
void queue_retry(struct queue *q, const char *key);                   /* failed: again, later */

/* Stop giving out work (SIGTERM): what is at work may end, on_idle(arg) when nothing is any more.
 */
void queue_stop(struct queue *q, void (*on_idle)(void *arg), void *arg);

size_t queue_depth(const struct queue *q); /* ready to be given out */
size_t queue_at_work(const struct queue *q);
/* ms that the oldest one at work has been; 0: none is. For liveness: a loop that makes progress. */
int64_t queue_longest_ms(const struct queue *q);
