#include "sidecar-proxy/session/feed_message.h"

#include "common/json.h"
#include "common/subnet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void put_quoted(struct buf *out, const char *key, const char *text)
{
    AUTO(str) char *quoted = json_quote(text);

    buf_printf(out, ",\"%s\":%s", key, quoted);
}

static void put_service_id(struct buf *out, int64_t service_id)
{
    if (service_id > 0) {
        buf_printf(out, ",\"serviceId\":%lld", (long long)service_id);
    } else {
        buf_append_str(out, ",\"serviceId\":null");
    }
}

static void put_session(struct buf *out, const struct session *s)
{
    buf_printf(out, "{\"id\":\"%s\",\"uuid\":\"%s\",\"address\":\"%s\",\"since\":%lld}",
               session_id_format(s->id).text, s->uuid, address_format(s->address).text,
               (long long)s->since_ms);
}

static void put_verdict(struct buf *out, const struct verdict *v)
{
    buf_printf(out, "{\"uuid\":\"%s\",\"fingerprint\":\"%s\",\"at\":%lld}", v->uuid,
               v->fingerprint.text, (long long)v->at_ms);
}

void feed_put_hello(struct buf *out, const struct feed_identity *me, int64_t service_id,
                    const char *phase)
{
    buf_append_str(out, "{\"type\":\"hello\"");
    put_quoted(out, "pool", me->pool);
    buf_printf(out, ",\"index\":%lld", (long long)me->index);
    put_quoted(out, "epoch", me->epoch);
    put_service_id(out, service_id);
    put_quoted(out, "proxy", me->proxy);
    put_quoted(out, "subnet", me->subnet);
    buf_printf(out, ",\"phase\":\"%s\"}", phase);
}

void feed_put_up(struct buf *out, uint64_t seq, const struct session *s)
{
    buf_printf(out, "{\"type\":\"up\",\"seq\":%llu,\"session\":", (unsigned long long)seq);
    put_session(out, s);
    buf_append_str(out, "}");
}

void feed_put_down(struct buf *out, uint64_t seq, const struct session *s, int64_t at_ms)
{
    buf_printf(out, "{\"type\":\"down\",\"seq\":%llu,\"uuid\":\"%s\",\"id\":\"%s\",\"at\":%lld}",
               (unsigned long long)seq, s->uuid, session_id_format(s->id).text, (long long)at_ms);
}

void feed_put_verdict(struct buf *out, uint64_t seq, const struct verdict *v)
{
    buf_printf(out, "{\"type\":\"verdict\",\"seq\":%llu,\"verdict\":", (unsigned long long)seq);
    put_verdict(out, v);
    buf_append_str(out, "}");
}

void feed_put_info(struct buf *out, uint64_t seq, int64_t service_id, const char *phase)
{
    buf_printf(out, "{\"type\":\"info\",\"seq\":%llu", (unsigned long long)seq);
    put_service_id(out, service_id);
    buf_printf(out, ",\"phase\":\"%s\"}", phase);
}

void feed_put_bye(struct buf *out)
{
    buf_append_str(out, "{\"type\":\"bye\"}");
}

void feed_snapshot_begin(struct feed_snapshot *at, struct sessions *sessions,
                         struct verdicts *verdicts)
{
    *at = (struct feed_snapshot){
        .session = sessions->in_order.next,
        .sessions_end = &sessions->in_order,
        .verdict = verdicts->in_order.next,
        .verdicts_end = &verdicts->in_order,
    };
}

bool feed_put_part(struct buf *out, uint64_t seq, struct feed_snapshot *at)
{
    struct list *session = at->session;
    struct list *verdict = at->verdict;
    AUTO(buf) struct buf sessions;
    AUTO(buf) struct buf verdicts;

    buf_init(&sessions, FEED_MESSAGE_MAX);
    buf_init(&verdicts, FEED_MESSAGE_MAX);
    for (int n = 0; n < FEED_PART_MAX && session != at->sessions_end; n++) {
        buf_append_str(&sessions, n > 0 ? "," : "");
        put_session(&sessions, sessions_at(session));
        session = session->next;
    }
    for (int n = 0; n < FEED_PART_MAX && verdict != at->verdicts_end; n++) {
        buf_append_str(&verdicts, n > 0 ? "," : "");
        put_verdict(&verdicts, verdicts_at(verdict));
        verdict = verdict->next;
    }
    bool more = session != at->sessions_end || verdict != at->verdicts_end;
    buf_printf(out, "{\"type\":\"snapshot\",\"seq\":%llu,\"more\":%s,\"sessions\":[",
               (unsigned long long)seq, more ? "true" : "false");
    buf_append(out, buf_str(&sessions), sessions.len);
    buf_append_str(out, "],\"verdicts\":[");
    buf_append(out, buf_str(&verdicts), verdicts.len);
    buf_append_str(out, "]}");
    at->session = session;
    at->verdict = verdict;
    return more;
}

static int parse_ack(const cJSON *tree, struct feed_downward *ret, struct err *err)
{
    int64_t seq = 0;
    int r = json_int(tree, "seq", 0, INT64_C(1) << 53, &seq, err);

    ret->kind = FEED_ACK;
    ret->seq = (uint64_t)seq;
    return r;
}

static int parse_stale(const cJSON *tree, struct feed_downward *ret, struct err *err)
{
    const char *uuid = NULL;
    const char *id = NULL;
    int r = json_str(tree, "uuid", &uuid, err);

    if (r == 0) {
        r = json_str(tree, "id", &id, err);
    }
    if (r < 0) {
        return r;
    }
    if (!uuid_valid_str(uuid) || !session_id_parse(id, &ret->id)) {
        return err_text(err, -EPROTO, "malformed uuid or id");
    }
    ret->kind = FEED_STALE;
    snprintf(ret->uuid, sizeof(ret->uuid), "%s", uuid);
    return 0;
}

int feed_parse(const char *text, size_t len, struct feed_downward *ret, struct err *err)
{
    AUTO(json) cJSON *tree = NULL;
    struct feed_downward found = {.kind = FEED_OTHER};
    const char *type = NULL;
    int r = json_parse(text, len, &tree, err);

    if (r == 0) {
        r = json_str(tree, "type", &type, err);
    }
    if (r == 0 && strcmp(type, "ack") == 0) {
        r = parse_ack(tree, &found, err);
    } else if (r == 0 && strcmp(type, "stale") == 0) {
        r = parse_stale(tree, &found, err);
    }
    if (r < 0) {
        return -EPROTO;
    }
    *ret = found;
    return 0;
}
