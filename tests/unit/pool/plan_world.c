#include "tests/unit/pool/plan_world.h"

#include "common/buf.h"
#include "tests/unit/cmocka_all.h"

#include <string.h>

static enum index_phase phase_of(const char *word)
{
    static const char *const names[] = {
        [INDEX_STARTING] = "STARTING", [INDEX_READY] = "READY",
        [INDEX_DRAINING] = "DRAINING", [INDEX_TERMINATING] = "TERMINATING",
        [INDEX_BURYING] = "BURYING",
    };

    for (size_t i = INDEX_STARTING; i < ARRAY_LEN(names); i++) {
        if (strcmp(word, names[i]) == 0) {
            return (enum index_phase)i;
        }
    }
    fail_msg("no phase '%s'", word);
    return INDEX_FREE;
}

/* What is usual in a phase. */
static struct observed_index usual(uint32_t index, enum index_phase phase)
{
    bool runs = phase <= INDEX_DRAINING;

    return (struct observed_index){
        .index = index,
        .phase = phase,
        .phase_since_ms = WORLD_NOW - (phase == INDEX_READY ? 3600000 : 1000),
        .openvpn = runs ? PROCESS_RUNNING : PROCESS_ABSENT,
        .sidecar = runs ? PROCESS_RUNNING : PROCESS_ABSENT,
        .ready = phase == INDEX_READY,
        .serving = phase == INDEX_READY,
        .listed = phase == INDEX_READY || phase == INDEX_DRAINING,
        .linked = phase == INDEX_READY || phase == INDEX_DRAINING,
        .counted = true,
        .current = true,
        .leaving_for_good = phase >= INDEX_DRAINING,
    };
}

static bool set_number(struct observed_index *o, const char *word, size_t len, long n)
{
    if (strncmp(word, "sessions", len) == 0) {
        o->sessions = (uint32_t)n;
    } else if (strncmp(word, "failures", len) == 0) {
        o->failures = (uint32_t)n;
    } else if (strncmp(word, "since", len) == 0) {
        o->phase_since_ms = WORLD_NOW + n * 1000;
    } else if (strncmp(word, "notbefore", len) == 0) {
        o->not_before_ms = WORLD_NOW + n * 1000;
    } else if (strncmp(word, "sidecarnotbefore", len) == 0) {
        o->sidecar_not_before_ms = WORLD_NOW + n * 1000;
    } else {
        return false;
    }
    return true;
}

static bool set_process(struct observed_index *o, const char *word)
{
    if (strcmp(word, "down") == 0) {
        o->openvpn = PROCESS_ABSENT;
        o->ready = false;
    } else if (strcmp(word, "hung") == 0) {
        o->openvpn = PROCESS_HUNG;
        o->ready = false;
    } else if (strcmp(word, "nosidecar") == 0) {
        o->sidecar = PROCESS_ABSENT;
        o->ready = false;
    } else if (strcmp(word, "silent") == 0) {
        o->sidecar = PROCESS_HUNG;
        o->ready = false;
    } else if (strcmp(word, "alive") == 0) {
        o->openvpn = o->sidecar = PROCESS_RUNNING;
    } else {
        return false;
    }
    return true;
}

static void set_word(struct observed_index *o, const char *word)
{
    const struct {
        const char *name;
        bool *flag, value;
    } flags[] = {
        {"ready", &o->ready, true},       {"unready", &o->ready, false},
        {"unserved", &o->serving, false}, {"old", &o->current, false},
        {"marked", &o->marked, true},     {"lost", &o->lost, true},
        {"linked", &o->linked, true},     {"unscheduled", &o->unscheduled, true},
        {"pulling", &o->pulling, true},   {"drained", &o->drained, true},
        {"listed", &o->listed, true},     {"unlisted", &o->listed, false},
        {"buried", &o->buried, true},     {"uncounted", &o->counted, false},
    };
    const char *equals = strchr(word, '=');

    if (equals != NULL &&
        set_number(o, word, (size_t)(equals - word), strtol(equals + 1, NULL, 10))) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strcmp(word, flags[i].name) == 0) {
            *flags[i].flag = flags[i].value;
            return;
        }
    }
    if (!set_process(o, word)) {
        fail_msg("no word '%s'", word);
    }
}

static struct observed_index parse_index(char *text)
{
    char *save = NULL;
    uint32_t index = (uint32_t)strtoul(strtok_r(text, " ", &save), NULL, 10);
    struct observed_index o = usual(index, phase_of(strtok_r(NULL, " ", &save)));

    for (char *word; (word = strtok_r(NULL, " ", &save)) != NULL;) {
        set_word(&o, word);
    }
    return o;
}

static size_t parse_freed(const char *freed, struct freed_index *ret)
{
    AUTO(str) char *copy = xstrdup(freed);
    char *save = NULL;
    size_t count = 0;

    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *at = strchr(word, '@');
        assert_non_null(at);
        ret[count++] = (struct freed_index){
            .index = (uint32_t)strtoul(word, NULL, 10),
            .freed_ms = WORLD_NOW + strtol(at + 1, NULL, 10) * 1000,
        };
    }
    return count;
}

void plan_world_parse(const char *indices, const char *freed, struct plan_world *ret)
{
    AUTO(str) char *copy = xstrdup(indices);
    size_t count = 0;

    for (char *rest = copy, *one; *copy != '\0' && (one = strsep(&rest, ",")) != NULL;) {
        ret->indices[count++] = parse_index(one);
    }
    ret->observed = (struct plan_observed){
        .now_ms = WORLD_NOW,
        .indices = ret->indices,
        .index_count = count,
        .freed = ret->freed,
        .freed_count = parse_freed(freed, ret->freed),
    };
}

char *plan_actions_text(const struct plan_result *result)
{
    struct buf text;

    buf_init(&text, 65536);
    for (size_t i = 0; i < result->count; i++) {
        buf_printf(&text, "%s%s %u", i > 0 ? ", " : "", plan_action_name(result->actions[i].kind),
                   result->actions[i].index);
    }
    return buf_take(&text);
}
