/* pool_watch: says that something in the pool file's folder changed (inotify). Editors replace a
 * file by renaming another over it, so the folder is watched, not the file; whether the file is
 * different is the caller's to find out. */
#pragma once

#include "common/loop.h"

struct pool_watch;

#define POOL_WATCH_QUIET_MS 200 /* fn runs when it was quiet for so long after a change */

int pool_watch_open(struct loop *loop, const char *file, loop_fn fn, void *arg,
                    struct pool_watch **ret, struct err *err);
void pool_watch_close(struct pool_watch *w); /* NULL is fine */
