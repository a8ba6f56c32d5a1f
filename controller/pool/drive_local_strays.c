/* What an earlier controller of this runtime directory left and no state file knows, as the file
 * was lost: instances' processes are ended, their devices reported, their files removed. */
#include "common/log.h"
#include "controller/pool/drive_local_priv.h"
#include "controller/pool/local_strays.h"

#include <dirent.h>
#include <string.h>

#define STRAY_GRACE_MS 3000

static void on_stray_end(void *arg, const struct process_end *end)
{
    struct stray *s = arg;

    s->process = NULL;
    s->owner->strays_left--;
    drive_local_begin(s->owner);
}

static bool is_known(const struct drive_local *d, pid_t pid)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct local_instance *r = instance_record(d->items[i]);
        if (r->openvpn.id.pid == pid || r->sidecar.id.pid == pid) {
            return true;
        }
    }
    return false;
}

static void end_stray(struct drive_local *d, enum local_tool tool, struct process_id id)
{
    const char *name = local_tool_names[tool];
    struct stray *s = &d->strays[d->strays_left];

    s->owner = d;
    if (process_adopt(d->loop, id, name, on_stray_end, s, &s->process, NULL) == 0) {
        log_warn("ending a process that no state file knows", "what", name, "pid", NUM(id.pid),
                 NULL);
        d->strays_left++;
        process_stop(s->process, STRAY_GRACE_MS);
    }
}

static void end_strays_of(struct drive_local *d, enum local_tool tool)
{
    struct process_id *found;
    size_t count = local_strays_find(d->options.paths, tool, &found);

    for (size_t i = 0; i < count && d->strays_left < STRAYS_MAX; i++) {
        if (!is_known(d, found[i].pid)) {
            end_stray(d, tool, found[i]);
        }
    }
    free(found);
}

/* Called with none left: again, until none is found. So one that was just being started when its
 * controller died is found, too. */
bool drive_local_end_strays(struct drive_local *d)
{
    end_strays_of(d, TOOL_OPENVPN);
    end_strays_of(d, TOOL_SIDECAR);
    return d->strays_left > 0;
}

void drive_local_forget_strays(struct drive_local *d)
{
    for (size_t i = 0; i < STRAYS_MAX; i++) {
        process_close(d->strays[i].process);
    }
}

/* A status file alone is nobody's that we know: Debian's openvpn@server-1 has one here. */
static bool is_leftover(const struct drive_local *d, const char *name, uint32_t *index)
{
    enum instance_path what;

    return local_instance_path_parse(name, &what, index) && what != PATH_STATUS &&
           drive_local_find(d, *index) == NULL;
}

void drive_local_remove_leftovers(struct drive_local *d)
{
    DIR *dir = opendir(d->options.paths->runtime_dir);
    uint32_t index;

    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (is_leftover(d, e->d_name, &index) &&
            faccessat(dirfd(dir), e->d_name, F_OK, 0) == 0) { /* not removed with another of it */
            log_info("removing what is left of an instance", "index", NUM(index), NULL);
            instance_remove_leftovers(&d->instance_host, index);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}
