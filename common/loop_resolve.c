#include "common/loop.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <uv.h>

#define RESOLVE_MAX 128 /* addresses of one name that are handed on */
#define TEXT_MAX (INET6_ADDRSTRLEN + 1 + IF_NAMESIZE)

struct loop_resolve {
    uv_getaddrinfo_t uv;
    loop_resolve_fn fn; /* NULL once it was cancelled */
    void *arg;
};

static bool is_known(char (*texts)[TEXT_MAX], size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(texts[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static void hand_over(struct loop_resolve *r, const struct addrinfo *found)
{
    char texts[RESOLVE_MAX][TEXT_MAX];
    const char *addresses[RESOLVE_MAX];
    size_t count = 0;

    for (const struct addrinfo *a = found; a != NULL && count < RESOLVE_MAX; a = a->ai_next) {
        char text[TEXT_MAX];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
                0 &&
            !is_known(texts, count, text)) {
            memcpy(texts[count], text, sizeof(text));
            addresses[count] = texts[count];
            count++;
        }
    }
    r->fn(r->arg, count > 0 ? 0 : -EHOSTUNREACH, addresses, count);
}

static void on_resolved(uv_getaddrinfo_t *uv, int status, struct addrinfo *found)
{
    struct loop_resolve *r = uv->data;

    if (r->fn != NULL) {
        hand_over(r, status == 0 ? found : NULL);
    }
    uv_freeaddrinfo(found);
    free(r);
}

static void on_not_started(void *arg)
{
    struct loop_resolve *r = arg;

    on_resolved(&r->uv, UV_EAI_FAIL, NULL);
}

struct loop_resolve *loop_resolve_start(struct loop *loop, const char *host, loop_resolve_fn fn,
                                        void *arg)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct loop_resolve *r = xcalloc(1, sizeof(*r));

    r->fn = fn;
    r->arg = arg;
    r->uv.data = r;
    if (uv_getaddrinfo(loop_uv(loop), &r->uv, on_resolved, host, NULL, &hints) < 0) {
        loop_post(loop, on_not_started, r); /* a name that can not be one, say too long */
    }
    return r;
}

void loop_resolve_cancel(struct loop_resolve *r)
{
    if (r != NULL) {
        r->fn = NULL;
        uv_cancel((uv_req_t *)&r->uv); /* may be too late; the answer is thrown away then */
    }
}
