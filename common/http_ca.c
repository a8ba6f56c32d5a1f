#include "common/http_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/mman.h>

int http_ca_check(const char *pem, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool ok = cert != NULL;

    X509_free(cert);
    BIO_free(bio);
    return ok ? 0 : err_text(err, -EINVAL, "CA is not a PEM certificate");
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0) {
            return -errno;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int copy_file(int to, const char *path)
{
    AUTO(fd) int from = open(path, O_RDONLY | O_CLOEXEC);
    char block[16384];
    ssize_t n;

    if (from < 0) {
        return errno == ENOENT ? 0 : -errno; /* no system store: only the extra ones are trusted */
    }
    while ((n = read(from, block, sizeof(block))) > 0) {
        int r = write_all(to, block, (size_t)n);
        if (r < 0) {
            return r;
        }
    }
    return n < 0 ? -errno : 0;
}

int http_ca_bundle(const char *system_path, const char *pem, int *ret, struct err *err)
{
    int r = http_ca_check(pem, err);

    if (r < 0) {
        return r;
    }
    AUTO(fd) int fd = memfd_create("ca-bundle", MFD_CLOEXEC);
    if (fd < 0) {
        return err_set(err, -errno, "make CA bundle");
    }
    r = copy_file(fd, system_path);
    if (r == 0) {
        r = write_all(fd, "\n", 1);
    }
    if (r == 0) {
        r = write_all(fd, pem, strlen(pem));
    }
    if (r < 0) {
        return err_set(err, r, "write CA bundle");
    }
    *ret = fd;
    fd = -1;
    return 0;
}
