#include "sidecar-proxy/management/fields.h"
#include "sidecar-proxy/management/link_internal.h"
#include "sidecar-proxy/management/link_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- replies ---- */

/* A pid is told in the greeting, and again as a sign of life: then it must be the same. */
static void on_pid(struct link_machine *m, const char *line)
{
    uint64_t pid = 0;

    if (!field_u64(line + strlen("SUCCESS: pid="), &pid) || pid == 0 || pid > INT32_MAX) {
        link_machine_doom(m, "no pid in '%.60s'", line);
    } else if (m->state != LINK_GREETING) {
        if ((int)pid != m->pid) {
            link_machine_doom(m, "OpenVPN's pid changed from %d to %d", m->pid, (int)pid);
        }
    } else {
        bool known = (int)pid == m->pid;
        m->pid = (int)pid;
        if (!known) {
            link_machine_announce(m);
        }
        if (!link_machine_stopped(m)) {
            link_machine_feed(m, EV_GREETED);
        }
    }
}

static void on_status_line(struct link_machine *m, char *line)
{
    struct link_client row;
    int kind = status_parse(&m->status, line, &row);

    if (kind < 0) {
        link_machine_doom(m, "a status row that can not be read");
    } else if (kind == STATUS_CLIENT && m->state == LINK_RESYNC) {
        link_clients_row(m, &row);
    }
}

static void on_status_end(struct link_machine *m, enum reply reply)
{
    if (m->state != LINK_RESYNC) {
        return;
    }
    if (reply == REPLY_ERROR) { /* not in this mode: it has not begun to serve yet */
        m->status_retry_ms = m->now.monotonic_ms + LINK_STATUS_RETRY_MS;
    } else if (!m->status.has_header) {
        link_machine_doom(m, "a status without a header");
    } else {
        link_machine_feed(m, EV_RESYNCED);
    }
}

static void on_version_line(struct link_machine *m, const char *line)
{
    static const char prefix[] = "OpenVPN Version: ";

    if (strncmp(line, prefix, strlen(prefix)) == 0) {
        const char *text = line + strlen(prefix);
        size_t len = strcspn(text, " ") + 1; /* "OpenVPN 2.6.14" */
        len += text[len - 1] != '\0' ? strcspn(text + len, " ") : 0;
        snprintf(m->openvpn_version, sizeof(m->openvpn_version), "%.*s", (int)len, text);
    }
}

static void on_reply(struct link_machine *m, char *line)
{
    struct command command;
    enum reply reply = commands_take_reply(&m->commands, line, m->now.monotonic_ms, &command);

    if (reply == REPLY_MISMATCH) {
        link_machine_doom(m, "out of step: '%.60s'", line);
        return;
    }
    metric_set(&link_metric_owed, (int64_t)m->commands.count);
    switch (command.kind) {
    case COMMAND_PID:
        on_pid(m, line);
        break;
    case COMMAND_VERSION:
        on_version_line(m, line);
        break;
    case COMMAND_STATUS:
        if (reply == REPLY_LINE) {
            on_status_line(m, line);
        } else {
            on_status_end(m, reply);
        }
        break;
    case COMMAND_ALLOW:
    case COMMAND_DENY:
        if (reply == REPLY_ERROR) {
            link_clients_answer_failed(m, &command, line);
        }
        break;
    default: /* an ERROR to a kill: it was gone already. To the others: the deadlines tell. */
        break;
    }
    link_machine_ask_status(m);
}

/* ---- lines ---- */

static void on_greeting(struct link_machine *m, uint64_t version)
{
    if (m->interface_version != 0) {
        link_machine_doom(m, "a second greeting");
    } else if (version < LINK_INTERFACE_VERSION) {
        link_machine_doom(m, "management interface version %" PRIu64 ": OpenVPN before 2.6",
                          version);
    } else {
        m->interface_version = version;
        link_machine_request(m, COMMAND_PID, 0, 0, "");
    }
}

static void on_event(struct link_machine *m, struct event *e)
{
    switch (e->kind) {
    case EVENT_NONE:
        break;
    case EVENT_GREETING:
        on_greeting(m, e->version);
        break;
    case EVENT_HOLD:
        link_machine_feed(m, EV_HOLD);
        break;
    case EVENT_REPLY:
        on_reply(m, e->reply);
        break;
    default:
        link_clients_event(m, e);
        event_parser_wipe(&m->parser);
        break;
    }
}

void link_lines_take(struct link_machine *m, char *line)
{
    struct event e;

    if (event_parse(&m->parser, line, &e) < 0) {
        link_machine_doom(m, "not what OpenVPN says: '%.20s'", line);
    } else if (m->interface_version == 0 && e.kind != EVENT_GREETING) {
        link_machine_doom(m, "it does not greet as OpenVPN does");
    } else {
        on_event(m, &e);
    }
}
