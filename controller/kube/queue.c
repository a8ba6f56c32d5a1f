#include "controller/kube/queue.h"

#include "common/backoff.h"
#include "common/hashmap.h"
#include "controller/kube/bucket.h"
#include "controller/kube/queue_metrics.h"
#include "controller/kube/queue_priv.h"

#include <assert.h>
#include <errno.h>

#define MAX_KEYS 10000
#define FIRST_RETRY_MS 5
#define LAST_RETRY_MS (1000 * 1000)
#define RETRIES_PER_S 10.0
#define RETRY_BURST 100

/* What we know of a key; dropped when there is nothing to know: not queued, not at work, not
 * waiting, no failure to remember. */
struct key {
    char *name;
    bool queued; /* in the list of those that are ready */
    bool at_work;
    bool again; /* added while at work */
    unsigned failures;
    int64_t due_ms;   /* to be added then; 0: not */
    int64_t since_ms; /* queued or at work */
    struct key *prev, *next;
};

struct key_list {
    struct key *first, *last;
    size_t count;
};

struct queue {
    struct loop *loop;
    struct hashmap keys;
    struct key_list ready;
    size_t at_work, waiting;
    struct bucket bucket;
    struct loop_timer *turn; /* keys are ready and a worker is free */
    struct loop_timer *due;  /* the earliest of those that wait */
    int64_t due_ms;          /* when that fires; 0: it does not */
    size_t max_keys;
    unsigned workers;
    uint32_t first_retry_ms, last_retry_ms;
    void (*on_work)(void *arg, const char *key);
    void *arg;
    void (*on_idle)(void *arg); /* after queue_stop() */
    void *idle_arg;
    bool stopped;
    struct queue_metrics metrics;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms();
}

/* --- keys --- */

static void push(struct queue *q, struct key *k)
{
    k->queued = true;
    k->since_ms = now_ms();
    k->prev = q->ready.last;
    k->next = NULL;
    *(q->ready.last != NULL ? &q->ready.last->next : &q->ready.first) = k;
    q->ready.last = k;
    q->ready.count++;
}

static void take_out(struct queue *q, struct key *k)
{
    k->queued = false;
    *(k->prev != NULL ? &k->prev->next : &q->ready.first) = k->next;
    *(k->next != NULL ? &k->next->prev : &q->ready.last) = k->prev;
    q->ready.count--;
}

static void key_free(struct key *k)
{
    free(k->name);
    free(k);
}

static void drop_if_idle(struct queue *q, struct key *k)
{
    if (!k->queued && !k->at_work && k->due_ms == 0 && k->failures == 0) {
        hashmap_remove(&q->keys, k->name);
        key_free(k);
    }
}

static struct key *key_for(struct queue *q, const char *name)
{
    struct key *k = hashmap_get(&q->keys, name);

    if (k != NULL) {
        return k;
    }
    if (q->keys.count >= q->max_keys) {
        metric_inc(q->metrics.refused);
        return NULL;
    }
    k = xcalloc(1, sizeof(*k));
    k->name = xstrdup(name);
    hashmap_put(&q->keys, k->name, k);
    return k;
}

/* --- giving out --- */

static void arm_turn(struct queue *q)
{
    if (!q->stopped && q->ready.count > 0 && q->at_work < q->workers) {
        loop_timer_start(q->turn, 0, 0);
    }
}

static void give_out(struct queue *q, struct key *k)
{
    int64_t now = now_ms();

    take_out(q, k);
    metric_observe(q->metrics.waited, (double)(now - k->since_ms) / 1000);
    k->at_work = true;
    k->since_ms = now;
    q->at_work++;
    arm_turn(q); /* before the caller has its turn: it may close us */
    q->on_work(q->arg, k->name);
}

static void on_turn(void *arg)
{
    struct queue *q = arg;

    if (!q->stopped && q->ready.first != NULL && q->at_work < q->workers) {
        give_out(q, q->ready.first);
    }
}

/* --- adding --- */

static void set_due(struct queue *q, struct key *k, int64_t due_ms)
{
    q->waiting += (due_ms != 0) - (k->due_ms != 0);
    k->due_ms = due_ms;
}

static void make_ready(struct queue *q, struct key *k)
{
    set_due(q, k, 0);
    if (k->queued || k->again) {
        return;
    }
    metric_inc(q->metrics.adds);
    if (k->at_work) {
        k->again = true;
    } else {
        push(q, k);
        arm_turn(q);
    }
}

static void arm_due(struct queue *q, int64_t due_ms)
{
    if (q->due_ms == 0 || due_ms < q->due_ms) {
        int64_t now = now_ms();
        q->due_ms = due_ms;
        loop_timer_start(q->due, due_ms > now ? (uint64_t)(due_ms - now) : 0, 0);
    }
}

static void on_due(void *arg)
{
    struct queue *q = arg;
    int64_t now = now_ms();
    int64_t next = 0;

    q->due_ms = 0;
    for (struct hashmap_iter i = {.map = &q->keys}; q->waiting > 0 && hashmap_next(&i);) {
        struct key *k = i.value;
        if (k->due_ms != 0 && k->due_ms <= now) {
            make_ready(q, k);
        } else if (k->due_ms != 0 && (next == 0 || k->due_ms < next)) {
            next = k->due_ms;
        }
    }
    if (next != 0) {
        arm_due(q, next);
    }
}

static void wait_for(struct queue *q, struct key *k, int64_t ms)
{
    int64_t due_ms = now_ms() + ms;

    if (k->queued || k->again || (k->due_ms != 0 && k->due_ms <= due_ms)) {
        return; /* it comes sooner anyway */
    }
    set_due(q, k, due_ms);
    arm_due(q, due_ms);
}

