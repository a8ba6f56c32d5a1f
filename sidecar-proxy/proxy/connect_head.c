#include "sidecar-proxy/proxy/connect_head.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 255

/* RFC 9110 5.6.2. */
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* RFC 9110 5.5: visible, blank, tab and obs-text; what is left are control bytes. */
static bool is_value_char(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* What a host may hold: visible ASCII but the delimiters of the URI around it. */
static bool is_host_char(unsigned char c)
{
    return c > 0x20 && c < 0x7f && strchr("/?#@\\\"<>{}|^`:[]", c) == NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct text trim(struct text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

static bool text_is(struct text t, const char *word)
{
    return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

/* The offset behind the blank line. 0: not there yet. -EPROTO: a CR or LF that stands alone. */
static int find_end(const char *bytes, size_t len, size_t start)
{
    size_t line = start;

    for (size_t i = start; i < len; i++) {
        if (bytes[i] == '\n') {
            return -EPROTO; /* every LF behind a CR is skipped below */
        }
        if (bytes[i] != '\r') {
            continue;
        }
        if (i + 1 == len) {
            return 0;
        }
        if (bytes[i + 1] != '\n') {
            return -EPROTO;
        }
        if (i == line) {
            return (int)i + 2;
        }
        i++;
        line = i + 1;
    }
    return 0;
}

/* Empty lines before the request line are to be overlooked (RFC 9112 2.2). */
static size_t skip_empty_lines(const char *bytes, size_t len)
{
    size_t at = 0;

    while (at + 1 < len && bytes[at] == '\r' && bytes[at + 1] == '\n') {
        at += 2;
    }
    return at;
}

static int parse_port(struct text port, uint16_t *ret)
{
    uint32_t value = 0;

    if (port.len == 0 || port.len > 5) {
        return -EPROTO;
    }
    for (size_t i = 0; i < port.len; i++) {
        if (!is_digit(port.at[i])) {
            return -EPROTO;
        }
        value = value * 10 + (uint32_t)(port.at[i] - '0');
    }
    if (value == 0 || value > 65535) {
        return -EPROTO;
    }
    *ret = (uint16_t)value;
    return 0;
}

/* Bytes of authority that are its host, 0 if that is malformed. */
static size_t host_len(struct text authority)
{
    if (authority.len > 0 && authority.at[0] == '[') {
        const char *end = memchr(authority.at, ']', authority.len);
        size_t len = end != NULL ? (size_t)(end - authority.at) + 1 : 0;
        for (size_t i = 1; i + 1 < len; i++) {
            if (strchr("0123456789abcdefABCDEF:.", authority.at[i]) == NULL) {
                return 0;
            }
        }
        return len;
    }
    size_t len = 0;
    while (len < authority.len && is_host_char((unsigned char)authority.at[len])) {
        len++;
    }
    return len <= HOST_MAX ? len : 0;
}

/* host[:port]; *port untouched when there is none. */
static int parse_authority(struct text authority, struct text *host, uint16_t *port)
{
    size_t len = host_len(authority);

    if (len == 0) {
        return -EPROTO;
    }
    *host = (struct text){authority.at, len};
    if (len == authority.len) {
        return 0;
    }
    if (authority.at[len] != ':') {
        return -EPROTO;
    }
    return parse_port((struct text){authority.at + len + 1, authority.len - len - 1}, port);
}

/* "HTTP/1.x"; a higher minor version is 1.1 to us (RFC 9110 2.5). */
static int parse_version(struct text version, int *minor)
{
    if (version.len != 8 || memcmp(version.at, "HTTP/1.", 7) != 0 || !is_digit(version.at[7])) {
        return -EPROTO;
    }
    *minor = version.at[7] == '0' ? 0 : 1;
    return 0;
}

static struct text word(struct text *line)
{
    const char *blank = memchr(line->at, ' ', line->len);
    struct text w = {line->at, blank != NULL ? (size_t)(blank - line->at) : line->len};
    size_t taken = blank != NULL ? w.len + 1 : w.len;

    line->at += taken;
    line->len -= taken;
    return w;
}

/* "http://host[:port][/path][?query]"; user information and fragments have no place in a request.
 */
static int parse_absolute(struct text method, struct text target, struct connect_head *head,
                          struct err *err)
{
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;

    if (target.len <= skip || strncasecmp(target.at, scheme, skip) != 0) {
        return err_text(err, -EOPNOTSUPP, "neither CONNECT nor an http:// URL");
    }
    struct text rest = {target.at + skip, target.len - skip};
    size_t len = 0;
    while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?') {
        len++;
    }
    head->authority = (struct text){rest.at, len};
    head->path = (struct text){rest.at + len, rest.len - len};
    head->method = method;
    head->forward = true;
    if (memchr(head->path.at, '#', head->path.len) != NULL ||
        parse_authority(head->authority, &head->host, &head->port) < 0) {
        return err_text(err, -EPROTO, "the target is no http://host:port/path");
    }
    return 0;
}

static int parse_request_line(struct text line, struct connect_head *head, struct err *err)
{
    struct text method = word(&line);
    struct text target = word(&line);

    if (parse_version(line, &head->minor) < 0) {
        return err_text(err, -EPROTO, "no HTTP/1 request line");
    }
    for (size_t i = 0; i < method.len; i++) {
        if (!is_token_char((unsigned char)method.at[i])) {
            return err_text(err, -EPROTO, "malformed method");
        }
    }
    for (size_t i = 0; i < target.len; i++) {
        if ((unsigned char)target.at[i] <= 0x20 || target.at[i] == 0x7f) {
            return err_text(err, -EPROTO, "malformed target");
        }
    }
    if (method.len == 0 || target.len == 0) {
        return err_text(err, -EPROTO, "no method or no target");
    }
    if (method.len != 7 || memcmp(method.at, "CONNECT", 7) != 0) {
        return parse_absolute(method, target, head, err);
    }
    if (parse_authority(target, &head->host, &head->port) < 0) {
        return err_text(err, -EPROTO, "the target is no host:port");
    }
    return 0;
}

/* Splits a field line into name and value. -EPROTO also for the continuation of a line before it
 * (obs-fold) and for a blank before the colon: both have been used to smuggle requests. */
static int parse_field(struct text line, struct text *name, struct text *value)
{
    size_t len = 0;

    while (len < line.len && is_token_char((unsigned char)line.at[len])) {
        len++;
    }
    if (len == 0 || len == line.len || line.at[len] != ':') {
        return -EPROTO;
    }
    *name = (struct text){line.at, len};
    *value = trim((struct text){line.at + len + 1, line.len - len - 1});
    for (size_t i = 0; i < value->len; i++) {
        if (!is_value_char((unsigned char)value->at[i])) {
            return -EPROTO;
        }
    }
    return 0;
}

/* The next line of fields behind *pos, without its CRLF. */
static bool next_line(struct text fields, size_t *pos, struct text *line)
{
    if (*pos >= fields.len) {
        return false;
    }
    const char *at = fields.at + *pos;
    const char *end = memchr(at, '\r', fields.len - *pos);
    size_t len = end != NULL ? (size_t)(end - at) : fields.len - *pos;

    *line = (struct text){at, len};
    *pos += len + 2;
    return true;
}

/* Is word one of a comma-separated list? */
static bool list_has(struct text list, const char *wanted)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.at) : list.len;
        if (text_is(trim((struct text){list.at, len}), wanted)) {
            return true;
        }
        size_t taken = comma != NULL ? len + 1 : len;
        list.at += taken;
        list.len -= taken;
    }
    return false;
}

