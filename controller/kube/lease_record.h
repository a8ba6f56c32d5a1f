/* lease_record: what a Lease says, and how it is changed. Pure. Private to kube/. */
#pragma once

#include "common/json.h"

struct lease_record {
    char *holder;       /* "" nobody */
    int64_t duration_s; /* as its holder promised; 0: not said */
    int64_t transitions;
    char *renewed;  /* a text: another one is another renewal, and nothing more is made of it */
    char *acquired; /* "" not said */
};

int lease_record_read(const cJSON *lease, struct lease_record *ret, struct err *err);
void lease_record_clear(struct lease_record *r);
bool lease_record_equal(const struct lease_record *a, const struct lease_record *b);

/* A new Lease that identity holds. */
cJSON *lease_record_new(const char *name, const char *identity, uint32_t duration_s,
                        int64_t unix_ms);
/* Changes lease (as last read; its resourceVersion makes the write safe) so that identity holds it:
 * renewed if it was identity's, else taken. */
void lease_record_take(cJSON *lease, const struct lease_record *was, const char *identity,
                       uint32_t duration_s, int64_t unix_ms);
void lease_record_give_up(cJSON *lease, int64_t unix_ms);
