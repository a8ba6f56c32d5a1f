#include "sidecar-proxy/session/record.h"

#include "common/buf.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define RECORD_FILE_MAX 4096

static int read_text(const char *path, struct buf *out, struct err *err)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    if (fd < 0) {
        return err_set(err, -errno, "open record '%s'", path);
    }
    do {
        if (buf_reserve(out, 1024) < 0) {
            return err_text(err, -EPROTO, "record '%s' is over %d bytes", path, RECORD_FILE_MAX);
        }
        got = read(fd, buf_end(out), 1024);
        if (got < 0) {
            return err_set(err, -errno, "read record '%s'", path);
        }
        buf_grew(out, (size_t)got);
    } while (got > 0);
    return 0;
}

/* A member that may be absent: then the target stays as it is. */
static int optional_int(const cJSON *object, const char *key, int64_t max, int64_t *ret,
                        struct err *err)
{
    int r = json_int(object, key, 0, max, ret, err);

    return r == -ENOENT ? 0 : r;
}

static int parse(const cJSON *tree, struct record *r, struct err *err)
{
    const cJSON *drain = NULL;
    int64_t generation = 0;
    int64_t pid = 0;

    if (optional_int(tree, "serviceId", INT64_C(1) << 53, &r->service_id, err) < 0 ||
        optional_int(tree, "generation", INT64_C(1) << 53, &generation, err) < 0 ||
        optional_int(tree, "openvpnPid", INT_MAX, &pid, err) < 0) {
        return err != NULL ? err->code : -EPROTO;
    }
    r->generation = (uint64_t)generation;
    r->openvpn_pid = (int)pid;
    if (json_object(tree, "drain", &drain, NULL) == 0 &&
        (optional_int(drain, "ratePerMinute", INT_MAX, &r->drain_rate, err) < 0 ||
         optional_int(drain, "timeoutSeconds", INT_MAX, &r->drain_timeout_s, err) < 0)) {
        return err != NULL ? err->code : -EPROTO;
    }
    return 0;
}

int record_load(const char *path, const char *epoch, struct record *ret, struct err *err)
{
    struct err local;
    AUTO(buf) struct buf text;
    AUTO(json) cJSON *tree = NULL;
    const char *of = NULL;

    err = err != NULL ? err : &local;
    *ret = (struct record){0};
    snprintf(ret->epoch, sizeof(ret->epoch), "%s", epoch);
    buf_init(&text, RECORD_FILE_MAX);
    int r = read_text(path, &text, err);
    if (r == -ENOENT) {
        return 0;
    }
    if (r == 0) {
        r = json_parse(buf_str(&text), text.len, &tree, err);
    }
    if (r == 0) {
        r = json_str(tree, "epoch", &of, err);
    }
    if (r < 0) {
        return err_wrap(err, "record '%s'", path);
    }
    if (strcmp(of, epoch) != 0) {
        return 0;
    }
    struct record found = *ret;
    r = parse(tree, &found, err);
    if (r < 0) {
        return err_wrap(err, "record '%s'", path);
    }
    *ret = found;
    return 0;
}

static char *format(const struct record *r)
{
    AUTO(str) char *epoch = json_quote(r->epoch);
    AUTO(str)
    char *service =
        r->service_id > 0 ? xasprintf("%lld", (long long)r->service_id) : xstrdup("null");
    AUTO(str)
    char *drain = r->drain_rate > 0
                      ? xasprintf(",\"drain\":{\"ratePerMinute\":%lld,\"timeoutSeconds\":%lld}",
                                  (long long)r->drain_rate, (long long)r->drain_timeout_s)
                      : xstrdup("");

    return xasprintf("{\"epoch\":%s,\"serviceId\":%s,\"generation\":%llu,\"openvpnPid\":%d%s}\n",
                     epoch, service, (unsigned long long)r->generation, r->openvpn_pid, drain);
}

static int write_text(const char *path, const char *text, struct err *err)
{
    size_t len = strlen(text);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        return err_set(err, -errno, "create '%s'", path);
    }
    ssize_t wrote = write(fd, text, len);
    if (wrote < 0 || fsync(fd) < 0) {
        return err_set(err, -errno, "write '%s'", path);
    }
    return (size_t)wrote == len ? 0 : err_set(err, -EIO, "write '%s'", path);
}

int record_save(const char *path, const struct record *r, struct err *err)
{
    AUTO(str) char *text = format(r);
    AUTO(str) char *fresh = xasprintf("%s.new", path);
    int code = write_text(fresh, text, err);

    if (code == 0 && rename(fresh, path) < 0) {
        code = err_set(err, -errno, "rename '%s' to '%s'", fresh, path);
    }
    if (code < 0) {
        unlink(fresh);
    }
    return code;
}
