#include "controller/pool/local_state.h"

#include "common/json.h"
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STATE_FILE_MAX ((size_t)4 << 20)
#define TIME_MAX ((int64_t)1 << 52) /* what a JSON number holds exactly */

const char *const local_program_names[LOCAL_PROGRAMS] = {
    [LOCAL_HAPROXY] = "haproxy",
    [LOCAL_STATE] = "vpn-state",
    [LOCAL_CONNECT_PROXY] = "vpn-connect-proxy",
};

struct local_instance *local_state_find(struct local_state *s, uint32_t index)
{
    for (size_t i = 0; i < s->instance_count; i++) {
        if (s->instances[i].index == index) {
            return &s->instances[i];
        }
    }
    return NULL;
}

void local_state_taken(struct local_state *s, uint32_t index)
{
    for (size_t i = 0; i < s->freed_count; i++) {
        if (s->freed[i].index == index) {
            memmove(&s->freed[i], &s->freed[i + 1], (--s->freed_count - i) * sizeof(s->freed[0]));
            return;
        }
    }
}

void local_state_freed(struct local_state *s, uint32_t index, int64_t now_ms)
{
    local_state_taken(s, index);
    if (s->freed_count < LOCAL_INSTANCES_MAX) {
        s->freed[s->freed_count++] = (struct freed_index){.index = index, .freed_ms = now_ms};
    }
}

/* --- as JSON --- */

static void put_number(cJSON *object, const char *key, int64_t value)
{
    cJSON_AddNumberToObject(object, key, (double)value);
}

static void put_record(cJSON *object, const char *key, const struct keeper_record *r)
{
    cJSON *p = cJSON_AddObjectToObject(object, key);

    put_number(p, "pid", r->id.pid);
    put_number(p, "start", (int64_t)r->id.start);
    put_number(p, "startedAt", r->started_at_ms);
    put_number(p, "restarts", r->restarts);
}

static void put_instance(cJSON *array, const struct local_instance *i)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(array, o);
    put_number(o, "index", i->index);
    cJSON_AddStringToObject(o, "epoch", i->epoch);
    cJSON_AddStringToObject(o, "phase", index_phase_name(i->phase));
    put_number(o, "phaseSince", i->phase_since_ms);
    put_number(o, "serviceId", i->service_id);
    put_number(o, "failures", i->failures);
    put_number(o, "notBefore", i->not_before_ms);
    cJSON_AddBoolToObject(o, "serving", i->serving);
    cJSON_AddStringToObject(o, "revision", i->revision);
    cJSON_AddStringToObject(o, "sidecarRevision", i->sidecar_revision);
    put_record(o, "openvpn", &i->openvpn);
    put_record(o, "sidecar", &i->sidecar);
}

char *local_state_format(const struct local_state *s)
{
    AUTO(json) cJSON *root = cJSON_CreateObject();

    put_number(root, "version", 1);
    cJSON_AddStringToObject(root, "pool", s->pool);
    cJSON_AddStringToObject(root, "bootId", s->boot.text);
    put_number(root, "poolNotBefore", s->pool_not_before_ms);
    cJSON *instances = cJSON_AddArrayToObject(root, "instances");
    for (size_t i = 0; i < s->instance_count; i++) {
        put_instance(instances, &s->instances[i]);
    }
    cJSON *freed = cJSON_AddArrayToObject(root, "freed");
    for (size_t i = 0; i < s->freed_count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(freed, o);
        put_number(o, "index", s->freed[i].index);
        put_number(o, "at", s->freed[i].freed_ms);
    }
    cJSON *programs = cJSON_AddObjectToObject(root, "programs");
    for (size_t p = 0; p < LOCAL_PROGRAMS; p++) {
        cJSON *o = cJSON_AddObjectToObject(programs, local_program_names[p]);
        cJSON_AddStringToObject(o, "revision", s->programs[p].revision);
        put_record(o, "process", &s->programs[p].process);
    }
    char *text = cJSON_PrintUnformatted(root);
    if (text == NULL) {
        abort(); /* out of memory */
    }
    return text;
}

static int get_text(const cJSON *o, const char *key, char *ret, size_t size, struct err *err)
{
    const char *text;
    int r = json_str(o, key, &text, err);

    if (r == 0 && strlen(text) >= size) {
        r = err_text(err, -EPROTO, "'%s' is too long", key);
    }
    if (r == 0) {
        strcpy(ret, text);
    }
    return r;
}

static int get_u32(const cJSON *o, const char *key, uint32_t *ret, struct err *err)
{
    int64_t value = 0;
    int r = json_int(o, key, 0, UINT32_MAX, &value, err);

    if (r == 0) {
        *ret = (uint32_t)value;
    }
    return r;
}

