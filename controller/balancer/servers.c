#include "controller/balancer/servers.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct server *servers_find(const struct server_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

bool servers_same(const struct server_list *a, const struct server_list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        const struct server *x = &a->items[i];
        const struct server *y = &b->items[i];
        if (x->mode != y->mode || strcmp(x->name, y->name) != 0 ||
            strcmp(x->address, y->address) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

char *servers_stat_command(const char *backend)
{
    return xasprintf("show stat %s 4 -1", backend);
}

/* --- the statistics table: CSV, columns by the header line --- */

enum column { COL_BACKEND, COL_NAME, COL_SESSIONS, COL_STATUS, COL_ADDRESS, COLUMNS };

static const char *const column_names[COLUMNS] = {
    [COL_BACKEND] = "pxname", [COL_NAME] = "svname",  [COL_SESSIONS] = "scur",
    [COL_STATUS] = "status",  [COL_ADDRESS] = "addr",
};

/* Field number n of a line that ends at end; none of ours is ever quoted. */
static bool field(const char *line, const char *end, int n, const char **ret, size_t *len)
{
    const char *p = line;

    for (; n > 0; n--) {
        p = memchr(p, ',', (size_t)(end - p));
        if (p == NULL) {
            return false;
        }
        p++;
    }
    const char *comma = memchr(p, ',', (size_t)(end - p));
    *ret = p;
    *len = (size_t)((comma != NULL ? comma : end) - p);
    return true;
}

static bool field_is(const char *text, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(text, want, len) == 0;
}

static int read_header(const char *line, const char *end, int at[COLUMNS], struct err *err)
{
    const char *text;
    size_t len;

    if (strncmp(line, "# ", 2) != 0) {
        return err_text(err, -EPROTO, "haproxy: no table of statistics: '%.60s'", line);
    }
    for (int c = 0; c < COLUMNS; c++) {
        int n = 0;
        while (field(line + 2, end, n, &text, &len) && !field_is(text, len, column_names[c])) {
            n++;
        }
        if (!field(line + 2, end, n, &text, &len)) {
            return err_text(err, -EPROTO, "haproxy: no column '%s' in its statistics",
                            column_names[c]);
        }
        at[c] = n;
    }
    return 0;
}

/* What comes back in a command later: nothing that could end one and begin another. */
static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("_.:-[]%@/", text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool starts(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static int read_row(const char *line, const char *end, const int at[COLUMNS], const char *backend,
                    struct server_list *ret, struct err *err)
{
    const char *text[COLUMNS];
    size_t len[COLUMNS];

    for (int c = 0; c < COLUMNS; c++) {
        if (!field(line, end, at[c], &text[c], &len[c])) {
            return err_text(err, -EPROTO, "haproxy: a row of statistics is cut short");
        }
    }
    if (!field_is(text[COL_BACKEND], len[COL_BACKEND], backend)) {
        return 0;
    }
    if (ret->count == SERVERS_MAX || len[COL_NAME] == 0 || len[COL_NAME] > SERVER_NAME_MAX ||
        len[COL_ADDRESS] > SERVER_ADDRESS_MAX || !is_plain(text[COL_NAME], len[COL_NAME]) ||
        !is_plain(text[COL_ADDRESS], len[COL_ADDRESS])) {
        return err_text(err, -EPROTO, "haproxy: a server that none of ours can be");
    }
    struct server *s = &ret->items[ret->count++];
    *s = (struct server){.mode = SERVER_READY};
    memcpy(s->name, text[COL_NAME], len[COL_NAME]);
    memcpy(s->address, text[COL_ADDRESS], len[COL_ADDRESS]);
    s->sessions = (uint32_t)strtoul(text[COL_SESSIONS], NULL, 10);
    if (starts(text[COL_STATUS], len[COL_STATUS], "MAINT")) {
        s->mode = SERVER_MAINT;
    } else if (starts(text[COL_STATUS], len[COL_STATUS], "DRAIN")) {
        s->mode = SERVER_DRAIN;
    }
    s->failing = starts(text[COL_STATUS], len[COL_STATUS], "DOWN");
    return 0;
}

int servers_parse(const char *reply, const char *backend, struct server_list *ret, struct err *err)
{
    int at[COLUMNS];
    const char *end = reply + strcspn(reply, "\n");
    int r = read_header(reply, end, at, err);

    ret->count = 0;
    while (r == 0 && *end == '\n') {
        const char *line = end + 1;
        end = line + strcspn(line, "\n");
        if (end > line) {
            r = read_row(line, end, at, backend, ret, err);
        }
    }
    return r;
}

/* --- what to do --- */

static const char *const mode_words[] = {
    [SERVER_MAINT] = "maint",
    [SERVER_DRAIN] = "drain",
    [SERVER_READY] = "ready",
};

static int plan_removal(const char *backend, const struct server *s, struct buf *ret)
{
    if (s->mode != SERVER_MAINT) {
        return buf_printf(ret, "set server %s/%s state maint\n", backend, s->name);
    }
    if (s->sessions > 0) {
        return buf_printf(ret, "shutdown sessions server %s/%s\n", backend, s->name);
    }
    return buf_printf(ret, "del server %s/%s\n", backend, s->name);
}

int servers_plan(const char *backend, const struct server_list *desired,
                 const struct server_list *observed, struct buf *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < desired->count; i++) {
        const struct server *want = &desired->items[i];
        const struct server *have = servers_find(observed, want->name);
        if (have == NULL) {
            r = buf_printf(ret, "add server %s/%s %s\n", backend, want->name, want->address);
        } else if (strcmp(have->address, want->address) != 0) {
            r = plan_removal(backend, have, ret);
        } else if (have->mode != want->mode) {
            r = buf_printf(ret, "set server %s/%s state %s\n", backend, want->name,
                           mode_words[want->mode]);
        }
    }
    for (size_t i = 0; r == 0 && i < observed->count; i++) {
        if (servers_find(desired, observed->items[i].name) == NULL) {
            r = plan_removal(backend, &observed->items[i], ret);
        }
    }
    return r;
}

int servers_check_reply(const char *command, const char *reply, struct err *err)
{
    const char *want = "";

    if (strncmp(command, "add server ", 11) == 0) {
        want = "New server registered.";
    } else if (strncmp(command, "del server ", 11) == 0) {
        want = "Server deleted.";
    }
    if (strcmp(reply, want) != 0) {
        return err_text(err, -EPROTO, "haproxy answered '%s' with '%.200s'", command, reply);
    }
    return 0;
}
