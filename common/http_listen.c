#include "common/http_listen.h"

#include "common/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024
#define UNIX_PREFIX "unix:"

static int stream_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

/* --- unix sockets --- */

/* Removes what a process that is gone left behind. */
static int remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;

    if (lstat(sa->sun_path, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    AUTO(fd) int fd = stream_socket(AF_UNIX);
    if (fd < 0) {
        return fd;
    }
    if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED) {
        return -EADDRINUSE;
    }
    return unlink(sa->sun_path) < 0 ? -errno : 0;
}

/* The mode is right from the start: bind() makes the file with the socket's own, less the umask. */
static int bind_unix(int fd, const struct sockaddr_un *sa, unsigned mode)
{
    if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0) {
        return -errno;
    }
    if (chmod(sa->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0) {
        int r = -errno;
        unlink(sa->sun_path);
        return r;
    }
    return 0;
}

static int open_unix(const char *path, unsigned mode, struct listen_socket *ret)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;

    if (path[0] == '\0' || strlen(path) >= sizeof(sa.sun_path)) {
        return -EINVAL;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int r = remove_stale(&sa);
    if (r < 0) {
        return r;
    }
    AUTO(fd) int fd = stream_socket(AF_UNIX);
    r = fd < 0 ? fd : bind_unix(fd, &sa, mode != 0 ? mode : 0600);
    if (r < 0) {
        return r;
    }
    if (lstat(path, &st) < 0) {
        return -errno;
    }
    *ret = (struct listen_socket){
        .fd = fd, .unix_path = xstrdup(path), .dev = st.st_dev, .ino = st.st_ino};
    fd = -1;
    return 0;
}

/* --- TCP --- */

static int listen_tcp(const struct addrinfo *ai, bool dual_stack)
{
    int one = 1;
    int zero = 0;
    AUTO(fd) int fd = stream_socket(ai->ai_family);

    if (fd < 0) {
        return fd;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (dual_stack) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        return -errno;
    }
    int listening = fd;
    fd = -1;
    return listening;
}

/* A negative errno, or a descriptor. */
static int listen_at(const char *host, const char *port, bool dual_stack)
{
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -EINVAL;
    }
    int fd = listen_tcp(found, dual_stack);
    freeaddrinfo(found);
    return fd;
}

static bool is_port(const char *s)
{
    size_t digits = strspn(s, "0123456789");

    return digits > 0 && digits < 6 && s[digits] == '\0' && atoi(s) <= 65535;
}

/* "[::1]" to "::1"; false if neither that nor something without colons. */
static bool strip_brackets(char *host)
{
    size_t len = strlen(host);

    if (host[0] != '[') {
        return strchr(host, ':') == NULL;
    }
    if (len < 3 || host[len - 1] != ']') {
        return false;
    }
    memmove(host, host + 1, len - 2);
    host[len - 2] = '\0';
    return true;
}

/* Writes a NUL behind the host in text. NULL: it is no host and port. */
static char *split(char *text)
{
    char *port = strrchr(text, ':');

    if (port == NULL || !is_port(port + 1)) {
        return NULL;
    }
    *port++ = '\0';
    return strip_brackets(text) ? port : NULL;
}

static bool is_numeric(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    bool yes = getaddrinfo(host, NULL, &hints, &found) == 0;

    if (yes) {
        freeaddrinfo(found);
    }
    return yes;
}

int http_listen_check(const char *address, struct err *err)
{
    size_t prefix = strlen(UNIX_PREFIX);

    if (strncmp(address, UNIX_PREFIX, prefix) == 0) {
        size_t len = strlen(address) - prefix;
        return len > 0 && len < sizeof(((struct sockaddr_un *)NULL)->sun_path)
                   ? 0
                   : err_text(err, -EINVAL, "'%.64s' is no path of a socket", address);
    }
    AUTO(str) char *host = xstrdup(address);
    if (split(host) == NULL || (host[0] != '\0' && !is_numeric(host))) {
        return err_text(err, -EINVAL,
                        "'%.64s' is not address:port, with a port of 0 to 65535 and a numeric "
                        "address or none",
                        address);
    }
    return 0;
}

static int open_tcp(const char *address, struct listen_socket *ret)
{
    AUTO(str) char *host = xstrdup(address);
    const char *port = split(host);
    int fd;

    if (port == NULL) {
        return -EINVAL;
    }
    if (host[0] == '\0') {
        fd = listen_at("::", port, true);
        if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) { /* a machine without IPv6 */
            fd = listen_at("0.0.0.0", port, false);
        }
    } else {
        fd = listen_at(host, port, false);
    }
    if (fd < 0) {
        return fd;
    }
    *ret = (struct listen_socket){.fd = fd};
    return 0;
}

int listen_socket_open(const char *address, unsigned unix_mode, struct listen_socket *ret,
                       struct err *err)
{
    size_t prefix = strlen(UNIX_PREFIX);
    int r;

    if (strncmp(address, UNIX_PREFIX, prefix) == 0) {
        r = open_unix(address + prefix, unix_mode, ret);
    } else {
        r = open_tcp(address, ret);
    }
    return r < 0 ? err_set(err, r, "listen on '%s'", address) : 0;
}

void listen_socket_close(struct listen_socket *s)
{
    struct stat st;

    close(s->fd);
    if (s->unix_path != NULL && lstat(s->unix_path, &st) == 0 && st.st_dev == s->dev &&
        st.st_ino == s->ino) {
        unlink(s->unix_path);
    }
    free(s->unix_path);
}
