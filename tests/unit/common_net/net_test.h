/* net_test: a loop for each test, waiting for conditions, and peers that speak bytes. */
#pragma once

#include "common/buf.h"
#include "common/http_client.h"
#include "common/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

extern struct loop *loop; /* of the test that runs */

/* cmocka's setup and teardown of each test. The teardown fails a test that left objects open. */
int net_setup(void **state);
int net_teardown(void **state);
#define net_test(name) cmocka_unit_test_setup_teardown(name, net_setup, net_teardown)

/* Lets the loop run for about a millisecond; fails the test in its tenth second. */
void net_step(const char *file, int line, const char *what);
#define RUN_UNTIL(condition)                          \
    do {                                              \
        while (!(condition)) {                        \
            net_step(__FILE__, __LINE__, #condition); \
        }                                             \
    } while (0)

/* One end of a connection that the test itself plays. */
struct raw {
    int fd;
    struct buf in; /* what came so far */
    bool eof;      /* also after a reset */
};

/* A listening socket on 127.0.0.1. Its address as "127.0.0.1:port". */
int raw_listen(char address[32]);
/* The address of a port nobody listens on. */
void unused_address(char address[32]);
/* "/tmp/.../name", in a directory that goes with the test. */
const char *temp_path(const char *name);
bool raw_accept(int listener, struct raw *ret); /* false: nobody is there */
struct raw raw_connect(const char *address);    /* as in http_listen_options */
void raw_send(struct raw *r, const char *text);
void raw_send_bytes(struct raw *r, const void *bytes, size_t len);
void raw_pull(struct raw *r);                  /* takes what is there */
bool raw_has(struct raw *r, const char *text); /* has it come? */
size_t raw_count(struct raw *r, const char *text);
bool raw_ended(struct raw *r);
void raw_close(struct raw *r);
void raw_reset(struct raw *r); /* close with RST */

/* How a call of http_client ended. */
struct result {
    int done; /* times */
    int code;
    int status;
    int retry_after_s;
    size_t body_len;
    char body[256]; /* its beginning */
    char content_type[64];
    char error[ERR_TEXT_MAX];
    struct http_call *call; /* NULL when done */
};
void on_result(void *arg, int result, const struct http_response *res, const struct err *err);
/* method, url, body: for a call to be filled up further. arg is the result, zeroed. */
struct http_request request_for(struct result *r, const char *method, const char *url,
                                const char *body);
void send_request(struct http_client *client, const struct http_request *request);
