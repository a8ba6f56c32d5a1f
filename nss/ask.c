#include "nss/ask.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ASK_AT_ONCE 32
#define ASK_REPLY_MAX 1024

struct question { /* one sidecar being asked */
    int fd;
    size_t len;
    char reply[ASK_REPLY_MAX + 1];
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_socket_name(const char *name)
{
    size_t len = strlen(name);

    return len > 9 && strncmp(name, "nss-", 4) == 0 && strcmp(name + len - 5, ".sock") == 0;
}

/* A unix socket takes the whole request at once or is no use within our time. */
static bool question_send(struct question *q, const char *dir, const char *name, const char *uuid)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char request[192];

    int path = snprintf(to.sun_path, sizeof(to.sun_path), "%s/%s", dir, name);
    if (path < 0 || (size_t)path >= sizeof(to.sun_path)) {
        return false;
    }
    q->len = 0;
    q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->fd < 0) {
        return false;
    }
    int len = snprintf(
        request, sizeof(request),
        "GET /v1/address/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", uuid);
    if (connect(q->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        send(q->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        close(q->fd);
        q->fd = -1;
        return false;
    }
    return true;
}

/* "HTTP/1.1 200 OK ... \r\n\r\n100.64.0.3\n": the address; or what a 404 says. */
static enum ask_answer parse_reply(const char *reply, uint32_t *address)
{
    const char *body = strstr(reply, "\r\n\r\n");
    struct in_addr in;
    char text[16];

    if (strncmp(reply, "HTTP/1.", 7) != 0 || body == NULL) {
        return ASK_UNSURE;
    }
    if (strncmp(reply + 8, " 404", 4) == 0) {
        return ASK_NOWHERE;
    }
    size_t len = strcspn(body + 4, "\r\n");
    if (strncmp(reply + 8, " 200", 4) != 0 || body[4 + len] != '\n' || len >= sizeof(text)) {
        return ASK_UNSURE;
    }
    memcpy(text, body + 4, len);
    text[len] = '\0';
    if (inet_pton(AF_INET, text, &in) != 1) {
        return ASK_UNSURE;
    }
    *address = in.s_addr;
    return ASK_FOUND;
}

/* True when the question is over: *answer says how. */
static bool question_read(struct question *q, enum ask_answer *answer, uint32_t *address)
{
    ssize_t n = recv(q->fd, q->reply + q->len, ASK_REPLY_MAX - q->len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n > 0) {
        q->len += (size_t)n;
    }
    q->reply[q->len] = '\0';
    *answer = parse_reply(q->reply, address);
    return n <= 0 || *answer != ASK_UNSURE || q->len == ASK_REPLY_MAX;
}

/* Reads from those that are ready; *open counts what is still unanswered. */
static enum ask_answer read_ready(struct question *questions, struct pollfd *fds, size_t count,
                                  size_t *open, bool *unsure, uint32_t *address)
{
    for (size_t i = 0; i < count; i++) {
        enum ask_answer answer = ASK_UNSURE;
        if (questions[i].fd < 0 || fds[i].revents == 0 ||
            !question_read(&questions[i], &answer, address)) {
            continue;
        }
        close(questions[i].fd);
        questions[i].fd = -1;
        (*open)--;
        if (answer == ASK_FOUND) {
            return ASK_FOUND;
        }
        *unsure = *unsure || answer == ASK_UNSURE;
    }
    return ASK_NOWHERE;
}

static enum ask_answer wait_for(struct question *questions, size_t count, int64_t deadline_ms,
                                uint32_t *address)
{
    struct pollfd fds[ASK_AT_ONCE];
    size_t open = count;
    bool unsure = false;

    while (open > 0) {
        for (size_t i = 0; i < count; i++) {
            fds[i] = (struct pollfd){.fd = questions[i].fd, .events = POLLIN};
        }
        int64_t left = deadline_ms - now_ms();
        if (left <= 0) {
            return ASK_UNSURE;
        }
        int n = poll(fds, (nfds_t)count, (int)left);
        if (n < 0 && errno != EINTR) {
            return ASK_UNSURE;
        }
        if (n > 0 && read_ready(questions, fds, count, &open, &unsure, address) == ASK_FOUND) {
            return ASK_FOUND;
        }
    }
    return unsure ? ASK_UNSURE : ASK_NOWHERE;
}

/* Asks up to ASK_AT_ONCE more sidecars of the folder. *more: the folder may hold others. */
static enum ask_answer ask_some(DIR *folder, const char *dir, const char *uuid, int64_t deadline_ms,
                                uint32_t *address, bool *more, bool *any)
{
    struct question questions[ASK_AT_ONCE];
    size_t count = 0;
    bool unsure = false;
    struct dirent *entry = NULL;

    while (count < ASK_AT_ONCE && (entry = readdir(folder)) != NULL) {
        if (!is_socket_name(entry->d_name)) {
            continue;
        }
        *any = true;
        if (question_send(&questions[count], dir, entry->d_name, uuid)) {
            count++;
        } else {
            unsure = true;
        }
    }
    *more = entry != NULL;
    enum ask_answer answer = wait_for(questions, count, deadline_ms, address);
    for (size_t i = 0; i < count; i++) {
        if (questions[i].fd >= 0) {
            close(questions[i].fd);
        }
    }
    return answer == ASK_NOWHERE && unsure ? ASK_UNSURE : answer;
}

enum ask_answer ask_sidecars(const char *dir, const char *uuid, int timeout_ms, uint32_t *address)
{
    int64_t deadline_ms = now_ms() + timeout_ms;
    DIR *folder = opendir(dir);
    enum ask_answer answer = ASK_NOWHERE;
    bool any = false;

    if (folder == NULL) {
        return ASK_UNSURE;
    }
    for (bool more = true; more && answer != ASK_FOUND;) {
        enum ask_answer some = ask_some(folder, dir, uuid, deadline_ms, address, &more, &any);
        answer = some != ASK_NOWHERE ? some : answer;
    }
    closedir(folder);
    return any ? answer : ASK_UNSURE;
}
