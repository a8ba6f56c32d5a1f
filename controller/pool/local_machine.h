/* local_machine: what this machine must have and let us have alone before a pool can run on it. */
#pragma once

#include "common/err.h"

#include <sys/types.h>

/* -EPERM: no right to manage networks; -ENOENT and such: no /dev/net/tun. The text says what to do.
 */
int local_check_rights(struct err *err);

/* OpenVPN has a descriptor a device, and inherits our limit: raises it as far as it may be. */
void local_raise_descriptor_limit(void);

/* With the folders above it, which get 0755. It may be there already. */
int local_make_folder(const char *path, mode_t mode, struct err *err);

/* One controller a folder, and one a network namespace: interfaces, the firewall table and ports
 * are shared in there. *ret: descriptors that hold the lock until they are closed. -EBUSY: another
 * one has it. */
int local_lock_folder(const char *lock_file, int *ret, struct err *err);
int local_lock_namespace(int *ret, struct err *err);
