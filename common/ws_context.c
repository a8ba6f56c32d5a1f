#include "common/ws_context.h"

#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define FD_TABLE_MAX 65536 /* above, libwebsockets gets a limit of its own */
#define WEBSOCKETS_MAX 4096

struct vhost {
    struct lws_vhost *vhost;
    char *name;
    lws_callback_function *callback;
    struct lws_protocols protocols[2];
    struct vhost *next;
};

struct ws_context {
    struct loop *loop;
    struct lws_context *lws;
    struct vhost *vhosts;
    size_t users;
    int rounds_left; /* until libwebsockets' handles are closed */
    struct ws_context *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* loops run in threads */
static struct ws_context *contexts;
static _Thread_local bool is_quiet;

void ws_context_quiet(bool quiet)
{
    is_quiet = quiet;
}

/* "[2026/01/01 00:00:00:0000] N: text" without its stamp. */
static const char *text_of(const char *line)
{
    const char *end = line[0] == '[' ? strchr(line, ']') : NULL;

    return end != NULL && strlen(end) > 5 ? end + 5 : line;
}

/* Its warnings tell of peers that misbehave: whoever owns the connection is told as well. */
static void on_log(int level, const char *line)
{
    enum log_level to = level == LLL_ERR && !is_quiet ? LOG_WARN : LOG_DEBUG;

    if (to < log_get_level()) {
        return;
    }
    AUTO(str) char *text = xstrdup(text_of(line));
    text[strcspn(text, "\n")] = '\0';
    log_line(to, "libwebsockets", "text", text, NULL);
}

static int make(struct ws_context *context)
{
    void *foreign_loops[1] = {loop_uv(context->loop)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_VALIDATE_UTF8,
        .foreign_loops = foreign_loops,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };

    if (sysconf(_SC_OPEN_MAX) > FD_TABLE_MAX) {
        info.fd_limit_per_thread = WEBSOCKETS_MAX; /* else it fills tables of that many entries */
    }
    lws_set_log_level(LLL_ERR | LLL_WARN, on_log);
    context->lws = lws_create_context(&info);
    return context->lws != NULL ? 0 : -EIO;
}

int ws_context_get(struct loop *loop, struct ws_context **ret, struct err *err)
{
    int r = 0;

    pthread_mutex_lock(&lock);
    struct ws_context *context = contexts;
    while (context != NULL && context->loop != loop) {
        context = context->next;
    }
    if (context == NULL) {
        context = xcalloc(1, sizeof(*context));
        context->loop = loop;
        r = make(context);
        if (r == 0) {
            context->next = contexts;
            contexts = context;
        }
    }
    if (r == 0) {
        context->users++;
        *ret = context;
    } else {
        free(context);
    }
    pthread_mutex_unlock(&lock);
    return r < 0 ? err_text(err, r, "libwebsockets can not be started (is its libuv plugin there?)")
                 : 0;
}

static void finish(struct ws_context *context)
{
    lws_context_destroy(context->lws);
    while (context->vhosts != NULL) {
        struct vhost *v = context->vhosts;
        context->vhosts = v->next;
        free(v->name);
        free(v);
    }
    free(context);
}

/* On a loop that is not its own libwebsockets is destroyed in two calls: the first one closes all
 * handles, the second one frees. Between them their close callbacks must have run: connections'
 * handles at the end of this round, then, in older versions, its timer's at the end of the next. */
static void destroy(void *arg)
{
    struct ws_context *context = arg;

    if (context->rounds_left == 3) {
        lws_context_destroy(context->lws);
    }
    if (context->rounds_left == 0) {
        finish(context);
        return;
    }
    context->rounds_left--;
    loop_post(context->loop, destroy, context);
}

void ws_context_put(struct ws_context *context)
{
    pthread_mutex_lock(&lock);
    bool last = --context->users == 0;
    if (last) {
        struct ws_context **at = &contexts;
        while (*at != context) {
            at = &(*at)->next;
        }
        *at = context->next;
    }
    pthread_mutex_unlock(&lock);
    if (last) {
        context->rounds_left = 3;
        loop_post(context->loop, destroy, context);
    }
}

struct lws_context *ws_context_lws(struct ws_context *context)
{
    return context->lws;
}

int ws_context_vhost(struct ws_context *context, const char *protocol,
                     lws_callback_function *callback, struct lws_vhost **ret, struct err *err)
{
    struct vhost *v;

    for (v = context->vhosts; v != NULL; v = v->next) {
        if (v->callback == callback && strcmp(v->name, protocol) == 0) {
            *ret = v->vhost;
            return 0;
        }
    }
    v = xcalloc(1, sizeof(*v));
    v->name = xstrdup(protocol);
    v->callback = callback;
    v->protocols[0] = (struct lws_protocols){.name = v->name, .callback = callback};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = v->protocols,
        .vhost_name = v->name,
    };
    v->vhost = lws_create_vhost(context->lws, &info);
    if (v->vhost == NULL) {
        free(v->name);
        free(v);
        return err_text(err, -EIO, "libwebsockets can not serve '%s'", protocol);
    }
    v->next = context->vhosts;
    context->vhosts = v;
    *ret = v->vhost;
    return 0;
}
