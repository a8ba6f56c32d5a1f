#include "controller/pool/port_use.h"

#include "controller/pool/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TCP_LISTEN_STATE 0x0a
#define SOCKETS_MAX 16 /* of one port: an address and a worker each */

/* --- is it taken? --- */

static socklen_t make_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;

    *ret = (struct sockaddr_storage){0};
    if (text != NULL && inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    if (text != NULL && inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) {
        return 0;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof(*v6);
}

/* SO_REUSEADDR, so that connections that have just ended do not count. */
static bool is_taken_at(bool udp, const char *address, uint16_t port)
{
    struct sockaddr_storage at;
    socklen_t len = make_address(address, port, &at);
    int yes = 1, no = 0;
    AUTO(fd) int fd = socket(at.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

    if (fd < 0 || len == 0) {
        return false;
    }
    if (!udp) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    }
    if (at.ss_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    }
    return bind(fd, (struct sockaddr *)&at, len) != 0 && errno == EADDRINUSE;
}

/* Without IPv6 here, "::" tells nothing about 0.0.0.0. */
static bool is_taken(bool udp, const char *address, uint16_t port)
{
    return is_taken_at(udp, address, port) ||
           (address == NULL && is_taken_at(udp, "0.0.0.0", port));
}

/* --- by whom? --- */

struct sockets {
    uint64_t inodes[SOCKETS_MAX];
    size_t count;
};

/* "  0: 0100007F:1F9A 00000000:0000 0A ... uid timeout inode": the 2nd, 4th and 10th column. */
static void add_line(struct sockets *s, const char *line, bool udp, uint16_t port)
{
    unsigned local_port, state;
    uint64_t inode;

    if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
               &local_port, &state, &inode) == 3 &&
        local_port == port && (udp || state == TCP_LISTEN_STATE) && s->count < SOCKETS_MAX) {
        s->inodes[s->count++] = inode;
    }
}

static void find_sockets(bool udp, uint16_t port, struct sockets *ret)
{
    static const char *const files[2][2] = {{"/proc/self/net/tcp", "/proc/self/net/tcp6"},
                                            {"/proc/self/net/udp", "/proc/self/net/udp6"}};

    *ret = (struct sockets){0};
    for (size_t i = 0; i < 2; i++) {
        FILE *f = fopen(files[udp][i], "re");
        char line[512];
        while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
            add_line(ret, line, udp, port);
        }
        if (f != NULL) {
            fclose(f);
        }
    }
}

static bool is_one_of(const struct sockets *s, const char *target)
{
    uint64_t inode;

    if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1) {
        return false;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->inodes[i] == inode) {
            return true;
        }
    }
    return false;
}

static bool has_one(pid_t pid, const struct sockets *s)
{
    char path[64], target[64];
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
        ssize_t len = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        found = is_one_of(s, target);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

/* 0: not to be seen, as in another container that shares our network. */
static pid_t find_owner(bool udp, uint16_t port)
{
    struct sockets sockets;
    pid_t owner = 0;

    find_sockets(udp, port, &sockets);
    DIR *dir = sockets.count > 0 ? opendir("/proc") : NULL;
    for (struct dirent *e; dir != NULL && owner == 0 && (e = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        owner = pid > 0 && has_one(pid, &sockets) ? pid : 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return owner;
}

int port_check(bool udp, const char *address, uint16_t port, struct err *err)
{
    struct process_id id;
    char name[16];

    if (port == 0 || !is_taken(udp, address, port)) {
        return 0;
    }
    pid_t owner = find_owner(udp, port);
    const char *kind = udp ? "UDP port" : "port";
    if (owner == 0 || process_look(owner, &id, name) < 0) {
        return err_text(err, -EADDRINUSE, "%s %u is taken by another program", kind, port);
    }
    return err_text(err, -EADDRINUSE, "%s %u is taken by %s (process %d)", kind, port, name,
                    (int)owner);
}
