#include "common/http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define BODY_OVERHEAD_MAX 4096

/* Headers that may come once only. */
enum once { HAS_HOST = 1, HAS_LENGTH = 2, HAS_CODING = 4, HAS_AUTH = 8, HAS_KEY = 16, HAS_WS = 32 };

struct parse {
    struct http_head *head;
    unsigned seen; /* enum once */
    bool upgrade_websocket;
    bool connection_upgrade;
};

static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(const char *s)
{
    size_t len = 0;

    while (is_token_char(s[len])) {
        len++;
    }
    return len > 0 && s[len] == '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place. False for a bad escape or an encoded NUL. */
static bool percent_decode(char *s)
{
    char *to = s;

    for (; *s != '\0'; s++) {
        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        int high = hex_value(s[1]);
        int low = high < 0 ? -1 : hex_value(s[2]);
        if (low < 0 || (high | low) == 0) {
            return false;
        }
        *to++ = (char)(high << 4 | low);
        s += 2;
    }
    *to = '\0';
    return true;
}

/* "http://host/path" to "/path"; what is in origin form stays. NULL: neither. */
static char *origin_form(char *target)
{
    if (target[0] == '/') {
        return target;
    }
    if (strncasecmp(target, "http://", 7) != 0) {
        return NULL;
    }
    char *path = target + 7 + strcspn(target + 7, "/?");
    if (path == target + 7) {
        return NULL;
    }
    if (*path != '/') { /* an empty path: make room for one over the authority's last byte */
        *--path = '/';
    }
    return path;
}

static int parse_target(struct http_head *head, char *target)
{
    for (const char *c = target; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7e || *c == '#') {
            return -400;
        }
    }
    char *path = origin_form(target);
    if (path == NULL) {
        return -400;
    }
    char *query = strchr(path, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    head->path = path;
    head->query = query != NULL ? query : "";
    return percent_decode(path) ? 0 : -400;
}

static int parse_version(struct http_head *head, const char *version)
{
    if (strncmp(version, "HTTP/", 5) != 0 || !isdigit((unsigned char)version[5]) ||
        version[6] != '.' || !isdigit((unsigned char)version[7]) || version[8] != '\0') {
        return -400;
    }
    if (version[5] != '1') {
        return -505;
    }
    head->is_http_1_0 = version[7] == '0';
    head->keep_alive = !head->is_http_1_0;
    return 0;
}

static int parse_request_line(struct http_head *head, char *line)
{
    char *target = strchr(line, ' ');
    char *version = target != NULL ? strchr(target + 1, ' ') : NULL;

    if (version == NULL) {
        return -400;
    }
    *target++ = '\0';
    *version++ = '\0';
    if (!is_token(line)) {
        return -400;
    }
    if (strlen(line) > HTTP_METHOD_MAX) {
        return -501;
    }
    memcpy(head->method, line, strlen(line) + 1);
    int r = parse_version(head, version);
    return r < 0 ? r : parse_target(head, target);
}

typedef int (*compare_fn)(const char *a, const char *b, size_t len);

static bool list_has(const char *list, const char *name, compare_fn compare)
{
    while (*list != '\0') {
        list += strspn(list, " \t,");
        size_t len = strcspn(list, " \t,");
        if (len == strlen(name) && compare(list, name, len) == 0) {
            return true;
        }
        list += len;
    }
    return false;
}

bool http_list_has(const char *list, const char *name)
{
    return list_has(list, name, strncmp);
}

static bool list_has_any_case(const char *list, const char *name)
{
    return list_has(list, name, strncasecmp);
}

/* False if it was there already. */
static bool first_time(struct parse *p, enum once which)
{
    bool first = (p->seen & (unsigned)which) == 0;

    p->seen |= (unsigned)which;
    return first;
}

static int on_host(struct parse *p, const char *value)
{
    (void)value;
    return first_time(p, HAS_HOST) ? 0 : -400;
}

static int on_content_length(struct parse *p, const char *value)
{
    size_t digits = strspn(value, "0123456789");

    if (!first_time(p, HAS_LENGTH) || digits == 0 || value[digits] != '\0') {
        return -400;
    }
    if (digits > 18) {
        return -413;
    }
    p->head->content_length = strtoull(value, NULL, 10);
    return 0;
}

static int on_transfer_encoding(struct parse *p, const char *value)
{
    if (!first_time(p, HAS_CODING) || p->head->is_http_1_0) {
        return -400;
    }
    p->head->is_chunked = true;
    return strcasecmp(value, "chunked") == 0 ? 0 : -501;
}

static int on_connection(struct parse *p, const char *value)
{
    if (list_has_any_case(value, "close")) {
        p->head->keep_alive = false;
    } else if (list_has_any_case(value, "keep-alive") && p->head->is_http_1_0) {
        p->head->keep_alive = true;
    }
    if (list_has_any_case(value, "upgrade")) {
        p->connection_upgrade = true;
    }
    return 0;
}

static int on_authorization(struct parse *p, const char *value)
{
    p->head->authorization = value;
    return first_time(p, HAS_AUTH) ? 0 : -400;
}

static int on_expect(struct parse *p, const char *value)
{
    p->head->expects_continue = !p->head->is_http_1_0;
    return strcasecmp(value, "100-continue") == 0 ? 0 : -417;
}

static int on_upgrade(struct parse *p, const char *value)
{
    if (list_has_any_case(value, "websocket")) {
        p->upgrade_websocket = true;
    }
    return 0;
}

static int on_ws_key(struct parse *p, const char *value)
{
    p->head->ws_key = value;
    return first_time(p, HAS_KEY) ? 0 : -400;
}

static int on_ws_version(struct parse *p, const char *value)
{
    size_t digits = strspn(value, "0123456789");

    p->head->ws_version = digits > 0 && digits < 4 && value[digits] == '\0' ? atoi(value) : 0;
    return 0;
}

static int on_ws_protocol(struct parse *p, const char *value)
{
    p->head->ws_protocols = value;
    return first_time(p, HAS_WS) ? 0 : -400;
}

static const struct {
    const char *name;
    int (*fn)(struct parse *p, const char *value);
} known_headers[] = {
    {"Host", on_host},
    {"Content-Length", on_content_length},
    {"Transfer-Encoding", on_transfer_encoding},
    {"Connection", on_connection},
    {"Authorization", on_authorization},
    {"Expect", on_expect},
    {"Upgrade", on_upgrade},
    {"Sec-WebSocket-Key", on_ws_key},
    {"Sec-WebSocket-Version", on_ws_version},
    {"Sec-WebSocket-Protocol", on_ws_protocol},
};

static int parse_header(struct parse *p, char *line)
{
    char *colon = strchr(line, ':');

    if (colon == NULL) {
        return -400;
    }
    *colon = '\0';
    if (!is_token(line)) { /* also a folded line and "Name :" */
        return -400;
    }
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        value[--len] = '\0';
    }
    for (size_t i = 0; i < ARRAY_LEN(known_headers); i++) {
        if (strcasecmp(line, known_headers[i].name) == 0) {
            return known_headers[i].fn(p, value);
        }
    }
    return 0;
}

