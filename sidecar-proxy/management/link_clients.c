/* What OpenVPN says of its clients, and what it is told about them. */
#include "sidecar-proxy/management/link_internal.h"

#include "common/log.h"
#include "sidecar-proxy/management/link_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Keeps what a question needs for its answer. */
static void ask(struct client *known, enum client_state state, struct link_client *c)
{
    known->state = state;
    known->kid = c->kid;
    c->since_ms = known->since_ms;
    c->address = known->address;
}

/* The connection's start by our own clock, in ms; OpenVPN tells whole seconds only. A second
 * CONNECT of a client is the same question with another key id. */
static void on_connect(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);

    if (known != NULL && client_is_up(known)) {
        link_machine_doom(m, "CONNECT of client %" PRIu64 ", which is connected", c->cid);
        return;
    }
    if (known == NULL) {
        known = clients_add(&m->clients, c->cid);
        if (known == NULL) {
            link_machine_request_kill(m, c->cid);
            return;
        }
        known->since_ms = m->now.unix_ms;
    }
    ask(known, CLIENT_ASKING, c);
    m->callbacks->on_connect(m->arg, c);
}

/* Only a client that is up renews its keys. Before the status has been read we may not know it
 * yet, and it can not wait: unanswered, OpenVPN would end it. */
static void on_reauth(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);

    if (known == NULL && m->state == LINK_RESYNC) {
        known = clients_add(&m->clients, c->cid);
        if (known != NULL) {
            known->state = CLIENT_UP;
            known->since_ms = c->since_ms;
        }
    }
    if (known == NULL || !client_is_up(known)) {
        metric_inc(&link_metric_ignored);
        return;
    }
    ask(known, CLIENT_UP_ASKING, c);
    m->callbacks->on_reauth(m->arg, c);
}

static void on_address(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);

    if (known == NULL) {
        metric_inc(&link_metric_ignored);
    } else if (!client_is_up(known)) {
        known->address = c->address;
    }
}

static void on_established(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);
    bool authorised = known != NULL && known->state == CLIENT_AUTHORISED;

    switch (client_established(known)) {
    case CLIENT_REPORT:
        c->address = known->address;
        c->since_ms = known->since_ms;
        m->callbacks->on_established(m->arg, c);
        break;
    case CLIENT_KILL:
        if (authorised) {
            metric_inc(&link_metric_no_address);
        }
        log_warn(authorised ? "OpenVPN has no address left: client killed"
                            : "a client that was not authorised is up: killed",
                 "cid", NUM(c->cid), NULL);
        link_machine_request_kill(m, c->cid);
        break;
    case CLIENT_KEEP:
    case CLIENT_IGNORE:
        metric_inc(&link_metric_ignored);
        break;
    }
}

static void on_disconnect(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);

    if (known == NULL) {
        metric_inc(&link_metric_ignored);
        return;
    }
    client_count_bytes(known, c->bytes_in, c->bytes_out);
    c->bytes_in = known->bytes_in;
    c->bytes_out = known->bytes_out;
    c->since_ms = known->since_ms;
    c->address = known->address;
    clients_remove(&m->clients, c->cid);
    m->callbacks->on_disconnect(m->arg, c);
}

static void on_bytes(struct link_machine *m, struct link_client *c)
{
    struct client *known = clients_find(&m->clients, c->cid);

    if (known == NULL || !client_is_up(known)) {
        metric_inc(&link_metric_ignored);
        return;
    }
    client_count_bytes(known, c->bytes_in, c->bytes_out);
    m->callbacks->on_bytes(m->arg, c->cid, known->bytes_in, known->bytes_out);
}

/* What happens between greeting and pid can not be told from a former life's: it is left to the
 * status, which names the clients (and one whose question fell into that gap is killed then). */
void link_clients_event(struct link_machine *m, struct event *e)
{
    static void (*const handlers[])(struct link_machine * m, struct link_client * c) = {
        [EVENT_CONNECT] = on_connect,         [EVENT_REAUTH] = on_reauth,
        [EVENT_ESTABLISHED] = on_established, [EVENT_DISCONNECT] = on_disconnect,
        [EVENT_ADDRESS] = on_address,         [EVENT_BYTES] = on_bytes,
    };

    if (m->state == LINK_GREETING) {
        metric_inc(&link_metric_ignored);
    } else {
        handlers[e->kind](m, &e->client);
    }
    metric_set(&link_metric_clients, (int64_t)m->clients.count);
}

/* ---- on resync ---- */

