/* http_ca: extra certificates beside the system's. Private to common/. */
#pragma once

#include "common/err.h"

/* Makes a file without a name of the certificates in system_path, if there are any, and those in
 * pem. *ret: its descriptor; "/proc/self/fd/{*ret}" names it. -EINVAL: pem holds no certificate. */
int http_ca_bundle(const char *system_path, const char *pem, int *ret, struct err *err);
/* -EINVAL: pem does not begin with a certificate. */
int http_ca_check(const char *pem, struct err *err);
