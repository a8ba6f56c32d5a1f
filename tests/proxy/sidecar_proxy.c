/* A sidecar's proxy without a VPN: proxy.h with a router that knows devices from a file, each line
 * "uuid address port" (a device answers on that port whatever port was asked for; port 0: on the
 * one asked for). The file may grow. For tests/proxy and tests/bench.
 *     test_sidecar_proxy LISTEN TABLE WORKERS      prints "port N", ends at the end of its input */
#include "common/log.h"
#include "sidecar-proxy/proxy/proxy.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEVICES_MAX 65536

struct device {
    char uuid[UUID_TEXT_MAX + 1];
    char address[46];
    unsigned port;
};

struct program {
    struct loop *loop;
    const char *path;
    pthread_mutex_t lock; /* of what follows */
    struct stat seen;     /* the file as it was read */
    struct device *devices;
    size_t count;
};

static void read_table(struct program *p)
{
    FILE *file = fopen(p->path, "re");
    struct device d;

    p->count = 0;
    while (file != NULL && p->count < DEVICES_MAX &&
           fscanf(file, "%62s %45s %u", d.uuid, d.address, &d.port) == 3) {
        p->devices[p->count++] = d;
    }
    if (file != NULL) {
        fclose(file);
    }
}

static bool find_locked(struct program *p, const char *uuid, uint16_t port, struct route *ret)
{
    struct stat now;

    if (stat(p->path, &now) == 0 &&
        (now.st_size != p->seen.st_size || now.st_mtim.tv_nsec != p->seen.st_mtim.tv_nsec)) {
        p->seen = now;
        read_table(p);
    }
    for (size_t i = 0; i < p->count; i++) {
        const struct device *d = &p->devices[i];
        if (strcmp(d->uuid, uuid) == 0) {
            *ret = (struct route){
                .kind = ROUTE_DEVICE,
                .port = d->port != 0 ? (uint16_t)d->port : port,
            };
            memcpy(ret->address, d->address, sizeof(ret->address));
            return true;
        }
    }
    return false;
}

/* Any thread. */
static bool known(void *arg, const char *uuid, uint16_t port, struct route *ret)
{
    struct program *p = arg;

    pthread_mutex_lock(&p->lock);
    bool found = find_locked(p, uuid, port, ret);
    pthread_mutex_unlock(&p->lock);
    return found;
}

static void find(void *arg, struct route_query *query, const struct route_request *request)
{
    struct route route = {.kind = ROUTE_OFFLINE, .why = "not in the table"};

    known(arg, request->uuid, request->port, &route);
    proxy_route_answer(query, &route);
}

static void cancel(void *arg, struct route_query *query)
{
    (void)arg;
    (void)query;
}

static void on_input(void *arg, int events, int error)
{
    struct program *p = arg;
    char byte;

    (void)events;
    if (error != 0 || read(STDIN_FILENO, &byte, 1) == 0) {
        loop_stop(p->loop);
    }
}

static int open_proxy(struct program *p, char **argv, struct balena_api **api, struct proxy **proxy,
                      struct err *err)
{
    AUTO(str) char *url = NULL;
    int r = balena_api_url_from_env(&url, err);

    if (r < 0) {
        return r;
    }
    struct balena_api_options api_options = {
        .base_url = url,
        .service_key = getenv("VPN_SERVICE_API_KEY"),
    };
    r = balena_api_new(p->loop, &api_options, api, err);
    if (r < 0) {
        return r;
    }
    struct proxy_options options = {
        .listen = argv[1],
        .workers = atoi(argv[3]),
        .keys = {.key = api_options.service_key},
        .guest_key = getenv("VPN_GUEST_API_KEY"),
        .self_id = "sidecar-1",
        .api = *api,
        .router = {.known = known, .find = find, .cancel = cancel, .arg = p},
        .connect_timeout_ms = 1500,
    };
    return proxy_open(p->loop, &options, proxy, err);
}

int main(int argc, char **argv)
{
    struct program p = {.path = argc > 3 ? argv[2] : NULL, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct balena_api *api = NULL;
    struct proxy *proxy = NULL;
    struct loop_io *input = NULL;
    struct err err = {0, ""};
    enum log_level level = LOG_INFO;

    if (argc != 4 || getenv("VPN_SERVICE_API_KEY") == NULL) {
        fprintf(stderr, "usage: VPN_SERVICE_API_KEY=... %s LISTEN TABLE WORKERS\n", argv[0]);
        return 2;
    }
    p.devices = xcalloc(DEVICES_MAX, sizeof(struct device));
    log_level_parse(getenv("LOG_LEVEL") != NULL ? getenv("LOG_LEVEL") : "info", &level);
    log_init("test-sidecar-proxy", LOG_HUMAN, level);
    int r = loop_new(&p.loop, &err);
    if (r == 0) {
        r = loop_io_new(p.loop, STDIN_FILENO, on_input, &p, &input, &err);
    }
    if (r == 0) {
        r = open_proxy(&p, argv, &api, &proxy, &err);
    }
    if (r < 0) {
        log_error("can not start", "why", err.text, NULL);
        return 1;
    }
    loop_io_set(input, LOOP_READ);
    printf("port %u\n", proxy_port(proxy));
    fflush(stdout);
    loop_run(p.loop);
    proxy_close(proxy);
    balena_api_close(api);
    loop_io_close(input);
    loop_free(p.loop);
    free(p.devices);
    return 0;
}