/* Cuts the line that begins at *at; *at moves to the next. NULL: a bare CR, LF or a control byte.
 */
static char *next_line(char **at)
{
    char *line = *at;
    char *end = strchr(line, '\r');

    if (end == NULL || end[1] != '\n') {
        return NULL;
    }
    *end = '\0';
    *at = end + 2;
    for (const char *c = line; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) {
            return NULL;
        }
    }
    return line;
}

static int parse_lines(struct parse *p)
{
    char *at = p->head->text;
    char *line = next_line(&at);
    int r = line != NULL ? parse_request_line(p->head, line) : -400;

    while (r == 0 && (line = next_line(&at)) != NULL && *line != '\0') {
        r = parse_header(p, line);
    }
    return r == 0 && line == NULL ? -400 : r;
}

static int check_whole(const struct parse *p)
{
    if ((p->seen & HAS_HOST) == 0 && !p->head->is_http_1_0) {
        return -400;
    }
    return p->head->is_chunked && (p->seen & HAS_LENGTH) != 0 ? -400 : 0;
}

/* The head's length with the empty line behind it; 0: not there yet. */
static size_t find_end(const char *bytes, size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);

    return end != NULL ? (size_t)(end - bytes) + 4 : 0;
}

static int is_too_long(const char *bytes, size_t len)
{
    if (len <= HTTP_HEAD_MAX) {
        return 0;
    }
    return memchr(bytes, '\n', HTTP_HEAD_MAX) == NULL ? -414 : -431;
}

