/* link_probe: the link alone, on a real management socket. Prints what it is told, a line each;
 * does what it reads: "policy allow|deny|temp|silent" for questions to come, "kill CID",
 * "terminate", "quit". A test's tool: passwords are printed. link_probe SOCKET */
#include "common/log.h"
#include "tests/replay/told.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum policy { ALLOW, DENY, TEMP, SILENT };

struct probe {
    struct loop *loop;
    struct link *link;
    struct loop_io *input;
    enum policy policy;
};

static void print_client(const char *what, const struct link_client *c)
{
    AUTO(str) char *text = told_client(what, c);

    printf("%s\n", text);
}

static void answer(struct probe *p, const struct link_client *c)
{
    switch (p->policy) {
    case ALLOW:
        link_allow(p->link, c->cid, c->kid);
        break;
    case DENY:
        link_deny(p->link, c->cid, c->kid, "denied by \"policy\"", "no \\ such \"device\"");
        break;
    case TEMP:
        link_deny_temp(p->link, c->cid, c->kid, 5, "not now");
        break;
    case SILENT:
        break;
    }
}

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
    printf("generation %" PRIu64 " pid=%d\n", generation, pid);
}

static void on_connect(void *arg, const struct link_client *c)
{
    print_client("connect", c);
    answer(arg, c);
}

static void on_reauth(void *arg, const struct link_client *c)
{
    print_client("reauth", c);
    answer(arg, c);
}

static void on_established(void *arg, const struct link_client *c)
{
    print_client("established", c);
}

static void on_disconnect(void *arg, const struct link_client *c)
{
    print_client("disconnect", c);
}

static void on_late(void *arg, uint64_t cid)
{
    printf("late %" PRIu64 "\n", cid);
}

static void on_bytes(void *arg, uint64_t cid, uint64_t bytes_in, uint64_t bytes_out)
{
    printf("bytes %" PRIu64 " in=%" PRIu64 " out=%" PRIu64 "\n", cid, bytes_in, bytes_out);
}

static void on_resync_row(void *arg, const struct link_client *c)
{
    print_client("row", c);
}

static void on_resync_end(void *arg)
{
    printf("resync-end\n");
}

static void on_state(void *arg, enum link_state state)
{
    printf("state %s\n", told_state(state));
}

static void on_lost(void *arg, const char *why)
{
    printf("lost %s\n", why);
}

static void on_closed(void *arg)
{
    struct probe *p = arg;

    printf("closed\n");
    loop_stop(p->loop);
}

static const struct link_callbacks callbacks = {
    .on_generation = on_generation,
    .on_connect = on_connect,
    .on_reauth = on_reauth,
    .on_established = on_established,
    .on_disconnect = on_disconnect,
    .on_late = on_late,
    .on_bytes = on_bytes,
    .on_resync_row = on_resync_row,
    .on_resync_end = on_resync_end,
    .on_state = on_state,
    .on_lost = on_lost,
    .on_closed = on_closed,
};

static void set_policy(struct probe *p, const char *name)
{
    static const char *const names[] = {"allow", "deny", "temp", "silent"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            p->policy = (enum policy)i;
        }
    }
}

static void obey(struct probe *p, char *line)
{
    uint64_t cid;

    if (strncmp(line, "policy ", 7) == 0) {
        set_policy(p, line + 7);
    } else if (sscanf(line, "kill %" SCNu64, &cid) == 1) {
        printf("%s\n", link_kill(p->link, cid) ? "sent" : "not sent");
    } else if (strcmp(line, "terminate") == 0) {
        printf("%s\n", link_terminate(p->link) ? "sent" : "not sent");
    } else if (strcmp(line, "quit") == 0) {
        loop_io_close(p->input);
        link_close(p->link);
    }
}

/* The writer writes whole lines. */
static void on_input(void *arg, int events, int error)
{
    struct probe *p = arg;
    char text[1024];
    ssize_t len = read(STDIN_FILENO, text, sizeof(text) - 1);

    if (len > 0) {
        text[len] = '\0';
        for (char *rest, *line = strtok_r(text, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest)) {
            obey(p, line);
        }
    } else if (len == 0) {
        obey(p, (char[]){"quit"});
    }
}

int main(int argc, char **argv)
{
    struct probe p = {.policy = ALLOW};
    struct link_options options = {.bytecount_s = 1, .callbacks = &callbacks, .arg = &p};
    struct err err;

    setvbuf(stdout, NULL, _IOLBF, 0);
    log_init("link_probe", LOG_HUMAN, LOG_DEBUG);
    options.path = argc == 2 ? argv[1] : "";
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    if (loop_new(&p.loop, &err) < 0 || link_open(p.loop, &options, &p.link, &err) < 0 ||
        loop_io_new(p.loop, STDIN_FILENO, on_input, &p, &p.input, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    loop_io_set(p.input, LOOP_READ);
    loop_run(p.loop);
    loop_free(p.loop);
    return 0;
}
