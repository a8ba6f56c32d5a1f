#include "common/http_conn.h"

#include <string.h>

static bool path_matches(const struct http_route *route, const char *path)
{
    size_t len = strlen(route->path);

    if (len > 0 && route->path[len - 1] == '*') {
        return strncmp(route->path, path, len - 1) == 0;
    }
    return strcmp(route->path, path) == 0;
}

static bool method_matches(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void add_method(char **allow, const char *method)
{
    if (*allow != NULL && http_list_has(*allow, method)) {
        return;
    }
    const char *more = strcmp(method, "GET") == 0 ? "GET, HEAD" : method;
    char *longer = *allow == NULL ? xstrdup(more) : xasprintf("%s, %s", *allow, more);

    free(*allow);
    *allow = longer;
}

enum http_match http_routes_match(const struct http_route *routes, size_t count,
                                  const struct http_head *head, size_t *index, char **allow)
{
    bool known_websocket = false;
    AUTO(str) char *others = NULL;

    for (size_t i = 0; i < count; i++) {
        if (!path_matches(&routes[i], head->path)) {
            continue;
        }
        bool is_websocket = routes[i].ws != NULL;
        bool fits = is_websocket ? head->is_websocket && strcmp(head->method, "GET") == 0
                                 : method_matches(&routes[i], head->method);
        if (fits) {
            *index = i;
            return HTTP_MATCHED;
        }
        if (is_websocket) {
            known_websocket = true;
        } else {
            add_method(&others, routes[i].method);
        }
    }
    if (others != NULL) {
        *allow = MOVE(others);
        return HTTP_BAD_METHOD;
    }
    return known_websocket ? HTTP_NOT_WEBSOCKET : HTTP_NOT_FOUND;
}
