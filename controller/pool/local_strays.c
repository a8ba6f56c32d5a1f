#include "controller/pool/local_strays.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What follows option; NULL: it is not there. */
static const char *value_of(char *const *words, const char *option)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], option) == 0) {
            return words[i + 1];
        }
    }
    return NULL;
}

/* The path of its controller's that this tool was started with; NULL: it was not by one of ours. */
static const char *mark_of(enum local_tool tool, char *const *words)
{
    static const char *const options[LOCAL_TOOLS] = {
        [TOOL_OPENVPN] = "--management",  [TOOL_HAPROXY] = "-f",
        [TOOL_SIDECAR] = "--management",  [TOOL_STATE] = "--owner",
        [TOOL_CONNECT_PROXY] = "--owner",
    };
    const char *mark = options[tool] != NULL ? value_of(words, options[tool]) : NULL;

    return mark != NULL && mark[0] == '/' ? mark : NULL;
}

static const char *file_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

static bool is_management(const char *path, uint32_t *index)
{
    enum instance_path what;

    return local_instance_path_parse(file_name(path), &what, index) && what == PATH_MANAGEMENT;
}

/* Does path have the name that this tool's file has in every runtime directory? */
static bool is_named_as_ours(const struct local_paths *paths, enum local_tool tool,
                             const char *path)
{
    uint32_t index;

    switch (tool) {
    case TOOL_OPENVPN:
    case TOOL_SIDECAR:
        return is_management(path, &index);
    case TOOL_HAPROXY:
        return strcmp(file_name(path), file_name(paths->haproxy_config)) == 0;
    case TOOL_STATE:
    case TOOL_CONNECT_PROXY:
        return strcmp(file_name(path), file_name(paths->control_socket)) == 0;
    case TOOL_NFT:
    case LOCAL_TOOLS:
        break;
    }
    return false;
}

/* Caller frees. */
static char *folder_of(const char *path)
{
    size_t len = (size_t)(file_name(path) - path);

    return xstrndup(path, len > 1 ? len - 1 : len);
}

static bool is_in(const char *path, const char *folder)
{
    AUTO(str) char *theirs = folder_of(path);
    struct stat a, b;

    return stat(theirs, &a) == 0 && stat(folder, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool local_strays_is_ours(const struct local_paths *paths, enum local_tool tool, char *const *words)
{
    const char *mark = mark_of(tool, words);

    return mark != NULL && is_named_as_ours(paths, tool, mark) && is_in(mark, paths->runtime_dir);
}

struct search {
    const struct local_paths *paths;
    enum local_tool tool;
    char *folder; /* of the first that is another's; owned */
};

static bool is_ours(void *arg, char *const *words)
{
    const struct search *s = arg;

    return local_strays_is_ours(s->paths, s->tool, words);
}

size_t local_strays_find(const struct local_paths *paths, enum local_tool tool,
                         struct process_id **ret)
{
    struct search s = {.paths = paths, .tool = tool};

    return process_scan(local_tool_names[tool], is_ours, &s, ret);
}

/* --- those of others --- */

/* OpenVPN is not ours alone: it is an instance if its tun has the index of its socket. */
static bool is_instance(char *const *words, const char *management)
{
    const char *dev = value_of(words, "--dev");
    uint32_t index;
    char tun[16];

    if (dev == NULL || !is_management(management, &index)) {
        return false;
    }
    snprintf(tun, sizeof(tun), "tun%u", index);
    return strcmp(dev, tun) == 0;
}

static bool is_anothers(void *arg, char *const *words)
{
    struct search *s = arg;
    const char *mark = mark_of(s->tool, words);

    if (mark == NULL || !is_named_as_ours(s->paths, s->tool, mark) ||
        is_in(mark, s->paths->runtime_dir) ||
        (s->tool == TOOL_OPENVPN && !is_instance(words, mark))) {
        return false;
    }
    if (s->folder == NULL) {
        s->folder = folder_of(mark);
    }
    return true;
}

int local_strays_check_alone(const struct local_paths *paths, struct err *err)
{
    /* haproxy is everybody's, and /etc/haproxy/haproxy.cfg is no runtime directory. */
    static const enum local_tool telling[] = {TOOL_OPENVPN, TOOL_SIDECAR, TOOL_STATE,
                                              TOOL_CONNECT_PROXY};

    for (size_t i = 0; i < ARRAY_LEN(telling); i++) {
        struct search s = {.paths = paths, .tool = telling[i]};
        struct process_id *found;
        size_t count = process_scan(local_tool_names[s.tool], is_anothers, &s, &found);
        AUTO(str) char *folder = s.folder;
        pid_t pid = count > 0 ? found[0].pid : 0;
        free(found);
        if (count > 0) {
            return err_text(
                err, -EBUSY,
                "another pool's %s (process %d) runs in this network namespace, without "
                "its controller: start that with --runtime-dir %s, or end it all",
                local_tool_names[s.tool], (int)pid, folder);
        }
    }
    return 0;
}
