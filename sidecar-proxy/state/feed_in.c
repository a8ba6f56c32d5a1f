#include "sidecar-proxy/state/feed_in.h"

#include <errno.h>
#include <string.h>

typedef int (*feed_act)(struct feed_in *f, const struct feed_message *m, struct table_now now,
                        struct err *err);

static int greet(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err);
static int stage(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err);
static int unstage(struct feed_in *f, const struct feed_message *m, struct table_now now,
                   struct err *err);
static int replace(struct feed_in *f, const struct feed_message *m, struct table_now now,
                   struct err *err);
static int up(struct feed_in *f, const struct feed_message *m, struct table_now now,
              struct err *err);
static int down(struct feed_in *f, const struct feed_message *m, struct table_now now,
                struct err *err);
static int learn(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err);
static int inform(struct feed_in *f, const struct feed_message *m, struct table_now now,
                  struct err *err);
static int leave(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err);

/* The whole life of a feed. What a state lacks is the sidecar's fault, and ends the connection:
 * a change that comes before a snapshot would be a change of something unknown. While the parts of
 * a snapshot arrive, changes apply to these parts, so that they take effect with them. */
static const struct {
    feed_act act;
    enum feed_state next;
} table[FEED_STATES][FEED_EVENTS] = {
    [FEED_GREETING] = {[FEED_HELLO] = {greet, FEED_EMPTY}},
    [FEED_EMPTY] =
        {
            [FEED_PART] = {stage, FEED_STAGING},
            [FEED_SNAPSHOT] = {replace, FEED_LIVE},
            [FEED_VERDICT] = {learn, FEED_EMPTY},
            [FEED_INFO] = {inform, FEED_EMPTY},
            [FEED_BYE] = {leave, FEED_ENDED},
        },
    [FEED_STAGING] =
        {
            [FEED_PART] = {stage, FEED_STAGING},
            [FEED_SNAPSHOT] = {replace, FEED_LIVE},
            [FEED_UP] = {stage, FEED_STAGING},
            [FEED_DOWN] = {unstage, FEED_STAGING},
            [FEED_VERDICT] = {learn, FEED_STAGING},
            [FEED_INFO] = {inform, FEED_STAGING},
            [FEED_BYE] = {leave, FEED_ENDED},
        },
    [FEED_LIVE] =
        {
            [FEED_PART] = {stage, FEED_STAGING},
            [FEED_SNAPSHOT] = {replace, FEED_LIVE},
            [FEED_UP] = {up, FEED_LIVE},
            [FEED_DOWN] = {down, FEED_LIVE},
            [FEED_VERDICT] = {learn, FEED_LIVE},
            [FEED_INFO] = {inform, FEED_LIVE},
            [FEED_BYE] = {leave, FEED_ENDED},
        },
};

static const char *const state_names[FEED_STATES] = {
    [FEED_GREETING] = "greeting", [FEED_EMPTY] = "empty", [FEED_STAGING] = "staging",
    [FEED_LIVE] = "live",         [FEED_ENDED] = "ended",
};

const char *feed_state_name(enum feed_state state)
{
    return state_names[state];
}

static void staged_free(struct feed_in *f)
{
    free(f->staged);
    f->staged = NULL;
    f->staged_count = f->staged_cap = 0;
}

static void stale_hook(void *arg, const char *uuid, const char *id)
{
    struct feed_in *f = arg;

    f->on_stale(f->arg, uuid, id);
}

static void dropped_hook(void *arg, const char *why)
{
    struct feed_in *f = arg;

    f->instance = NULL;
    f->state = FEED_ENDED;
    f->on_dropped(f->arg, why);
}

void feed_in_init(struct feed_in *f)
{
    f->state = FEED_GREETING;
    f->instance = NULL;
    f->seq = -1;
    f->staged = NULL;
    f->staged_count = f->staged_cap = 0;
    f->hooks = (struct table_feed){.stale = stale_hook, .dropped = dropped_hook, .arg = f};
}

void feed_in_clear(struct feed_in *f, struct table_now now)
{
    if (f->instance != NULL) {
        table_feed_ended(f->world->table, f->instance, now);
        f->instance = NULL;
    }
    f->state = FEED_ENDED;
    staged_free(f);
}

static int greet(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err)
{
    if (!roster_admits(f->world->roster, f->world->table, &m->hello)) {
        return err_text(err, -EBUSY, "instance %u is another epoch's", m->hello.index);
    }
    return table_hello(f->world->table, &m->hello, &f->hooks, now, &f->instance, err);
}

