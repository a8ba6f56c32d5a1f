/* status_file: OpenVPN's status files (version 2) as a second source, for the time when a sidecar
 * does not answer. OpenVPN rewrites them in place, so one without its END line is torn: not used.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Looks through dir's server-*.status; the newest connection wins. *address: network byte order. */
bool status_files_find(const char *dir, const char *uuid, uint32_t *address);

/* One file's text, NUL-terminated; cut up in place. since: of the row found, Unix time. Pure. */
bool status_text_find(char *text, const char *uuid, uint32_t *address, int64_t *since);
