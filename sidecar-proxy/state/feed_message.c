#include "sidecar-proxy/state/feed_message.h"

#include "common/json.h"

#include <errno.h>
#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char *const event_names[FEED_EVENTS] = {
    [FEED_HELLO] = "hello",       [FEED_PART] = "part of a snapshot",
    [FEED_SNAPSHOT] = "snapshot", [FEED_UP] = "up",
    [FEED_DOWN] = "down",         [FEED_VERDICT] = "verdict",
    [FEED_INFO] = "info",         [FEED_BYE] = "bye",
};

const char *feed_event_name(enum feed_event event)
{
    return event_names[event];
}

static bool made_of(const char *text, size_t max, const char *allowed)
{
    size_t len = strnlen(text, max + 1);

    return len > 0 && len <= max && strspn(text, allowed) == len;
}

bool feed_epoch_valid(const char *text)
{
    return made_of(text, TABLE_EPOCH_MAX, DIGITS LETTERS CAPITALS "-_.:");
}

/* Copies a member that is at most max of the allowed characters. */
static int get_text(const cJSON *o, const char *key, const char *allowed, size_t max, char *ret,
                    struct err *err)
{
    const char *text = NULL;
    int r = json_str(o, key, &text, err);

    if (r < 0) {
        return r;
    }
    if (!made_of(text, max, allowed)) {
        return err_text(err, -EPROTO, "'%s' is not 1 to %zu permitted characters", key, max);
    }
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

static int get_uuid(const cJSON *o, char *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(o, "uuid", &text, err);

    if (r == 0 && !uuid_valid_str(text)) {
        r = err_text(err, -EPROTO, "'uuid' is not one");
    }
    if (r == 0) {
        memcpy(ret, text, strlen(text) + 1);
    }
    return r;
}

/* "{generation}.{cid}" */
static int get_id(const cJSON *o, char *ret, struct err *err)
{
    char id[TABLE_ID_MAX + 1];
    int r = get_text(o, "id", DIGITS ".", TABLE_ID_MAX, id, err);

    if (r < 0) {
        return r;
    }
    size_t first = strspn(id, DIGITS);
    size_t second = id[first] == '.' ? strspn(id + first + 1, DIGITS) : 0;
    if (first == 0 || second == 0 || id[first + 1 + second] != '\0') {
        return err_text(err, -EPROTO, "'id' is not '{generation}.{cid}'");
    }
    memcpy(ret, id, sizeof(id));
    return 0;
}

static int get_address(const cJSON *o, uint32_t *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(o, "address", &text, err);

    if (r == 0 && address_parse(text, ret, NULL) < 0) {
        r = err_text(err, -EPROTO, "'address' is not an IPv4 address");
    }
    return r;
}

static int get_claim(const cJSON *o, struct table_claim *ret, struct err *err)
{
    int r = get_id(o, ret->id, err);

    r = r < 0 ? r : get_uuid(o, ret->uuid, err);
    r = r < 0 ? r : get_address(o, &ret->address, err);
    return r < 0 ? r : json_int(o, "since", 0, FEED_TIME_MAX, &ret->since_ms, err);
}

static int get_verdict(const cJSON *o, struct verdict *ret, struct err *err)
{
    uint8_t bytes[SECRET_BYTES];
    int r = get_uuid(o, ret->uuid, err);

    r = r < 0 ? r
              : get_text(o, "fingerprint", DIGITS "abcdef", SECRET_HEX_LEN, ret->fingerprint, err);
    if (r == 0 && !secret_from_hex(ret->fingerprint, bytes)) {
        r = err_text(err, -EPROTO, "'fingerprint' is not 64 hex digits");
    }
    return r < 0 ? r : json_int(o, "at", 0, FEED_TIME_MAX, &ret->at_ms, err);
}

/* null and absent: not registered yet. */
static int get_service_id(const cJSON *o, int64_t *ret, bool *has, struct err *err)
{
    int r = json_int(o, "serviceId", 0, FEED_TIME_MAX, ret, err);

    *has = r == 0;
    if (r == -ENOENT) {
        *ret = -1;
        return 0;
    }
    return r;
}

static int get_phase(const cJSON *o, char *ret, struct err *err)
{
    return get_text(o, "phase", LETTERS, TABLE_PHASE_MAX, ret, err);
}

static int get_subnet(const cJSON *o, char *ret, struct err *err)
{
    const char *text = NULL;
    struct subnet subnet;
    int r = json_str(o, "subnet", &text, err);

    if (r == 0 && subnet_parse(text, &subnet, NULL) < 0) {
        r = err_text(err, -EPROTO, "'subnet' is not one");
    }
    if (r == 0) {
        memcpy(ret, subnet_format(subnet).text, SUBNET_TEXT_MAX + 1);
    }
    return r;
}

static int parse_hello(const cJSON *o, struct feed_message *m, struct err *err)
{
    struct table_hello *h = &m->hello;
    int64_t index = 0;
    int r = get_text(o, "pool", DIGITS LETTERS "-.", TABLE_POOL_MAX, h->pool, err);

    r = r < 0 ? r : json_int(o, "index", 1, TABLE_INDEX_MAX, &index, err);
    r = r < 0
            ? r
            : get_text(o, "epoch", DIGITS LETTERS CAPITALS "-_.:", TABLE_EPOCH_MAX, h->epoch, err);
    r = r < 0 ? r
              : get_text(o, "proxy", DIGITS LETTERS CAPITALS "-_.:[]", TABLE_PROXY_MAX, h->proxy,
                         err);
    r = r < 0 ? r : get_service_id(o, &h->service_id, &m->has_service_id, err);
    r = r < 0 ? r : get_subnet(o, h->subnet, err);
    h->index = (uint32_t)index;
    return r < 0 ? r : get_phase(o, h->phase, err);
}

/* An info may hold either or both. */
static int parse_info(const cJSON *o, struct feed_message *m, struct err *err)
{
    int r = get_service_id(o, &m->hello.service_id, &m->has_service_id, err);

    r = r < 0 ? r : get_phase(o, m->hello.phase, err);
    return r == -ENOENT ? 0 : r;
}

/* The length of an optional list, checked. */
static int get_list(const cJSON *o, const char *key, const cJSON **list, size_t *count,
                    struct err *err)
{
    int r = json_array(o, key, list, err);

    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    *count = (size_t)cJSON_GetArraySize(*list);
    if (*count > FEED_LIST_MAX) {
        return err_text(err, -EPROTO, "'%s' has over %d entries", key, FEED_LIST_MAX);
    }
    return 0;
}

static int parse_sessions(const cJSON *o, struct feed_message *m, struct err *err)
{
    const cJSON *list = NULL, *at = NULL;
    size_t count = 0;
    int r = get_list(o, "sessions", &list, &count, err);

    m->sessions = xcalloc(count, sizeof(*m->sessions));
    cJSON_ArrayForEach(at, list)
    {
        r = r < 0 ? r : get_claim(at, &m->sessions[m->session_count], err);
        if (r < 0) {
            return err_wrap(err, "session %zu", m->session_count);
        }
        m->session_count++;
    }
    return r;
}

static int parse_verdicts(const cJSON *o, struct feed_message *m, struct err *err)
{
    const cJSON *list = NULL, *at = NULL;
    size_t count = 0;
    int r = get_list(o, "verdicts", &list, &count, err);

    m->verdicts = xcalloc(count, sizeof(*m->verdicts));
    cJSON_ArrayForEach(at, list)
    {
        r = r < 0 ? r : get_verdict(at, &m->verdicts[m->verdict_count], err);
        if (r < 0) {
            return err_wrap(err, "verdict %zu", m->verdict_count);
        }
        m->verdict_count++;
    }
    return r;
}

static int parse_snapshot(const cJSON *o, struct feed_message *m, struct err *err)
{
    bool more = false;
    int r = json_bool(o, "more", &more, err);

    if (r < 0 && r != -ENOENT) {
        return r;
    }
    m->event = more ? FEED_PART : FEED_SNAPSHOT;
    r = parse_sessions(o, m, err);
    return r < 0 ? r : parse_verdicts(o, m, err);
}

static int parse_up(const cJSON *o, struct feed_message *m, struct err *err)
{
    const cJSON *session = NULL;
    int r = json_object(o, "session", &session, err);

    if (r < 0) {
        return r;
    }
    m->sessions = xcalloc(1, sizeof(*m->sessions));
    m->session_count = 1;
    return get_claim(session, m->sessions, err);
}

static int parse_down(const cJSON *o, struct feed_message *m, struct err *err)
{
    m->sessions = xcalloc(1, sizeof(*m->sessions));
    m->session_count = 1;
    int r = get_id(o, m->sessions->id, err);
    r = r < 0 ? r : get_uuid(o, m->sessions->uuid, err);
    return r < 0 ? r : json_int(o, "at", 0, FEED_TIME_MAX, &m->at_ms, err);
}

static int parse_verdict(const cJSON *o, struct feed_message *m, struct err *err)
{
    const cJSON *verdict = NULL;
    int r = json_object(o, "verdict", &verdict, err);

    if (r < 0) {
        return r;
    }
    m->verdicts = xcalloc(1, sizeof(*m->verdicts));
    m->verdict_count = 1;
    return get_verdict(verdict, m->verdicts, err);
}

static int parse_bye(const cJSON *o, struct feed_message *m, struct err *err)
{
    return 0;
}

static const struct {
    const char *type;
    enum feed_event event;
    bool has_seq;
    int (*parse)(const cJSON *o, struct feed_message *m, struct err *err);
} types[] = {
    {"hello", FEED_HELLO, false, parse_hello},
    {"snapshot", FEED_SNAPSHOT, true, parse_snapshot},
    {"up", FEED_UP, true, parse_up},
    {"down", FEED_DOWN, true, parse_down},
    {"verdict", FEED_VERDICT, true, parse_verdict},
    {"info", FEED_INFO, true, parse_info},
    {"bye", FEED_BYE, false, parse_bye},
};

static int parse_object(const cJSON *o, struct feed_message *m, struct err *err)
{
    const char *type = NULL;
    int r = json_str(o, "type", &type, err);

    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strcmp(type, types[i].type) == 0) {
            m->event = types[i].event;
            r = types[i].has_seq ? json_int(o, "seq", 0, FEED_TIME_MAX, &m->seq, err) : 0;
            r = r < 0 ? r : types[i].parse(o, m, err);
            return r < 0 ? err_wrap(err, "%s", types[i].type) : 0;
        }
    }
    return err_text(err, -EPROTO, "unknown type");
}

int feed_message_parse(const char *text, size_t len, struct feed_message *ret, struct err *err)
{
    AUTO(json) cJSON *o = NULL;
    struct feed_message m = {.seq = -1, .hello.service_id = -1};
    struct err why = {0};

    int r = json_parse(text, len, &o, &why);
    r = r < 0 ? r : parse_object(o, &m, &why);
    if (r < 0) {
        feed_message_clear(&m);
        return err_text(err, -EPROTO, "%s", why.text);
    }
    *ret = m;
    return 0;
}

void feed_message_clear(struct feed_message *m)
{
    free(m->sessions);
    free(m->verdicts);
    m->sessions = NULL;
    m->verdicts = NULL;
    m->session_count = m->verdict_count = 0;
}
