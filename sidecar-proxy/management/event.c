#include "sidecar-proxy/management/event.h"

#include "common/secret.h"
#include "sidecar-proxy/management/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IV_PROTO_KNOWS_TEMP 256 /* "AUTH_FAILED,TEMP": OpenVPN 2.6 and later */

void event_parser_init(struct event_parser *p)
{
    *p = (struct event_parser){.open = EVENT_NONE};
}

void event_parser_wipe(struct event_parser *p)
{
    secret_wipe(p->password, strlen(p->password));
}

void event_parser_reset(struct event_parser *p)
{
    event_parser_wipe(p);
    p->open = EVENT_NONE;
}

/* What follows prefix, NULL if line does not begin with it. */
static char *after(char *line, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(line, prefix, len) == 0 ? line + len : NULL;
}

/* A value too long for its place counts as absent: cut short it might be another's name. */
static void keep(char *place, size_t size, const char *value)
{
    size_t len = strlen(value);

    memcpy(place, value, len < size ? len + 1 : 0);
}

static void keep_number(uint64_t *place, const char *value)
{
    uint64_t n;

    if (field_u64(value, &n)) {
        *place = n;
    }
}

enum env_type { ENV_TEXT, ENV_NUMBER, ENV_SECONDS, ENV_PROTO };

/* The keys that are kept. trusted_* are there once a client is authorised, untrusted_* before;
 * both name the same peer. */
static const struct env_key {
    const char *name;
    enum env_type type;
    size_t offset;
    size_t size;
} env_keys[] = {
#define TEXT(key, member)                                     \
    {                                                         \
        key, ENV_TEXT, offsetof(struct event_parser, member), \
            sizeof(((struct event_parser *)0)->member)        \
    }
    TEXT("username", username),
    TEXT("common_name", common_name),
    TEXT("password", password),
    TEXT("IV_VER", version),
    TEXT("untrusted_ip", address),
    TEXT("untrusted_ip6", address),
    TEXT("untrusted_port", port),
    TEXT("trusted_ip", address),
    TEXT("trusted_ip6", address),
    TEXT("trusted_port", port),
#undef TEXT
    {"bytes_received", ENV_NUMBER, offsetof(struct event_parser, client.bytes_in), 0},
    {"bytes_sent", ENV_NUMBER, offsetof(struct event_parser, client.bytes_out), 0},
    {"time_unix", ENV_SECONDS, 0, 0},
    {"IV_PROTO", ENV_PROTO, 0, 0},
};

static void keep_env(struct event_parser *p, const struct env_key *key, const char *value)
{
    uint64_t n = 0;

    switch (key->type) {
    case ENV_TEXT:
        keep((char *)p + key->offset, key->size, value);
        break;
    case ENV_NUMBER:
        keep_number((uint64_t *)((char *)p + key->offset), value);
        break;
    case ENV_SECONDS:
        keep_number(&n, value);
        p->client.since_ms = n < INT64_MAX / 1000 ? (int64_t)n * 1000 : 0;
        break;
    case ENV_PROTO:
        keep_number(&n, value);
        p->client.knows_temp = (n & IV_PROTO_KNOWS_TEMP) != 0;
        break;
    }
}

/* key=value; the value may hold further '='. */
static void parse_env(struct event_parser *p, char *pair)
{
    char *equals = strchr(pair, '=');

    if (equals == NULL) {
        return;
    }
    *equals = '\0';
    for (size_t i = 0; i < ARRAY_LEN(env_keys); i++) {
        if (strcmp(pair, env_keys[i].name) == 0) {
            keep_env(p, &env_keys[i], equals + 1);
            return;
        }
    }
}

static const char *peer(struct event_parser *p)
{
    bool ipv6 = strchr(p->address, ':') != NULL;

    if (p->address[0] == '\0') {
        return "";
    }
    snprintf(p->remote, sizeof(p->remote), "%s%s%s:%s", ipv6 ? "[" : "", p->address,
             ipv6 ? "]" : "", p->port);
    return p->remote;
}

static void finish_block(struct event_parser *p, struct event *ret)
{
    p->client.username = p->username[0] != '\0' ? p->username : p->common_name;
    p->client.password = p->password;
    p->client.version = p->version;
    p->client.remote = peer(p);
    ret->kind = p->open;
    ret->client = p->client;
    p->open = EVENT_NONE;
}