struct seen { /* how often */
    int hosts, lengths, codings;
};

static bool is_number(struct text t)
{
    size_t digits = 0;

    while (digits < t.len && t.at[digits] >= '0' && t.at[digits] <= '9') {
        digits++;
    }
    return digits > 0 && digits == t.len;
}

static int note_field(struct connect_head *head, struct text name, struct text value,
                      struct seen *seen)
{
    struct text host;
    uint16_t port = 0;

    if (text_is(name, "host")) {
        seen->hosts++;
        return parse_authority(value, &host, &port);
    }
    if (text_is(name, "content-length")) {
        seen->lengths++;
        head->has_body = true;
        return is_number(value) ? 0 : -EPROTO;
    }
    if (text_is(name, "transfer-encoding")) {
        seen->codings++;
        head->has_body = true;
    }
    if (text_is(name, "connection") || text_is(name, "proxy-connection")) {
        head->close = head->close || list_has(value, "close");
    }
    return 0;
}

static int parse_fields(struct connect_head *head, struct err *err)
{
    struct text line;
    struct text name;
    struct text value;
    struct seen seen = {0};

    for (size_t pos = 0; next_line(head->fields, &pos, &line);) {
        if (parse_field(line, &name, &value) < 0) {
            return err_text(err, -EPROTO, "malformed field line");
        }
        if (note_field(head, name, value, &seen) < 0) {
            return err_text(err, -EPROTO, "malformed %.*s", (int)name.len, name.at);
        }
    }
    if (seen.hosts > 1) {
        return err_text(err, -EPROTO, "more than one Host");
    }
    if (seen.lengths + seen.codings > 1) { /* RFC 9112 6.3: who reads it otherwise is smuggled to */
        return err_text(err, -EPROTO, "more than one length of a body");
    }
    if (seen.hosts == 0 && head->minor > 0) {
        return err_text(err, -EPROTO, "no Host");
    }
    return 0;
}

