/* fake_api: an API server of which the test says every byte. On net_test.h's loop and waiting. */
#pragma once

#include "controller/kube/kube_client.h"
#include "tests/unit/common_net/net_test.h"

#define FAKE_CONNECTIONS 64

struct fake_request { /* the one that is to be answered; borrowed until the next */
    struct raw *connection;
    char method[16];
    char *target; /* path and query */
    char *head;   /* all of it */
    char *body;
};

struct fake_api {
    int listener;
    char address[32];
    struct raw connections[FAKE_CONNECTIONS]; /* fd -1: none */
    size_t count;
    struct fake_request request;
};

extern struct fake_api api;

void fake_api_open(void);
void fake_api_close(void);
/* Waits for a request and takes it. */
void fake_api_take(const char *file, int line);
#define TAKE_REQUEST() fake_api_take(__FILE__, __LINE__)
bool fake_api_poll(void);                     /* the same without waiting: is there one? */
bool fake_request_has(const char *parameter); /* "limit=500" is in the query */

/* headers: "Retry-After: 1\r\n", or "". */
void fake_answer(int status, const char *headers, const char *body);
void fake_answer_cut(int status, const char *body); /* promises more than comes, then closes */
void fake_stream(void);                             /* 200, in chunks */
void fake_chunk(const void *bytes, size_t len);
void fake_stream_end(void);
void fake_drop(void); /* closes the request's connection */

/* A config that leads here; the caller's. */
struct kube_config *fake_config(const char *token);