/* Outside a block it is the end of one whose head we do not know: ignored. */
static void parse_env_line(struct event_parser *p, char *pair, struct event *ret)
{
    if (p->open == EVENT_NONE) {
        return;
    }
    if (strcmp(pair, "END") == 0) {
        finish_block(p, ret);
        return;
    }
    parse_env(p, pair);
}

static void open_block(struct event_parser *p, enum event_kind kind, uint64_t cid, uint64_t kid)
{
    event_parser_wipe(p);
    p->open = kind;
    p->client = (struct link_client){.cid = cid, .kid = kid};
    p->username[0] = p->common_name[0] = p->version[0] = p->address[0] = p->port[0] = '\0';
}

/* "CID,ADDRESS,PRIMARY": the only one without a block. */
static int parse_address(char **fields, size_t count, uint64_t cid, struct event *ret)
{
    uint32_t address;

    if (count < 4) {
        return -EPROTO;
    }
    if (strcmp(fields[3], "1") == 0 && field_ipv4(fields[2], &address)) {
        ret->kind = EVENT_ADDRESS;
        ret->client.cid = cid;
        ret->client.address = address;
    }
    return 0;
}

static const struct client_head {
    const char *name;
    enum event_kind kind; /* EVENT_NONE: its block is read and forgotten */
    bool has_kid;
} client_heads[] = {
    {"CONNECT", EVENT_CONNECT, true},          {"REAUTH", EVENT_REAUTH, true},
    {"ESTABLISHED", EVENT_ESTABLISHED, false}, {"DISCONNECT", EVENT_DISCONNECT, false},
    {"ADDRESS", EVENT_ADDRESS, false},
};

static const struct client_head *find_head(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(client_heads); i++) {
        if (strcmp(name, client_heads[i].name) == 0) {
            return &client_heads[i];
        }
    }
    return NULL;
}

static int parse_client(struct event_parser *p, char *text, struct event *ret)
{
    char *fields[4];
    size_t count = fields_split(text, ',', fields, ARRAY_LEN(fields));
    const struct client_head *head = find_head(fields[0]);
    uint64_t cid;
    uint64_t kid = 0;

    if (p->open != EVENT_NONE) {
        return -EPROTO;
    }
    if (head == NULL) {
        return 0;
    }
    if (count < 2 || !field_u64(fields[1], &cid)) {
        return -EPROTO;
    }
    if (head->kind == EVENT_ADDRESS) {
        return parse_address(fields, count, cid, ret);
    }
    if (head->has_kid && (count < 3 || !field_u64(fields[2], &kid))) {
        return -EPROTO;
    }
    open_block(p, head->kind, cid, kid);
    return 0;
}

static int parse_bytes(char *text, struct event *ret)
{
    char *fields[4];
    struct link_client c = {.cid = 0};

    if (fields_split(text, ',', fields, ARRAY_LEN(fields)) != 3 || !field_u64(fields[0], &c.cid) ||
        !field_u64(fields[1], &c.bytes_in) || !field_u64(fields[2], &c.bytes_out)) {
        return -EPROTO;
    }
    ret->kind = EVENT_BYTES;
    ret->client = c;
    return 0;
}

/* Any other INFO line is for people. */
static int parse_info(char *text, struct event *ret)
{
    char *number = after(text, "OpenVPN Management Interface Version ");

    if (number == NULL) {
        return 0;
    }
    number[strcspn(number, " ")] = '\0';
    if (!field_u64(number, &ret->version)) {
        return -EPROTO;
    }
    ret->kind = EVENT_GREETING;
    return 0;
}

int event_parse(struct event_parser *p, char *line, struct event *ret)
{
    char *text;

    *ret = (struct event){.kind = EVENT_NONE};
    ret->client.username = ret->client.password = ret->client.remote = ret->client.version = "";
    if (line[0] != '>') {
        ret->kind = EVENT_REPLY;
        ret->reply = line;
    } else if ((text = after(line, ">CLIENT:ENV,")) != NULL) {
        parse_env_line(p, text, ret);
    } else if ((text = after(line, ">CLIENT:")) != NULL) {
        return parse_client(p, text, ret);
    } else if ((text = after(line, ">BYTECOUNT_CLI:")) != NULL) {
        return parse_bytes(text, ret);
    } else if ((text = after(line, ">INFO:")) != NULL) {
        return parse_info(text, ret);
    } else if (after(line, ">HOLD:") != NULL) {
        ret->kind = EVENT_HOLD;
    }
    return 0;
}
