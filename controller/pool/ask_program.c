#include "controller/pool/ask_program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASK_MS 5000

static int make_file(const char *text)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd >= 0 && (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Between fork and exec. */
static void become(const char *program, char *const *argv, char *const *envp, int in, int out)
{
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
        dup2(out, STDERR_FILENO) >= 0) {
        execve(program, argv, envp);
    }
    _exit(0);
}

static int wait_for(pid_t pid)
{
    AUTO(fd) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    int status = 0;

    if (fd < 0 || poll(&ended, 1, ASK_MS) != 1) {
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

int ask_program(const char *program, char *const *argv, char *const *envp, const char *input,
                char *words, size_t size)
{
    AUTO(fd) int in = make_file(input);
    AUTO(fd) int out = memfd_create("words", MFD_CLOEXEC);
    int status = 0;

    words[0] = '\0';
    if (in < 0 || out < 0) {
        return 0;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(program, argv, envp, in, out);
    } else if (pid > 0) {
        status = wait_for(pid);
    }
    ssize_t len = pread(out, words, size - 1, 0);
    words[len > 0 ? len : 0] = '\0';
    return status;
}
