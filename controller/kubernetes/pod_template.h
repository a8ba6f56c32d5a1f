/* pod_template: what Pods are compared by: a hash of all that they are made with, and one of each
 * part of it, so that a person can be told what has changed. Pure. */
#pragma once

#include "common/json.h"

struct pod_template {
    char hash[17];   /* 16 hex digits */
    char parts[192]; /* "image=...,openvpn=..." */
};

/* pod: rendered, before the annotations that say it are put. The owner's uid and the sidecar's
 * image do not count: the one is the pool's, not the template's, and the other is changed in place.
 */
void pod_template_make(cJSON *pod, struct pod_template *ret);

/* What differs between two parts, in words: "the image, what OpenVPN runs with". A part that one of
 * them lacks differs. Caller frees. */
char *pod_template_difference(const char *before, const char *now);