static void adopt(struct link_machine *m, struct link_client *row)
{
    struct client *known = clients_find(&m->clients, row->cid);

    if (known == NULL) {
        known = clients_add(&m->clients, row->cid);
        if (known == NULL) {
            link_machine_request_kill(m, row->cid);
            return;
        }
    }
    if (known->since_ms == 0) { /* not seen by ourselves; the row has whole seconds */
        known->since_ms = row->since_ms;
    }
    if (known->state != CLIENT_UP_ASKING) {
        known->state = CLIENT_UP;
    }
    known->address = row->address;
    known->seen = m->resync;
    client_count_bytes(known, row->bytes_in, row->bytes_out);
    row->since_ms = known->since_ms;
    m->callbacks->on_resync_row(m->arg, row);
}

/* One that is up and has lost its address ends like those without a row. */
void link_clients_row(struct link_machine *m, struct link_client *row)
{
    struct client *known = clients_find(&m->clients, row->cid);
    enum client_verdict verdict = client_in_status(known, row->address);

    if (verdict == CLIENT_REPORT) {
        adopt(m, row);
        return;
    }
    if (known != NULL && !client_is_up(known)) {
        known->seen = m->resync;
    }
    if (verdict == CLIENT_KILL) {
        metric_inc(&link_metric_killed_rows);
        log_info("client killed: its question was lost", "cid", NUM(row->cid), NULL);
        link_machine_request_kill(m, row->cid);
    }
}

/* ---- our answers ---- */

/* The client was gone when our answer arrived, unless it asks anew meanwhile. Any other error means
 * that the answer had no effect: the question would stay open until the device gives up. */
void link_clients_answer_failed(struct link_machine *m, const struct command *command,
                                const char *line)
{
    const struct client *known = clients_find(&m->clients, command->cid);

    if (strstr(line, " command failed") == NULL) {
        log_error("OpenVPN did not take an answer: client killed", "reply", line, NULL);
        link_machine_request_kill(m, command->cid);
        return;
    }
    metric_inc(&link_metric_late);
    if (known == NULL || known->kid == command->kid) {
        m->callbacks->on_late(m->arg, command->cid);
    }
}

static bool can_speak(const struct link_machine *m)
{
    return (m->state == LINK_RESYNC || m->state == LINK_LIVE) && m->why[0] == '\0';
}

/* NULL: nobody to answer. An answer that can not be given now is not kept: the question counts as
 * refused, so the resync kills the client and it asks again, 5 s later. */
static struct client *asking(struct link_machine *m, struct link_clock now, uint64_t cid,
                             uint64_t kid)
{
    struct client *known = clients_find(&m->clients, cid);

    m->now = now;
    if (!client_asks(known, kid)) {
        return NULL;
    }
    if (!can_speak(m)) {
        client_answered(known, false);
        return NULL;
    }
    return known;
}

bool link_machine_allow(struct link_machine *m, struct link_clock now, uint64_t cid, uint64_t kid)
{
    struct client *known = asking(m, now, cid, kid);
    char text[64];

    snprintf(text, sizeof(text), " %" PRIu64 " %" PRIu64, cid, kid);
    if (known == NULL || !link_machine_request(m, COMMAND_ALLOW, cid, kid, text)) {
        return false;
    }
    client_answered(known, true);
    return true;
}

bool link_machine_deny(struct link_machine *m, struct link_clock now, uint64_t cid, uint64_t kid,
                       const char *log_text, const char *client_text)
{
    struct client *known = asking(m, now, cid, kid);
    AUTO(buf) struct buf text;

    buf_init(&text, COMMAND_MAX);
    buf_printf(&text, " %" PRIu64 " %" PRIu64, cid, kid);
    command_quote(&text, log_text);
    if (client_text != NULL) {
        command_quote(&text, client_text);
    }
    if (known == NULL || !link_machine_request(m, COMMAND_DENY, cid, kid, buf_str(&text))) {
        return false;
    }
    client_answered(known, false);
    return true;
}

bool link_machine_deny_temp(struct link_machine *m, struct link_clock now, uint64_t cid,
                            uint64_t kid, unsigned backoff_s, const char *text)
{
    unsigned wait_s = backoff_s < 1 ? 1 : backoff_s > 120 ? 120 : backoff_s;
    AUTO(str) char *client_text = xasprintf("TEMP[backoff %u]:%s", wait_s, text);

    return link_machine_deny(m, now, cid, kid, text, client_text);
}

bool link_machine_kill(struct link_machine *m, struct link_clock now, uint64_t cid)
{
    m->now = now;
    return can_speak(m) && clients_find(&m->clients, cid) != NULL &&
           link_machine_request_kill(m, cid);
}

bool link_machine_terminate(struct link_machine *m, struct link_clock now)
{
    m->now = now;
    return can_speak(m) && link_machine_request(m, COMMAND_TERMINATE, 0, 0, "");
}