int http_head_parse(const char *bytes, size_t len, struct http_head *ret)
{
    size_t skipped = 0;

    while (len - skipped >= 2 && skipped < 4 && memcmp(bytes + skipped, "\r\n", 2) == 0) {
        skipped += 2;
    }
    bytes += skipped;
    len -= skipped;
    size_t end = find_end(bytes, len);
    int r = is_too_long(bytes, end > 0 ? end : len);
    if (r < 0 || end == 0) {
        return r;
    }
    if (memchr(bytes, '\0', end) != NULL) {
        return -400;
    }
    struct parse p = {.head = ret};
    *ret = (struct http_head){.authorization = "", .ws_key = "", .ws_protocols = ""};
    memcpy(ret->text, bytes, end);
    ret->text[end] = '\0';
    r = parse_lines(&p);
    if (r == 0) {
        r = check_whole(&p);
    }
    ret->is_websocket = p.upgrade_websocket && p.connection_upgrade;
    return r < 0 ? r : (int)(skipped + end);
}

/* --- the body --- */

void http_body_init(struct http_body *body, const struct http_head *head)
{
    *body = (struct http_body){.is_chunked = head->is_chunked, .left = head->content_length};
    if (head->is_chunked) {
        body->state = HTTP_BODY_SIZE;
    } else {
        body->state = body->left > 0 ? HTTP_BODY_BYTES : HTTP_BODY_DONE;
    }
}

bool http_body_is_done(const struct http_body *body)
{
    return body->state == HTTP_BODY_DONE;
}

static int feed_size(struct http_body *body, char c)
{
    int value = hex_value(c);

    if (value >= 0) {
        body->left = body->left << 4 | (unsigned)value;
        return ++body->digits > 15 ? -413 : 0;
    }
    if (body->digits == 0) {
        return -400;
    }
    if (c == '\r') {
        body->state = HTTP_BODY_SIZE_LF;
        return 0;
    }
    body->state = HTTP_BODY_EXTENSION;
    return c == ';' || c == ' ' || c == '\t' ? 0 : -400;
}

/* A byte that must be what, and leads to next. */
static int feed_must(struct http_body *body, char c, char what, enum http_body_state next)
{
    body->state = next;
    return c == what ? 0 : -400;
}

static int feed_ignored(struct http_body *body, char c, enum http_body_state at_end)
{
    if (c == '\r') {
        body->state = at_end;
        return 0;
    }
    return c == '\n' || ++body->overhead > BODY_OVERHEAD_MAX ? -400 : 0;
}

/* A byte of the chunks' framing. */
static int feed_framing(struct http_body *body, char c)
{
    switch (body->state) {
    case HTTP_BODY_SIZE:
        return feed_size(body, c);
    case HTTP_BODY_EXTENSION:
        return feed_ignored(body, c, HTTP_BODY_SIZE_LF);
    case HTTP_BODY_SIZE_LF:
        return feed_must(body, c, '\n', body->left > 0 ? HTTP_BODY_BYTES : HTTP_BODY_TRAILER);
    case HTTP_BODY_BYTES_CR:
        return feed_must(body, c, '\r', HTTP_BODY_BYTES_LF);
    case HTTP_BODY_BYTES_LF:
        body->left = 0;
        body->digits = 0;
        return feed_must(body, c, '\n', HTTP_BODY_SIZE);
    case HTTP_BODY_TRAILER:
        body->state = c == '\r' ? HTTP_BODY_LAST_LF : HTTP_BODY_TRAILER_LINE;
        return c == '\n' || ++body->overhead > BODY_OVERHEAD_MAX ? -400 : 0;
    case HTTP_BODY_TRAILER_LINE:
        return feed_ignored(body, c, HTTP_BODY_TRAILER_LF);
    case HTTP_BODY_TRAILER_LF:
        return feed_must(body, c, '\n', HTTP_BODY_TRAILER);
    case HTTP_BODY_LAST_LF:
        return feed_must(body, c, '\n', HTTP_BODY_DONE);
    default:
        return -400;
    }
}

static long feed_bytes(struct http_body *body, const char *bytes, size_t len, struct buf *out)
{
    size_t take = body->left < len ? (size_t)body->left : len;

    if (buf_append(out, bytes, take) < 0) {
        return -413;
    }
    body->left -= take;
    if (body->left == 0) {
        body->state = body->is_chunked ? HTTP_BODY_BYTES_CR : HTTP_BODY_DONE;
    }
    return (long)take;
}

long http_body_feed(struct http_body *body, const char *bytes, size_t len, struct buf *out)
{
    size_t at = 0;

    while (at < len && body->state != HTTP_BODY_DONE) {
        long n;
        if (body->state == HTTP_BODY_BYTES) {
            n = feed_bytes(body, bytes + at, len - at, out);
        } else {
            n = feed_framing(body, bytes[at]);
            n = n < 0 ? n : 1;
        }
        if (n < 0) {
            return n;
        }
        at += (size_t)n;
    }
    return (long)at;
}
