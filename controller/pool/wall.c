#include "controller/pool/wall.h"

#include "common/log.h"
#include "controller/pool/nft.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MS 2000
#define CHECK_MS 5000 /* somebody may have flushed the ruleset */
#define INDICES_MAX 1024
#define SCRIPT_MAX ((size_t)64 << 10)

struct indices {
    uint32_t items[INDICES_MAX];
    size_t count;
    uint64_t down, up; /* limits, bit/s */
    bool removed;      /* no table at all */
};

struct wall {
    struct loop *loop;
    char *program, *pool;
    struct indices wanted;  /* as asked for */
    struct indices running; /* what the run under way brings about */
    struct indices applied; /* what the kernel has */
    uint64_t down, up;      /* for the next wall_set() */
    bool no_limits;         /* the kernel has refused them: the wall stands without */
    bool known;             /* applied is true */
    struct nft_run *run;
    bool checks; /* run only looks whether the table is as it was left */
    struct loop_timer *timer;
    char why[ERR_TEXT_MAX];
    loop_fn on_change;
    void *arg;
};

static bool equal(const struct indices *a, const struct indices *b)
{
    return a->removed == b->removed && a->count == b->count && a->down == b->down &&
           a->up == b->up && memcmp(a->items, b->items, a->count * sizeof(a->items[0])) == 0;
}

/* A kernel that can not limit is no reason to have no wall, nor no instance. */
static void do_without_limits(struct wall *w, const char *why)
{
    w->no_limits = true;
    w->wanted.down = w->wanted.up = 0;
    log_warn("devices' bandwidth can not be limited here", "why", why, NULL);
    loop_timer_start(w->timer, 0, 0);
}

static void fail(struct wall *w, const char *why)
{
    if (w->running.down != 0 || w->running.up != 0) {
        do_without_limits(w, why);
        return;
    }
    w->no_limits = false; /* it was not the limits */
    if (strcmp(w->why, why) != 0) {
        snprintf(w->why, sizeof(w->why), "%s", why);
        log_error("the firewall table is not in place; no instance is started", "why", why, NULL);
    }
    loop_timer_start(w->timer, RETRY_MS, 0);
}

static void look_again(struct wall *w)
{
    loop_timer_start(w->timer, wall_settled(w) ? CHECK_MS : 0, 0);
}

static void on_checked(struct wall *w, int result, const char *why)
{
    if (result < 0) {
        w->known = false;
        log_warn("somebody changed or removed the firewall table; it is put back", "why", why,
                 NULL);
    }
    look_again(w);
}

static void on_done(void *arg, int result, const char *why)
{
    struct wall *w = arg;

    w->run = NULL;
    if (w->checks) {
        on_checked(w, result, why);
    } else if (result < 0) {
        fail(w, why);
    } else {
        w->known = true;
        w->applied = w->running;
        w->why[0] = '\0';
        look_again(w); /* it may have been asked for more meanwhile */
    }
    w->on_change(w->arg);
}

static void on_timer(void *arg)
{
    struct wall *w = arg;
    struct buf script;
    struct err err;

    w->checks = wall_settled(w);
    if (w->run != NULL || (w->checks && w->wanted.removed)) {
        return;
    }
    buf_init(&script, SCRIPT_MAX);
    struct nft_rules rules = {.indices = w->wanted.items,
                              .count = w->wanted.count,
                              .down = w->wanted.down,
                              .up = w->wanted.up};
    int r = w->checks           ? nft_render_look(w->pool, &rules, &script)
            : w->wanted.removed ? nft_render_removal(w->pool, &script)
                                : nft_render(w->pool, &rules, &script);
    w->running = w->wanted;
    if (r < 0) {
        fail(w, "its text is too long");
    } else if (nft_start(w->loop, w->program, buf_str(&script), w->checks, on_done, w, &w->run,
                         &err) < 0) {
        fail(w, err.text);
    }
    buf_clear(&script);
}

struct wall *wall_new(struct loop *loop, const char *nft_program, const char *pool,
                      loop_fn on_change, void *arg)
{
    struct wall *w = xcalloc(1, sizeof(*w));

    w->loop = loop;
    w->program = xstrdup(nft_program);
    w->pool = xstrdup(pool);
    w->on_change = on_change;
    w->arg = arg;
    w->timer = loop_timer_new(loop, on_timer, w);
    return w;
}

void wall_close(struct wall *w)
{
    if (w != NULL) {
        nft_cancel(w->run);
        loop_timer_close(w->timer);
        free(w->program);
        free(w->pool);
        free(w);
    }
}

static void want(struct wall *w, const struct indices *wanted)
{
    if (!equal(&w->wanted, wanted) || !w->known) {
        w->wanted = *wanted;
        if (w->run == NULL && (w->why[0] == '\0' || !loop_timer_active(w->timer))) {
            loop_timer_start(w->timer, 0, 0);
        }
    }
}

void wall_set(struct wall *w, const uint32_t *indices, size_t count)
{
    struct indices wanted = {.count = count < INDICES_MAX ? count : INDICES_MAX,
                             .down = w->no_limits ? 0 : w->down,
                             .up = w->no_limits ? 0 : w->up};

    if (wanted.count > 0) {
        memcpy(wanted.items, indices, wanted.count * sizeof(indices[0]));
    }
    want(w, &wanted);
}

void wall_limit(struct wall *w, uint64_t down, uint64_t up)
{
    if (down != w->down || up != w->up) {
        w->no_limits = false;
    }
    w->down = down;
    w->up = up;
}

void wall_remove(struct wall *w)
{
    struct indices wanted = {.removed = true};

    want(w, &wanted);
}

bool wall_covers(const struct wall *w, uint32_t index)
{
    for (size_t i = 0; w->known && i < w->applied.count; i++) {
        if (w->applied.items[i] == index) {
            return true;
        }
    }
    return false;
}

bool wall_settled(const struct wall *w)
{
    return w->known && equal(&w->wanted, &w->applied);
}

bool wall_is_without_limits(const struct wall *w)
{
    return w->no_limits && wall_settled(w);
}

const char *wall_why(const struct wall *w)
{
    return w->why;
}
