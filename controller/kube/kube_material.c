#include "controller/kube/kube_material.h"

#include "common/buf.h"
#include "common/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void kube_secret_free(char *text)
{
    if (text != NULL) {
        secret_wipe(text, strlen(text));
        free(text);
    }
}

static int read_all(int fd, struct buf *text)
{
    ssize_t n = 1;

    while (n != 0) {
        int r = buf_reserve(text, 4096);
        if (r < 0) {
            return r;
        }
        n = read(fd, buf_end(text), 4096);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        buf_grew(text, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

static int check_text(const struct buf *text, size_t max, const char *path, struct err *err)
{
    if (text->len > max) {
        return err_text(err, -EMSGSIZE, "'%s' is over %zu bytes", path, max);
    }
    if (memchr(buf_str(text), '\0', text->len) != NULL) {
        return err_text(err, -EINVAL, "'%s' is no text", path);
    }
    return 0;
}

int kube_file_read(const char *path, size_t max, char **ret, struct err *err)
{
    struct stat st;
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe */
    if (fd < 0 || fstat(fd, &st) < 0) {
        return err_set(err, -errno, "open '%s'", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_text(err, -EINVAL, "'%s' is not a file", path);
    }
    struct buf text;
    buf_init(&text, max + 8192);
    int r = read_all(fd, &text);
    r = r == -EMSGSIZE || r == 0 ? check_text(&text, max, path, err)
                                 : err_set(err, r, "read '%s'", path);
    if (r == 0) {
        *ret = xstrdup(buf_str(&text));
    }
    buf_wipe(&text);
    return r;
}

int kube_word_read(const char *path, char **ret, struct err *err)
{
    char *text = NULL;
    int r = kube_file_read(path, KUBE_CREDENTIAL_MAX, &text, err);

    if (r < 0) {
        return r;
    }
    size_t start = strspn(text, " \t\r\n");
    size_t len = strlen(text + start);
    while (len > 0 && isspace((unsigned char)text[start + len - 1])) {
        len--;
    }
    memmove(text, text + start, len);
    text[len] = '\0';
    *ret = text;
    return 0;
}

int kube_material_read(const struct kube_material *m, const char *what, char **ret, struct err *err)
{
    if (m->file != NULL) {
        int r = kube_file_read(m->file, KUBE_CREDENTIAL_MAX, ret, err);
        return r < 0 ? err_wrap(err, "%s", what) : 0;
    }
    *ret = m->data != NULL ? xstrdup(m->data) : NULL;
    return 0;
}
