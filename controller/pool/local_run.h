/* local_run: one controller for one pool on this machine, from its start to its end. */
#pragma once

#include "controller/pool/object.h"

struct local_settings { /* borrowed */
    const char *file;   /* of the pool; NULL: the environment has it */
    const char *runtime_dir, *state_dir;
    const char *service_key; /* NULL: not set */
};

/* Reads the pool and checks all that can be checked without changing anything; errors and warnings
 * go to standard error. 0 or -EINVAL. Without a file certificates are written to tls_dir if write.
 */
int local_load_pool(const struct local_settings *settings, bool write, struct pool_object *ret);

/* Until it is told to end. Returns the exit status. */
int local_run(const struct local_settings *settings);