int queue_add(struct queue *q, const char *name)
{
    struct key *k = key_for(q, name);

    if (k == NULL) {
        return -EBUSY;
    }
    make_ready(q, k);
    return 0;
}

int queue_add_after(struct queue *q, const char *name, uint64_t ms)
{
    struct key *k = key_for(q, name);

    if (k == NULL) {
        return -EBUSY;
    }
    wait_for(q, k, ms > INT32_MAX ? INT32_MAX : (int64_t)ms);
    return 0;
}

/* --- the end of work --- */

/* Returns the key, which is at work no more. */
static struct key *end_work(struct queue *q, const char *name, struct metric *result)
{
    struct key *k = hashmap_get(&q->keys, name);
    assert(k != NULL && k->at_work); /* our bug: only what was given out ends */
    double seconds = (double)(now_ms() - k->since_ms) / 1000;

    metric_observe(q->metrics.worked, seconds);
    metric_observe(q->metrics.time, seconds);
    metric_inc(result);
    k->at_work = false;
    q->at_work--;
    return k;
}

/* What was added meanwhile has its turn now. */
static void go_on(struct queue *q, struct key *k)
{
    if (k->again) {
        k->again = false;
        push(q, k);
    }
    drop_if_idle(q, k);
    arm_turn(q);
    if (q->stopped && q->at_work == 0 && q->on_idle != NULL) {
        loop_timer_start(q->turn, 0, 0);
    }
}

void queue_done(struct queue *q, const char *name)
{
    struct key *k = end_work(q, name, q->metrics.ok);

    k->failures = 0;
    go_on(q, k);
}

void queue_done_after(struct queue *q, const char *name, uint64_t ms)
{
    struct key *k = end_work(q, name, q->metrics.ok_after);

    k->failures = 0;
    wait_for(q, k, ms > INT32_MAX ? INT32_MAX : (int64_t)ms);
    go_on(q, k);
}

void queue_retry(struct queue *q, const char *name)
{
    struct key *k = end_work(q, name, q->metrics.failed);
    int64_t own = backoff_full_ms(q->first_retry_ms, q->last_retry_ms, k->failures);
    int64_t shared = bucket_reserve(&q->bucket, now_ms());

    metric_inc(q->metrics.errors);
    metric_inc(q->metrics.retries);
    k->failures++;
    wait_for(q, k, own > shared ? own : shared);
    go_on(q, k);
}

/* --- from outside --- */

static void on_turn_or_idle(void *arg)
{
    struct queue *q = arg;

    if (!q->stopped) {
        on_turn(q);
    } else if (q->at_work == 0 && q->on_idle != NULL) {
        void (*on_idle)(void *) = q->on_idle;
        q->on_idle = NULL;
        on_idle(q->idle_arg);
    }
}

struct queue *queue_new(struct loop *loop, const struct queue_options *options)
{
    struct queue *q = xcalloc(1, sizeof(*q));

    *q = (struct queue){
        .loop = loop,
        .max_keys = options->max_keys > 0 ? options->max_keys : MAX_KEYS,
        .workers = options->workers > 0 ? options->workers : 1,
        .first_retry_ms = options->first_retry_ms > 0 ? options->first_retry_ms : FIRST_RETRY_MS,
        .last_retry_ms = options->last_retry_ms > 0 ? options->last_retry_ms : LAST_RETRY_MS,
        .bucket =
            bucket_make(options->retries_per_s > 0 ? options->retries_per_s : RETRIES_PER_S,
                        options->retry_burst > 0 ? options->retry_burst : RETRY_BURST, now_ms()),
        .on_work = options->on_work,
        .arg = options->arg,
    };
    hashmap_init(&q->keys);
    q->turn = loop_timer_new(loop, on_turn_or_idle, q);
    q->due = loop_timer_new(loop, on_due, q);
    queue_metrics_init(&q->metrics, options->name, q->workers, q);
    return q;
}

void queue_close(struct queue *q)
{
    if (q == NULL) {
        return;
    }
    queue_metrics_clear(&q->metrics, q);
    loop_timer_close(q->turn);
    loop_timer_close(q->due);
    for (struct hashmap_iter i = {.map = &q->keys}; hashmap_next(&i);) {
        key_free(i.value);
    }
    hashmap_clear(&q->keys);
    free(q);
}

void queue_stop(struct queue *q, void (*on_idle)(void *arg), void *arg)
{
    q->stopped = true;
    q->on_idle = on_idle;
    q->idle_arg = arg;
    loop_timer_start(q->turn, 0, 0);
}

size_t queue_depth(const struct queue *q)
{
    return q->ready.count;
}

size_t queue_at_work(const struct queue *q)
{
    return q->at_work;
}

static void sum_up(const struct queue *q, int64_t *longest, int64_t *all)
{
    int64_t now = now_ms();

    *longest = *all = 0;
    for (struct hashmap_iter i = {.map = &q->keys}; hashmap_next(&i);) {
        const struct key *k = i.value;
        int64_t took = k->at_work ? now - k->since_ms : 0;
        *longest = took > *longest ? took : *longest;
        *all += took;
    }
}

int64_t queue_longest_ms(const struct queue *q)
{
    int64_t longest, all;

    sum_up(q, &longest, &all);
    return longest;
}

int64_t queue_unfinished_ms(const struct queue *q)
{
    int64_t longest, all;

    sum_up(q, &longest, &all);
    return all;
}
