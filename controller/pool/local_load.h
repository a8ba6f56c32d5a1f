/* local_load: a pool from its file or from the environment, with all that can be said about it
 * without changing anything: its own rules, this machine's ports, interfaces and certificates, and
 * what OpenVPN and haproxy think of what they would get; and about the keys that the environment
 * holds. */
#pragma once

#include "common/secret.h"
#include "controller/pool/env_pool.h"
#include "controller/pool/local_commands.h"

struct local_settings { /* borrowed */
    const char *file;   /* of the pool; NULL: the environment has it */
    const char *runtime_dir, *state_dir;
    struct service_keys keys; /* no key: not set */
};

struct local_findings { /* texts of whole lines, for a person or the log */
    struct pool_errors errors, warnings;
    struct env_notes notes; /* of the environment: what has no effect here */
};
void local_findings_init(struct local_findings *f);
void local_findings_clear(struct local_findings *f);
/* Each line as a line of the log. */
void local_findings_log(const struct local_findings *f);
/* As they are, to standard error. */
void local_findings_print(const struct local_findings *f);

/* 0; -EINVAL: errors says why, *ret and *pem are untouched. pem: certificates of the environment,
 * which the pool names as files in paths->tls_dir; empty with a file. findings are initialised by
 * the caller. */
int local_load_pool(const struct local_settings *settings, const struct local_paths *paths,
                    struct pool_object *ret, struct env_pem *pem, struct local_findings *findings);

/* Which API, what CA is trusted for it beside the system's (NULL: none), from the environment; both
 * are the caller's, also after an error. -EINVAL: it is not named, or there is no key for it. */
int local_load_api(const struct local_settings *settings, char **url, char **ca, struct err *err);
