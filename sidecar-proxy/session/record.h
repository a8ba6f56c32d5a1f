/* record: what a sidecar must know of its earlier life in the same epoch: a small JSON file that
 * is replaced as a whole. A record of another epoch says nothing about this one. */
#pragma once

#include "common/err.h"

#define RECORD_EPOCH_MAX 64 /* bytes, without the NUL */

struct record {
    char epoch[RECORD_EPOCH_MAX + 1];
    int64_t service_id;  /* of the balena API's service instance; 0: not registered */
    uint64_t generation; /* latest life of OpenVPN that was seen; 0: none */
    int openvpn_pid;     /* its process; 0: none */
    int64_t drain_rate;  /* devices a minute; 0: no drain was asked for */
    int64_t drain_timeout_s;
};

/* The record of this epoch. *ret is always set: without a file, or with one of another epoch, it
 * is empty but for the epoch. -EPROTO, -EIO ...: there is a file, but it can not be read. */
int record_load(const char *path, const char *epoch, struct record *ret, struct err *err);
/* Atomically: after a crash there is the old one or the new one. */
int record_save(const char *path, const struct record *r, struct err *err);
