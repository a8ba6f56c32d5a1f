/* kube_answer: what an HTTP answer of the API server means. Pure. Private to kube/. */
#pragma once

#include "controller/kube/kube_client.h"

struct kube_answer_parts { /* owns what a struct kube_answer borrows */
    struct kube_answer answer;
    char *text;
};

/* what: "GET /api/v1/...", for the text. object: a parsed body or NULL, becomes the answer's. */
void kube_answer_make(struct kube_answer_parts *p, const char *what, int status, cJSON *object,
                      const char *body, int retry_after_s);
/* There is no answer. */
void kube_answer_fail(struct kube_answer_parts *p, const char *what, int result, const char *why);
void kube_answer_clear(struct kube_answer_parts *p);
/* The resourceVersion that was asked for is of no use any more: too old (410), or newer than all
 * that the server knows (it was restored from a backup). */
bool kube_answer_lost_version(const struct kube_answer *answer);
