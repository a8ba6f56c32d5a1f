#include "nss/fill.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

struct arena { /* what is left of the caller's buffer */
    char *at;
    size_t left;
};

/* NULL when it does not fit; aligned for pointers. */
static void *take(struct arena *a, size_t len)
{
    size_t pad = (size_t)(-(uintptr_t)a->at) & (_Alignof(max_align_t) - 1);

    if (pad > a->left || len > a->left - pad) {
        return NULL;
    }
    char *p = a->at + pad;
    a->at = p + len;
    a->left -= pad + len;
    return p;
}

static char *take_name(struct arena *a, const char *name)
{
    size_t len = strlen(name) + 1;
    char *copy = take(a, len);

    return copy != NULL ? memcpy(copy, name, len) : NULL;
}

static enum nss_status too_short(int *errnop, int *h_errnop)
{
    *errnop = ERANGE;
    *h_errnop = NETDB_INTERNAL;
    return NSS_STATUS_TRYAGAIN;
}

enum nss_status fill_hostent(const char *name, uint32_t address, struct hostent *result,
                             char *buffer, size_t len, int *errnop, int *h_errnop)
{
    struct arena a = {buffer, len};
    char *copy = take_name(&a, name);
    char **lists = take(&a, 3 * sizeof(*lists)); /* aliases: none; addresses: one */
    char *bytes = take(&a, sizeof(address));

    if (copy == NULL || lists == NULL || bytes == NULL) {
        return too_short(errnop, h_errnop);
    }
    memcpy(bytes, &address, sizeof(address));
    lists[0] = NULL;
    lists[1] = bytes;
    lists[2] = NULL;
    *result = (struct hostent){
        .h_name = copy,
        .h_aliases = lists,
        .h_addrtype = AF_INET,
        .h_length = sizeof(address),
        .h_addr_list = lists + 1,
    };
    return NSS_STATUS_SUCCESS;
}

enum nss_status fill_tuple(const char *name, uint32_t address, struct gaih_addrtuple **pat,
                           char *buffer, size_t len, int *errnop, int *h_errnop)
{
    struct arena a = {buffer, len};
    char *copy = take_name(&a, name);
    struct gaih_addrtuple *tuple = *pat; /* the caller's, else ours */

    if (tuple == NULL) {
        tuple = take(&a, sizeof(*tuple));
    }
    if (copy == NULL || tuple == NULL) {
        return too_short(errnop, h_errnop);
    }
    *tuple = (struct gaih_addrtuple){.name = copy, .family = AF_INET};
    memcpy(tuple->addr, &address, sizeof(address));
    *pat = tuple;
    return NSS_STATUS_SUCCESS;
}
