#include "controller/balancer/endpoints.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* --- one slice --- */

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = member(object, key);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool is_true(const cJSON *conditions, const char *key, bool unsaid)
{
    const cJSON *item = member(conditions, key);

    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : unsaid;
}

/* 0: the slice has no such port. */
static uint16_t port_of(const cJSON *slice, const char *name)
{
    const cJSON *ports = member(slice, "ports");
    const cJSON *port;

    cJSON_ArrayForEach(port, ports)
    {
        const char *has = text_of(port, "name");
        const cJSON *number = member(port, "port");
        bool is_it = strcmp(has, name) == 0 || (has[0] == '\0' && cJSON_GetArraySize(ports) == 1);
        if (is_it && cJSON_IsNumber(number) && number->valueint >= 1 &&
            number->valueint <= UINT16_MAX) {
            return (uint16_t)number->valueint;
        }
    }
    return 0;
}

/* What haproxy takes as a server's name, and as a part of a command. */
static bool is_name(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("-._:", text[i]) == NULL) {
            return false;
        }
    }
    return len >= 1 && len <= SERVER_NAME_MAX;
}

/* In the form in which haproxy gives it back. */
static bool read_address(const char *text, uint16_t port, struct slice_endpoint *ret)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char plain[INET6_ADDRSTRLEN];

    ret->v6 = strchr(text, ':') != NULL;
    int family = ret->v6 ? AF_INET6 : AF_INET;
    if (inet_pton(family, text, bytes) != 1 ||
        inet_ntop(family, bytes, plain, sizeof(plain)) == NULL) {
        return false;
    }
    snprintf(ret->address, sizeof(ret->address), ret->v6 ? "[%s]:%u" : "%s:%u", plain, port);
    return true;
}

/* The addresses of one endpoint are all the same place: the first is enough. */
static bool read_endpoint(const cJSON *endpoint, uint16_t port, struct slice_endpoint *ret)
{
    const cJSON *target = member(endpoint, "targetRef");
    const cJSON *conditions = member(endpoint, "conditions");
    const cJSON *address = cJSON_GetArrayItem(member(endpoint, "addresses"), 0);

    if (port == 0 || !cJSON_IsString(address) || !read_address(address->valuestring, port, ret)) {
        return false;
    }
    const char *name = strcmp(text_of(target, "kind"), "Pod") == 0 ? text_of(target, "name") : "";
    name = name[0] != '\0' ? name : text_of(endpoint, "hostname");
    name = name[0] != '\0' ? name : address->valuestring;
    if (!is_name(name)) {
        return false;
    }
    strcpy(ret->name, name);
    ret->terminating = is_true(conditions, "terminating", false);
    ret->ready = is_true(conditions, "ready", true) && is_true(conditions, "serving", true) &&
                 !ret->terminating;
    return true;
}

struct slice *slice_read(const cJSON *object, const char *port_name)
{
    const cJSON *endpoints = member(object, "endpoints");
    uint16_t port = port_of(object, port_name);
    int size = cJSON_IsArray(endpoints) ? cJSON_GetArraySize(endpoints) : 0;
    size_t most = size < SLICE_ENDPOINTS_MAX ? (size_t)size : SLICE_ENDPOINTS_MAX;
    struct slice *s = xcalloc(1, sizeof(*s) + most * sizeof(s->items[0]));
    const cJSON *endpoint;

    cJSON_ArrayForEach(endpoint, endpoints)
    {
        if (s->count < most && read_endpoint(endpoint, port, &s->items[s->count])) {
            s->count++;
        } else {
            s->unusable++;
        }
    }
    return s;
}

/* --- all slices --- */

static int compare(bool a, bool b)
{
    return (int)b - (int)a; /* true comes first */
}

/* By name; of one name that first whose address is to be taken. */
static int by_name(const void *first, const void *second)
{
    const struct slice_endpoint *a = *(const struct slice_endpoint *const *)first;
    const struct slice_endpoint *b = *(const struct slice_endpoint *const *)second;
    const int keys[] = {strcmp(a->name, b->name), compare(!a->v6, !b->v6),
                        compare(!a->terminating, !b->terminating), compare(a->ready, b->ready),
                        strcmp(a->address, b->address)};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i] != 0) {
            return keys[i];
        }
    }
    return 0;
}

static const struct slice_endpoint **sorted(const struct slice *const *slices, size_t count,
                                            size_t *total)
{
    size_t n = 0;

    *total = 0;
    for (size_t i = 0; i < count; i++) {
        *total += slices[i]->count;
    }
    const struct slice_endpoint **all = xcalloc(*total + 1, sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < slices[i]->count; k++) {
            all[n++] = &slices[i]->items[k];
        }
    }
    qsort(all, *total, sizeof(*all), by_name);
    return all;
}

/* How many of all[0..count) are of the first one's Pod; and what they say together. */
static size_t one_pod(const struct slice_endpoint *const *all, size_t count, struct server *ret)
{
    bool ready = false;
    bool terminating = false;
    size_t n = 0;

    for (; n < count && strcmp(all[n]->name, all[0]->name) == 0; n++) {
        ready = ready || all[n]->ready;
        terminating = terminating || all[n]->terminating;
    }
    *ret = (struct server){.mode = ready && !terminating ? SERVER_READY : SERVER_DRAIN};
    strcpy(ret->name, all[0]->name);
    strcpy(ret->address, all[0]->address);
    return n;
}

size_t endpoints_merge(const struct slice *const *slices, size_t count, struct server_list *ret)
{
    size_t total;
    const struct slice_endpoint **all = sorted(slices, count, &total);
    size_t left_out = 0;

    ret->count = 0;
    for (size_t i = 0; i < total;) {
        struct server s;
        i += one_pod(&all[i], total - i, &s);
        if (ret->count < SERVERS_MAX) {
            ret->items[ret->count++] = s;
        } else {
            left_out++;
        }
    }
    free(all);
    return left_out;
}
