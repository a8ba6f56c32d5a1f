#include "controller/pool/local_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

static bool has_net_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_NET_ADMIN / 32].effective & (1U << (CAP_NET_ADMIN % 32))) != 0;
}

int local_check_rights(struct err *err)
{
    if (!has_net_admin()) {
        return err_text(err, -EPERM,
                        "the right to manage networks is missing (CAP_NET_ADMIN): run as root, or "
                        "give it to the container (cap_add: [NET_ADMIN])");
    }
    AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return err_set(err, -errno,
                       "/dev/net/tun is needed (modprobe tun; in a container: devices: "
                       "[/dev/net/tun])");
    }
    return 0;
}

void local_raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int local_make_folder(const char *path, mode_t mode, struct err *err)
{
    AUTO(str) char *copy = xstrdup(path);

    for (char *p = copy + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(copy, 0755) != 0 && errno != EEXIST) {
                return err_set(err, -errno, "make folder '%s'", copy);
            }
            *p = '/';
        }
    }
    if (mkdir(copy, mode) != 0 && errno != EEXIST) {
        return err_set(err, -errno, "make folder '%s'", copy);
    }
    return 0;
}

/* An abstract socket: the kernel lets go of it with its holder. */
int local_lock_namespace(int *ret, struct err *err)
{
    static const char name[] = "\0openbalena-vpn-controller";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, name, sizeof(name) - 1);
    if (fd < 0) {
        return err_set(err, -errno, "socket");
    }
    if (bind(fd, (struct sockaddr *)&address, len) < 0) {
        return errno == EADDRINUSE
                   ? err_text(err, -EBUSY, "another vpn-controller runs in this network namespace")
                   : err_set(err, -errno, "take the network namespace's lock");
    }
    *ret = fd;
    fd = -1;
    return 0;
}

/* Whoever had the file before may have removed it while we waited: then it is not the lock. */
static bool is_still_there(int fd, const char *path)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

int local_lock_folder(const char *lock_file, int *ret, struct err *err)
{
    for (;;) {
        AUTO(fd) int fd = open(lock_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            return err_set(err, -errno, "open '%s'", lock_file);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            return err_text(err, -EBUSY, "another vpn-controller has '%s'", lock_file);
        }
        if (is_still_there(fd, lock_file)) {
            *ret = fd;
            fd = -1;
            return 0;
        }
    }
}
