/* Actions of a tunnel from its 200 to its end; the table is in tunnel.c. */
#include "sidecar-proxy/proxy/tunnel.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ALONE_AGAIN_US 1000
#define ALONE_AT_MOST_US 10000
#define RESET_AGAIN_US 1000
#define RESET_AT_MOST_US 1000000

static bool all_acknowledged(int fd)
{
    int waiting = 0;

    return ioctl(fd, SIOCOUTQ, &waiting) < 0 || waiting == 0;
}

/* The 200 is one segment, alone: clients have parsers that lose, or even die of, what comes in the
 * same read. So what the device says first waits (TUNNEL_OPENING) until the client has shown that
 * it read the 200 by sending something, or its kernel has acknowledged it and a moment has passed.
 * A proxy of ours knows how to read and need not wait. */
static bool say_open(struct tunnel *t)
{
    struct answer answer = {.status = 200, .minor = t->minor};
    AUTO(buf) struct buf out;

    buf_init(&out, 128);
    answer_format(&answer, &out);
    return end_send(&t->relay.ends[CLIENT], out.data, out.len) == (ssize_t)out.len;
}

enum tunnel_event tunnel_open(struct tunnel *t)
{
    if (!t->forward && !say_open(t)) {
        return EV_END;
    }
    t->record.status = 200;
    tunnel_record_opened(t);
    t->early = t->head.len;
    relay_prepend(&t->relay, CLIENT, t->head.data, t->head.len);
    buf_clear(&t->head);
    buf_clear(&t->hop_head);
    tunnel_drop_ask(t);
    t->active_us = t->since_us;
    return t->from_hop || t->forward ? EV_OPEN : tunnel_pump_opening(t);
}

static void note_fault(struct tunnel *t, int at_fault)
{
    t->gone = (int8_t)at_fault;
    t->record.end = at_fault == CLIENT ? ENDED_CLIENT_RESET : ENDED_DEVICE_RESET;
}

static void note_first_end(struct tunnel *t, int from, enum relay_result result)
{
    if (result == RELAY_ENDED && t->record.end == ENDED_NOT) {
        t->record.end = from == CLIENT ? ENDED_CLIENT : ENDED_DEVICE;
    }
}

static enum relay_result pump_from(struct tunnel *t, int from)
{
    int at_fault = from;
    enum relay_result result = relay_pump(&t->relay, from, &t->worker->relay, &at_fault);

    if (result == RELAY_RESET) {
        note_fault(t, at_fault);
    } else if (result == RELAY_MORE) {
        worker_again(t->worker, t);
    }
    note_first_end(t, from, result);
    return result;
}

enum tunnel_event tunnel_pump_opening(struct tunnel *t)
{
    if (pump_from(t, CLIENT) == RELAY_RESET) {
        return EV_RESET;
    }
    return t->relay.flows[CLIENT].bytes > t->early ? EV_OPEN : EV_NONE;
}

enum tunnel_event tunnel_check_alone(struct tunnel *t)
{
    int64_t now_us = t->worker->relay.now_us;

    if (all_acknowledged(t->relay.ends[CLIENT].fd) || now_us - t->since_us >= ALONE_AT_MOST_US) {
        return EV_OPEN;
    }
    deadline_set(&t->worker->deadlines, &t->deadline, now_us + ALONE_AGAIN_US);
    return EV_NONE;
}

enum tunnel_event tunnel_pump(struct tunnel *t)
{
    t->active_us = t->worker->relay.now_us;
    enum relay_result up = pump_from(t, CLIENT);
    if (up == RELAY_RESET) {
        return EV_RESET;
    }
    enum relay_result down = pump_from(t, FAR);
    if (down == RELAY_RESET) {
        return EV_RESET;
    }
    return up == RELAY_ENDED && down == RELAY_ENDED ? EV_END : EV_NONE;
}

enum tunnel_event tunnel_check_idle(struct tunnel *t)
{
    int64_t until_us = t->active_us + t->worker->shared->settings.idle_timeout_us;

    if (until_us > t->worker->relay.now_us) {
        deadline_set(&t->worker->deadlines, &t->deadline, until_us);
        return EV_NONE;
    }
    t->record.end = ENDED_IDLE;
    return EV_END;
}

/* What the lost end had sent is still brought to the other, as far as its kernel; then that one
 * gets an RST too, which it can tell from an end in order. */
enum tunnel_event tunnel_reset(struct tunnel *t)
{
    int lost = t->gone;
    int at_fault = lost;
    enum relay_result result = relay_pump(&t->relay, lost, &t->worker->relay, &at_fault);

    if (result == RELAY_MORE) {
        worker_again(t->worker, t);
        return EV_NONE;
    }
    if (result == RELAY_RESET && at_fault != lost) {
        return EV_END;
    }
    bool through = !relay_holds(&t->relay, lost) && all_acknowledged(t->relay.ends[1 - lost].fd);
    return through ? EV_END : EV_NONE;
}

enum tunnel_event tunnel_reset_late(struct tunnel *t)
{
    int64_t now_us = t->worker->relay.now_us;

    if (now_us - t->since_us >= RESET_AT_MOST_US) {
        return EV_END;
    }
    deadline_set(&t->worker->deadlines, &t->deadline, now_us + RESET_AGAIN_US);
    return tunnel_reset(t);
}

enum tunnel_event tunnel_stop(struct tunnel *t)
{
    t->record.end = ENDED_STOP;
    return tunnel_end(t);
}

enum tunnel_event tunnel_end(struct tunnel *t)
{
    struct worker *w = t->worker;

    tunnel_drop_ask(t);
    tunnel_record_finish(t);
    relay_clear(&t->relay, &w->relay);
    end_close(&t->relay.ends[FAR], t->gone == CLIENT);
    end_close(&t->relay.ends[CLIENT], t->gone == FAR);
    limits_dismiss(&w->shared->limits, &t->address_seat);
    limits_disconnect(&w->shared->limits);
    *(t->prev != NULL ? &t->prev->next : &w->tunnels) = t->next;
    if (t->next != NULL) {
        t->next->prev = t->prev;
    }
    t->next_dead = w->dead;
    w->dead = t;
    return EV_NONE;
}
