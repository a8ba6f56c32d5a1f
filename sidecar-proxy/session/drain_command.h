/* drain_command: asks a sidecar to drain its instance and waits until nobody is left: what a Pod
 * runs before its OpenVPN is ended. A sidecar that is being restarted is waited for, and asked
 * again should it have forgotten. */
#pragma once

#include "common/loop.h"
#include "common/secret.h"

/* Beyond the drain's own time: OpenVPN ends a device that was told to go within 5 s. */
#define DRAIN_COMMAND_MARGIN_MS 5000
#define DRAIN_COMMAND_SILENCE_MS 30000 /* without an answer; then there is no sidecar */

struct drain_command;

enum drain_command_end {
    DRAIN_COMMAND_EMPTY,     /* nobody is left */
    DRAIN_COMMAND_TIME_OVER, /* some are; text says how many */
    DRAIN_COMMAND_REFUSED,   /* the sidecar says no, or nobody answers; text says why */
};

struct drain_command_options { /* texts are borrowed during drain_command_open() only */
    struct loop *loop;
    const char *control;      /* "unix:PATH" or "HOST:PORT" */
    struct service_keys keys; /* for TCP; no key: no token is sent */
    int64_t rate_per_minute;  /* 0: the sidecar's own */
    int64_t timeout_s;        /* -1: the sidecar's own */
    uint32_t silence_ms;      /* 0: DRAIN_COMMAND_SILENCE_MS */
    uint32_t margin_ms;       /* 0: DRAIN_COMMAND_MARGIN_MS */
    /* Once, last: the command is gone. text is borrowed. */
    void (*on_end)(void *arg, enum drain_command_end end, const char *text);
    void *arg;
};

/* -EINVAL: control is neither. */
int drain_command_open(const struct drain_command_options *options, struct drain_command **ret,
                       struct err *err);