static int get_record(const cJSON *parent, const char *key, struct keeper_record *ret,
                      struct err *err)
{
    const cJSON *o = NULL;
    int64_t pid = 0, start = 0;
    int r = json_object(parent, key, &o, err);

    if (r == 0) {
        r = json_int(o, "pid", 0, INT32_MAX, &pid, err);
    }
    if (r == 0) {
        r = json_int(o, "start", 0, TIME_MAX, &start, err);
    }
    if (r == 0) {
        r = json_int(o, "startedAt", 0, TIME_MAX, &ret->started_at_ms, err);
    }
    if (r == 0) {
        r = get_u32(o, "restarts", &ret->restarts, err);
    }
    ret->id = (struct process_id){.pid = (pid_t)pid, .start = (uint64_t)start};
    return r < 0 ? err_wrap(err, "%s", key) : 0;
}

static int get_phase(const cJSON *o, enum index_phase *ret, struct err *err)
{
    char name[16] = "";
    int r = get_text(o, "phase", name, sizeof(name), err);

    for (int p = INDEX_STARTING; r == 0 && p <= INDEX_BURYING; p++) {
        if (strcmp(name, index_phase_name((enum index_phase)p)) == 0) {
            *ret = (enum index_phase)p;
            return 0;
        }
    }
    return r < 0 ? r : err_text(err, -EPROTO, "'phase' is '%s'", name);
}

static int get_instance(const cJSON *o, struct local_state *s, struct err *err)
{
    uint32_t index = 0;
    int r = get_u32(o, "index", &index, err);

    if (r == 0 && (index == 0 || local_state_find(s, index) != NULL)) {
        r = err_text(err, -EPROTO, "'index' %u is 0 or there twice", index);
    }
    if (r < 0) {
        return r;
    }
    if (s->instance_count == LOCAL_INSTANCES_MAX) {
        return err_text(err, -EPROTO, "more than %d instances", LOCAL_INSTANCES_MAX);
    }
    struct local_instance *i = &s->instances[s->instance_count++];
    i->index = index;
    if ((r = get_text(o, "epoch", i->epoch, sizeof(i->epoch), err)) < 0 ||
        (r = get_phase(o, &i->phase, err)) < 0 ||
        (r = json_int(o, "phaseSince", 0, TIME_MAX, &i->phase_since_ms, err)) < 0 ||
        (r = json_int(o, "serviceId", 0, TIME_MAX, &i->service_id, err)) < 0 ||
        (r = get_u32(o, "failures", &i->failures, err)) < 0 ||
        (r = json_int(o, "notBefore", 0, TIME_MAX, &i->not_before_ms, err)) < 0 ||
        (r = json_bool(o, "serving", &i->serving, err)) < 0 ||
        (r = get_text(o, "revision", i->revision, sizeof(i->revision), err)) < 0 ||
        (r = get_text(o, "sidecarRevision", i->sidecar_revision, sizeof(i->sidecar_revision),
                      err)) < 0 ||
        (r = get_record(o, "openvpn", &i->openvpn, err)) < 0) {
        return r;
    }
    return get_record(o, "sidecar", &i->sidecar, err);
}

static int get_freed(const cJSON *o, struct local_state *s, struct err *err)
{
    struct freed_index f = {0};
    int r = get_u32(o, "index", &f.index, err);

    if (r == 0) {
        r = json_int(o, "at", 0, TIME_MAX, &f.freed_ms, err);
    }
    if (r == 0 && s->freed_count < LOCAL_INSTANCES_MAX) {
        s->freed[s->freed_count++] = f;
    }
    return r;
}

static int get_program(const cJSON *parent, const char *name, struct local_program_record *ret,
                       struct err *err)
{
    const cJSON *o = NULL;
    int r = json_object(parent, name, &o, err);

    if (r == 0) {
        r = get_text(o, "revision", ret->revision, sizeof(ret->revision), err);
    }
    return r == 0 ? get_record(o, "process", &ret->process, err) : r;
}