static int parse_whole(struct text bytes, struct connect_head *head, struct err *err)
{
    const char *eol = memchr(bytes.at, '\r', bytes.len);
    struct text line = {bytes.at, (size_t)(eol - bytes.at)};

    head->fields =
        (struct text){eol + 2, bytes.len - line.len - 4}; /* the blank line is no field */
    int r = parse_request_line(line, head, err);
    if (r == -EPROTO) {
        return r;
    }
    head->close = head->minor == 0;
    int fields = parse_fields(head, err);
    if (r < 0 && fields < 0) { /* whatever is wrong with a GET, it is no CONNECT */
        return err_text(err, r, "another method than CONNECT");
    }
    return r < 0 ? r : fields;
}

int connect_head_parse(const char *bytes, size_t len, struct connect_head *ret, struct err *err)
{
    struct connect_head head = {.minor = 1};
    size_t start = skip_empty_lines(bytes, len);
    size_t seen = len < CONNECT_HEAD_MAX ? len : CONNECT_HEAD_MAX;
    int end = start < seen ? find_end(bytes, seen, start) : 0;

    if (end < 0) {
        ret->minor = head.minor;
        return err_text(err, end, "a line does not end in CRLF");
    }
    if (end == 0) {
        return len < CONNECT_HEAD_MAX
                   ? 0
                   : err_text(err, -EMSGSIZE, "head over %d bytes", CONNECT_HEAD_MAX);
    }
    int r = parse_whole((struct text){bytes + start, (size_t)end - start}, &head, err);
    if (r < 0) {
        ret->minor = head.minor;
        return r;
    }
    *ret = head;
    return end;
}

bool connect_head_field(const struct connect_head *head, const char *name, size_t *pos,
                        struct text *value)
{
    struct text line;
    struct text field;

    while (next_line(head->fields, pos, &line)) {
        if (parse_field(line, &field, value) == 0 && text_is(field, name)) {
            return true;
        }
    }
    return false;
}

/* Is name one of those that a Connection field names? */
static bool is_named_by_connection(const struct connect_head *head, struct text name)
{
    struct text list;
    char word_of[64];

    if (name.len >= sizeof(word_of)) {
        return false;
    }
    memcpy(word_of, name.at, name.len);
    word_of[name.len] = '\0';
    for (size_t pos = 0; connect_head_field(head, "connection", &pos, &list);) {
        if (list_has(list, word_of)) {
            return true;
        }
    }
    return false;
}

/* For us or for this connection only (RFC 9110 7.6.1), or written anew. */
static bool stays_here(const struct connect_head *head, struct text name)
{
    static const char *const ours[] = {
        "host", "via",     "connection",         "keep-alive",          "proxy-connection",
        "te",   "upgrade", "proxy-authenticate", "proxy-authorization",
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (text_is(name, ours[i])) {
            return true;
        }
    }
    bool frames = text_is(name, "content-length") || text_is(name, "transfer-encoding");
    return !frames && is_named_by_connection(head, name);
}

int connect_head_forward(const struct connect_head *head, const char *via, struct buf *out)
{
    bool rooted = head->path.len > 0 && head->path.at[0] == '/';
    struct text line;
    struct text name;
    struct text value;

    int r = buf_printf(out, "%.*s %s%.*s HTTP/1.%d\r\nHost: %.*s\r\n", (int)head->method.len,
                       head->method.at, rooted ? "" : "/", (int)head->path.len, head->path.at,
                       head->minor, (int)head->authority.len, head->authority.at);
    for (size_t pos = 0; r == 0 && next_line(head->fields, &pos, &line);) {
        if (parse_field(line, &name, &value) == 0 && !stays_here(head, name)) {
            r = buf_printf(out, "%.*s\r\n", (int)line.len, line.at);
        }
    }
    return r < 0 ? r : buf_printf(out, "Via: %s\r\nConnection: close\r\n\r\n", via);
}
