#include "common/ws_messages.h"

#include <errno.h>
#include <string.h>

struct ws_message {
    struct ws_message *next;
    size_t len;
    unsigned char bytes[]; /* LWS_PRE bytes for the frame's head, then the text */
};

void ws_outbox_init(struct ws_outbox *out, size_t max)
{
    *out = (struct ws_outbox){.max = max};
    out->last = &out->first;
}

static void pop(struct ws_outbox *out)
{
    struct ws_message *m = out->first;

    out->first = m->next;
    if (out->first == NULL) {
        out->last = &out->first;
    }
    free(m);
}

void ws_outbox_clear(struct ws_outbox *out)
{
    while (out->first != NULL) {
        pop(out);
    }
    out->bytes = out->given = 0;
    out->has_ping = false;
}

bool ws_outbox_is_empty(const struct ws_outbox *out)
{
    return out->first == NULL && out->given == 0;
}

int ws_outbox_push(struct ws_outbox *out, const char *text, size_t len)
{
    if (len > out->max || out->bytes > out->max - len) {
        return -EMSGSIZE;
    }
    struct ws_message *m = xmalloc(sizeof(*m) + LWS_PRE + len);
    m->next = NULL;
    m->len = len;
    if (len > 0) {
        memcpy(m->bytes + LWS_PRE, text, len);
    }
    *out->last = m;
    out->last = &m->next;
    out->bytes += len;
    return 0;
}

/* A ping with a byte in it: libwebsockets 4.1 does not tell a server of a pong without. */
static int write_ping(struct lws *wsi)
{
    unsigned char bytes[LWS_PRE + 1] = {[LWS_PRE] = 'p'};

    return lws_write(wsi, bytes + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* One message. libwebsockets takes all of it, and keeps what the kernel did not take. */
static int write_first(struct ws_outbox *out, struct lws *wsi)
{
    struct ws_message *m = out->first;

    int n = lws_write(wsi, m->bytes + LWS_PRE, m->len, LWS_WRITE_TEXT);
    out->given += m->len;
    pop(out);
    return n < 0 ? -1 : 0;
}

int ws_outbox_write(struct ws_outbox *out, struct lws *wsi)
{
    int r = 0;

    out->bytes -= out->given; /* it calls back when its own buffer is empty */
    out->given = 0;
    if (out->has_ping) {
        out->has_ping = false;
        r = write_ping(wsi);
    }
    while (r == 0 && out->first != NULL && !lws_send_pipe_choked(wsi)) {
        r = write_first(out, wsi);
    }
    if (r == 0 && !ws_outbox_is_empty(out)) {
        lws_callback_on_writable(wsi);
    }
    return r;
}

void ws_begin_close(struct lws *wsi, int code)
{
    lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

int ws_inbox_feed(struct buf *in, struct lws *wsi, const char *bytes, size_t len)
{
    if (lws_is_first_fragment(wsi)) {
        buf_truncate(in, 0);
    }
    if (lws_frame_is_binary(wsi)) {
        return -WS_CLOSE_UNACCEPTABLE;
    }
    if (buf_append(in, bytes, len) < 0) {
        return -WS_CLOSE_TOO_LONG;
    }
    return lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0 ? 1 : 0;
}