static int get_all(const cJSON *root, struct local_state *s, struct err *err)
{
    const cJSON *list = NULL, *item, *programs = NULL;
    int64_t version = 0;
    int r = json_int(root, "version", 1, 1, &version, err);

    if (r < 0 || (r = get_text(root, "pool", s->pool, sizeof(s->pool), err)) < 0 ||
        (r = get_text(root, "bootId", s->boot.text, sizeof(s->boot.text), err)) < 0 ||
        (r = json_int(root, "poolNotBefore", 0, TIME_MAX, &s->pool_not_before_ms, err)) < 0 ||
        (r = json_array(root, "instances", &list, err)) < 0) {
        return r;
    }
    cJSON_ArrayForEach(item, list)
    {
        if ((r = get_instance(item, s, err)) < 0) {
            return err_wrap(err, "instances");
        }
    }
    if ((r = json_array(root, "freed", &list, err)) < 0) {
        return r;
    }
    cJSON_ArrayForEach(item, list)
    {
        if ((r = get_freed(item, s, err)) < 0) {
            return err_wrap(err, "freed");
        }
    }
    r = json_object(root, "programs", &programs, err);
    for (size_t p = 0; r == 0 && p < LOCAL_PROGRAMS; p++) {
        r = get_program(programs, local_program_names[p], &s->programs[p], err);
    }
    return r;
}

int local_state_parse(const char *text, size_t len, struct local_state *ret, struct err *err)
{
    AUTO(json) cJSON *root = NULL;
    int r = json_parse(text, len, &root, err);

    if (r < 0) {
        return r;
    }
    struct local_state *s = xcalloc(1, sizeof(*s));
    r = get_all(root, s, err);
    if (r == 0) {
        *ret = *s;
    }
    free(s);
    return r;
}

/* --- files --- */

int file_read(const char *path, size_t max, char **ret, size_t *ret_len, struct err *err)
{
    struct stat st;
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe */
    if (fd < 0 || fstat(fd, &st) < 0) {
        return err_set(err, -errno, "open '%s'", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_text(err, -EINVAL, "'%s' is not a file", path);
    }
    AUTO(str) char *text = xmalloc(max + 2);
    size_t len = 0;
    for (ssize_t n = 1; n != 0 && len <= max;) {
        n = read(fd, text + len, max + 1 - len);
        if (n < 0 && errno != EINTR) {
            return err_set(err, -errno, "read '%s'", path);
        }
        len += n > 0 ? (size_t)n : 0;
    }
    if (len > max) {
        return err_text(err, -EMSGSIZE, "'%s' is over %zu bytes", path, max);
    }
    text[len] = '\0';
    *ret = MOVE(text);
    *ret_len = len;
    return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* The name itself is on disk only after its folder is. */
static int sync_folder(const char *path)
{
    AUTO(str) char *copy = xstrdup(path);
    AUTO(fd) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

static char *staged(const char *path)
{
    return xasprintf("%s.new", path);
}

void file_unstage(const char *path)
{
    AUTO(str) char *temporary = staged(path);

    unlink(temporary);
}

int file_stage(const char *path, const char *text, unsigned mode, struct err *err)
{
    AUTO(str) char *temporary = staged(path);
    AUTO(fd) int fd = -1;
    int r;

    unlink(temporary); /* of a predecessor that died; O_EXCL so that it is ours */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return err_set(err, -errno, "create '%s'", temporary);
    }
    r = fchmod(fd, mode) == 0 ? write_all(fd, text, strlen(text)) : -errno;
    if (r == 0 && fsync(fd) != 0) {
        r = -errno;
    }
    if (r < 0) {
        unlink(temporary);
        return err_set(err, r, "write '%s'", path);
    }
    return 0;
}

int file_commit(const char *path, struct err *err)
{
    AUTO(str) char *temporary = staged(path);
    int r = rename(temporary, path) == 0 ? sync_folder(path) : -errno;

    if (r < 0) {
        unlink(temporary);
        return err_set(err, r, "write '%s'", path);
    }
    return 0;
}

int file_replace(const char *path, const char *text, unsigned mode, struct err *err)
{
    int r = file_stage(path, text, mode, err);

    return r < 0 ? r : file_commit(path, err);
}

bool file_holds(const char *path, const char *text)
{
    AUTO(str) char *held = NULL;
    size_t wanted = strlen(text), len = 0;
    bool same = file_read(path, wanted, &held, &len, NULL) == 0 && len == wanted &&
                memcmp(held, text, len) == 0;

    if (held != NULL) {
        secret_wipe(held, len);
    }
    return same;
}

void file_set_aside(const char *path)
{
    AUTO(str) char *bad = xasprintf("%s.bad", path);

    if (rename(path, bad) != 0) {
        unlink(path);
    }
}

int local_state_load(const char *path, struct local_state *ret, struct err *err)
{
    AUTO(str) char *text = NULL;
    size_t len = 0;
    int r = file_read(path, STATE_FILE_MAX, &text, &len, err);

    if (r < 0) {
        return r;
    }
    return local_state_parse(text, len, ret, err) < 0 ? err_wrap(err, "'%s'", path) : 0;
}

int local_state_save(const char *path, const struct local_state *s, struct err *err)
{
    AUTO(str) char *text = local_state_format(s);

    return file_replace(path, text, 0600, err);
}
