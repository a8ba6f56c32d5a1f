#include "sidecar-proxy/management/commands.h"

#include <string.h>

enum shape { SHAPE_LINE, SHAPE_BODY };

/* success: how a SUCCESS of one line begins; another command's means that we lost count. */
static const struct {
    const char *name;
    enum shape shape;
    const char *success;
} forms[COMMAND_KINDS] = {
    [COMMAND_PID] = {"pid", SHAPE_LINE, "SUCCESS: pid="},
    [COMMAND_VERSION] = {"version", SHAPE_BODY, NULL},
    [COMMAND_BYTECOUNT] = {"bytecount", SHAPE_LINE, "SUCCESS: bytecount "},
    [COMMAND_STATUS] = {"status 3", SHAPE_BODY, NULL},
    [COMMAND_HOLD_RELEASE] = {"hold release", SHAPE_LINE, "SUCCESS: hold release "},
    [COMMAND_ALLOW] = {"client-auth-nt", SHAPE_LINE, "SUCCESS: client-auth command "},
    [COMMAND_DENY] = {"client-deny", SHAPE_LINE, "SUCCESS: client-deny command "},
    [COMMAND_KILL] = {"client-kill", SHAPE_LINE, "SUCCESS: client-kill command "},
    [COMMAND_TERMINATE] = {"signal SIGTERM", SHAPE_LINE, "SUCCESS: signal "},
};

const char *command_name(enum command_kind kind)
{
    return forms[kind].name;
}

void commands_init(struct commands *c)
{
    *c = (struct commands){.size = 0};
    buf_init(&c->output, COMMANDS_OUTPUT_MAX);
}

void commands_clear(struct commands *c)
{
    free(c->owed);
    buf_clear(&c->output);
    commands_init(c);
}

static void grow(struct commands *c)
{
    size_t size = c->size > 0 ? c->size * 2 : 16;
    struct command *owed = xcalloc(size, sizeof(*owed));

    for (size_t i = 0; i < c->count; i++) {
        owed[i] = c->owed[(c->first + i) & (c->size - 1)];
    }
    free(c->owed);
    c->owed = owed;
    c->first = 0;
    c->size = size;
}

bool commands_send(struct commands *c, const struct command *command, const char *text)
{
    if (c->count == COMMANDS_MAX ||
        buf_printf(&c->output, "%s%s\n", forms[command->kind].name, text) < 0) {
        return false;
    }
    if (c->count == c->size) {
        grow(c);
    }
    c->owed[(c->first + c->count) & (c->size - 1)] = *command;
    c->count++;
    c->pending[command->kind]++;
    return true;
}

static bool begins(const char *line, const char *prefix)
{
    return strncmp(line, prefix, strlen(prefix)) == 0;
}

static enum reply judge_line(enum command_kind kind, const char *line)
{
    if (begins(line, "ERROR:")) {
        return REPLY_ERROR;
    }
    return begins(line, forms[kind].success) ? REPLY_OK : REPLY_MISMATCH;
}

/* A body has no SUCCESS; where it can not be given, an ERROR comes in its place. */
static enum reply judge_body(const char *line, bool first)
{
    if (strcmp(line, "END") == 0) {
        return REPLY_OK;
    }
    if (first && begins(line, "SUCCESS:")) {
        return REPLY_MISMATCH;
    }
    return first && begins(line, "ERROR:") ? REPLY_ERROR : REPLY_LINE;
}

static void settle(struct commands *c)
{
    c->pending[c->owed[c->first].kind]--;
    c->first = (c->first + 1) & (c->size - 1);
    c->count--;
}

enum reply commands_take_reply(struct commands *c, const char *line, int64_t now_ms,
                               struct command *ret)
{
    if (c->count == 0) {
        return REPLY_MISMATCH;
    }
    struct command head = c->owed[c->first];
    enum reply reply = forms[head.kind].shape == SHAPE_LINE ? judge_line(head.kind, line)
                                                            : judge_body(line, !c->in_body);
    if (reply == REPLY_MISMATCH) {
        return reply;
    }
    c->heard_ms = now_ms;
    c->in_body = reply == REPLY_LINE;
    if (!c->in_body) {
        settle(c);
    }
    *ret = head;
    return reply;
}

/* Many commands may wait behind one another: what counts is that the replies go on. */
int64_t commands_deadline(const struct commands *c)
{
    if (c->count == 0) {
        return INT64_MAX;
    }
    int64_t sent_ms = c->owed[c->first].sent_ms;
    return (sent_ms > c->heard_ms ? sent_ms : c->heard_ms) + COMMAND_TIMEOUT_MS;
}

/* The length of text up to the limit, not ending inside a character. */
static size_t cut(const char *text)
{
    size_t len = strnlen(text, COMMAND_TEXT_MAX + 1);

    if (len <= COMMAND_TEXT_MAX) {
        return len;
    }
    len = COMMAND_TEXT_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--;
    }
    return len;
}

void command_quote(struct buf *out, const char *text)
{
    size_t len = cut(text);

    buf_append_str(out, " \"");
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f) {
            continue;
        }
        if (byte == '"' || byte == '\\') {
            buf_append(out, "\\", 1);
        }
        buf_append(out, text + i, 1);
    }
    buf_append(out, "\"", 1);
}
