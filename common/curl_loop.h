/* curl_loop: libcurl's multi interface on a loop: its sockets and its timer. Private to common/.
 * Source: curl_multi_socket_action(3), CURLMOPT_SOCKETFUNCTION(3), CURLMOPT_TIMERFUNCTION(3). */
#pragma once

#include "common/loop.h"

#include <curl/curl.h>

struct curl_socket;

struct curl_loop {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct curl_socket *sockets;
    bool in_curl;    /* it is on the stack, and must not be entered again */
    loop_fn on_turn; /* curl has worked: transfers may have ended. May close us */
    void *arg;
};

void curl_loop_open(struct curl_loop *c, struct loop *loop, loop_fn on_turn, void *arg);
/* No transfer may be left in it. Not while in_curl. */
void curl_loop_close(struct curl_loop *c);
