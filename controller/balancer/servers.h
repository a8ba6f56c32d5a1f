/* servers: which servers haproxy has, which it should have, and the commands between the two. Pure.
 * Level-triggered: the same comparison repairs a haproxy that was restarted (it knows no server),
 * one that somebody changed by hand, and one that half of our commands reached. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

#define SERVER_NAME_MAX 63
#define SERVER_ADDRESS_MAX 63
#define SERVERS_MAX 1024

enum server_mode {
    SERVER_MAINT, /* takes no one; how it is born, and how it must be to be deleted */
    SERVER_DRAIN, /* keeps who is there, takes no one new */
    SERVER_READY,
};

struct server {
    char name[SERVER_NAME_MAX + 1];
    char address[SERVER_ADDRESS_MAX + 1]; /* "127.0.0.1:10001" */
    enum server_mode mode;
    bool failing;      /* observed only: haproxy says DOWN */
    uint32_t sessions; /* observed only: connections now */
};

struct server_list {
    struct server items[SERVERS_MAX];
    size_t count;
};

const struct server *servers_find(const struct server_list *list, const char *name);
/* Names, addresses and modes, in the same order? */
bool servers_same(const struct server_list *a, const struct server_list *b);

/* Of the reply to servers_stat_command(). -EPROTO: not such a reply, err says why. */
int servers_parse(const char *reply, const char *backend, struct server_list *ret, struct err *err);
/* "show stat {backend} 4 -1": its servers. Caller frees. */
char *servers_stat_command(const char *backend);

/* The next command for each server that is not as desired, one a line; each further step is seen
 * after the next observation. A server that is not desired goes by way of maintenance and of the
 * end of its connections (they are shut: whoever wants them to end gently drains first). A server
 * whose address changed goes and comes again. Empty: all is as desired. -EMSGSIZE as buf_append().
 */
int servers_plan(const char *backend, const struct server_list *desired,
                 const struct server_list *observed, struct buf *ret);
/* Did haproxy do what command asked? -EPROTO with its words. */
int servers_check_reply(const char *command, const char *reply, struct err *err);
