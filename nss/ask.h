/* ask: asks the sidecars of this machine where a device is, all at once, over their nss-{i}.sock.
 * libc only, no threads, no signals, no memory of its own beyond what opendir() takes. */
#pragma once

#include <stdint.h>

enum ask_answer {
    ASK_FOUND,
    ASK_NOWHERE, /* every sidecar answered, none has it */
    ASK_UNSURE,  /* none is there, or one did not answer in time and none has it */
};

/* dir: where the sockets are. Takes at most timeout_ms. *address: network byte order. */
enum ask_answer ask_sidecars(const char *dir, const char *uuid, int timeout_ms, uint32_t *address);