static void learn_all(struct feed_in *f, const struct feed_message *m, struct table_now now)
{
    for (size_t n = 0; n < m->verdict_count; n++) {
        verdicts_put(f->world->verdicts, &m->verdicts[n], now.unix_ms);
    }
}

static int stage(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err)
{
    size_t count = f->staged_count + m->session_count;

    if (count >
        2 * TABLE_INSTANCE_SESSIONS) { /* repeats of an id are there until it takes effect */
        return err_text(err, -EPROTO, "a snapshot of over %d sessions",
                        2 * TABLE_INSTANCE_SESSIONS);
    }
    if (count > f->staged_cap) {
        f->staged_cap = 2 * count;
        f->staged = xrealloc(f->staged, f->staged_cap * sizeof(*f->staged));
    }
    if (m->session_count > 0) {
        memcpy(f->staged + f->staged_count, m->sessions, m->session_count * sizeof(*f->staged));
    }
    f->staged_count = count;
    learn_all(f, m, now);
    return 0;
}

static int unstage(struct feed_in *f, const struct feed_message *m, struct table_now now,
                   struct err *err)
{
    size_t kept = 0;

    for (size_t n = 0; n < f->staged_count; n++) {
        if (strcmp(f->staged[n].id, m->sessions->id) != 0) {
            f->staged[kept++] = f->staged[n];
        }
    }
    f->staged_count = kept;
    return 0;
}

static int replace(struct feed_in *f, const struct feed_message *m, struct table_now now,
                   struct err *err)
{
    int r = stage(f, m, now, err);

    if (r == 0) {
        table_snapshot(f->world->table, f->instance, f->staged, f->staged_count, now);
        staged_free(f);
    }
    return r;
}

static int up(struct feed_in *f, const struct feed_message *m, struct table_now now,
              struct err *err)
{
    table_up(f->world->table, f->instance, m->sessions, now);
    return 0;
}

/* The id alone says which; a UUID that does not fit means that we disagree about something. */
static int down(struct feed_in *f, const struct feed_message *m, struct table_now now,
                struct err *err)
{
    const struct table_session *s = hashmap_get(&f->instance->sessions, m->sessions->id);

    if (s != NULL && strcmp(s->device->uuid, m->sessions->uuid) != 0) {
        return err_text(err, -EPROTO, "session %s is another device's", m->sessions->id);
    }
    table_down(f->world->table, f->instance, m->sessions->id, m->at_ms);
    return 0;
}

static int learn(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err)
{
    learn_all(f, m, now);
    return 0;
}

static int inform(struct feed_in *f, const struct feed_message *m, struct table_now now,
                  struct err *err)
{
    const char *phase = m->hello.phase[0] != '\0' ? m->hello.phase : f->instance->phase;
    int64_t id = m->has_service_id ? m->hello.service_id : f->instance->service_id;

    table_info(f->world->table, f->instance, id, phase);
    return 0;
}

static int leave(struct feed_in *f, const struct feed_message *m, struct table_now now,
                 struct err *err)
{
    struct table_instance *i = f->instance;

    f->instance = NULL;
    table_drop(f->world->table, i, NULL, "bye", now);
    return 0;
}

/* Numbers grow by one from whatever the first one is. */
static int check_seq(struct feed_in *f, const struct feed_message *m, struct err *err)
{
    if (m->seq < 0) {
        return 0;
    }
    if (f->seq >= 0 && m->seq != f->seq + 1) {
        return err_text(err, -EPROTO, "message %lld follows %lld", (long long)m->seq,
                        (long long)f->seq);
    }
    f->seq = m->seq;
    return 0;
}

static int feed(struct feed_in *f, const struct feed_message *m, struct table_now now,
                struct err *err)
{
    feed_act act = table[f->state][m->event].act;

    if (act == NULL) {
        return err_text(err, -EPROTO, "%s while %s", feed_event_name(m->event),
                        feed_state_name(f->state));
    }
    int r = check_seq(f, m, err);
    enum feed_state next = table[f->state][m->event].next;
    r = r < 0 ? r : act(f, m, now, err);
    if (r == 0) {
        f->state = next;
    }
    return r;
}

int feed_in_message(struct feed_in *f, const char *text, size_t len, struct table_now now,
                    struct err *err)
{
    struct feed_message m;

    if (f->state == FEED_ENDED) { /* it may still be sending while the connection closes */
        return 0;
    }
    int r = feed_message_parse(text, len, &m, err);
    if (r < 0) {
        return r;
    }
    r = feed(f, &m, now, err);
    feed_message_clear(&m);
    return r;
}
