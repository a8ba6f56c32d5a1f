#include "nss/status_file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_FILE_MAX (16 << 20) /* 65,536 clients take 8 MB */
#define STATUS_COLUMNS_MAX 24

/* Cuts a line at its commas; how many fields there are. */
static size_t split(char *line, char **fields)
{
    size_t count = 0;

    for (char *at = line; at != NULL && count < STATUS_COLUMNS_MAX;) {
        fields[count++] = strsep(&at, ",");
    }
    return count;
}

/* Index of a data row's column by its title in the HEADER row, 0: none. */
static size_t column(char **header, size_t count, const char *title)
{
    for (size_t i = 2; i < count; i++) {
        if (strcmp(header[i], title) == 0) {
            return i - 1;
        }
    }
    return 0;
}

struct columns {
    size_t name, address, since;
};

static bool read_row(char **fields, size_t count, const struct columns *at, const char *uuid,
                     uint32_t *address, int64_t *since)
{
    struct in_addr in;

    if (at->name == 0 || at->address == 0 || at->since == 0 || at->name >= count ||
        at->address >= count || at->since >= count || strcmp(fields[at->name], uuid) != 0 ||
        inet_pton(AF_INET, fields[at->address], &in) != 1) {
        return false;
    }
    *address = in.s_addr;
    *since = strtoll(fields[at->since], NULL, 10);
    return true;
}

bool status_text_find(char *text, const char *uuid, uint32_t *address, int64_t *since)
{
    struct columns at = {0, 0, 0};
    char *fields[STATUS_COLUMNS_MAX];
    bool found = false, ended = false;
    uint32_t row_address = 0;
    int64_t row_since = 0;

    for (char *rest = text, *line; !ended && (line = strsep(&rest, "\n")) != NULL;) {
        size_t count = split(line, fields);
        ended = strcmp(fields[0], "END") == 0 || strcmp(fields[0], "END\r") == 0;
        if (strcmp(fields[0], "HEADER") == 0 && count > 1 &&
            strcmp(fields[1], "CLIENT_LIST") == 0) {
            at = (struct columns){column(fields, count, "Common Name"),
                                  column(fields, count, "Virtual Address"),
                                  column(fields, count, "Connected Since (time_t)")};
        } else if (strcmp(fields[0], "CLIENT_LIST") == 0 &&
                   read_row(fields, count, &at, uuid, &row_address, &row_since) &&
                   (!found || row_since > *since)) {
            found = true;
            *address = row_address;
            *since = row_since;
        }
    }
    return found && ended;
}

/* NULL: not readable, too long, or no memory. Caller frees. */
static char *read_file(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    char *text = NULL;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        st.st_size < STATUS_FILE_MAX) {
        text = malloc((size_t)st.st_size + 1);
    }
    ssize_t len = text != NULL ? read(fd, text, (size_t)st.st_size) : -1;
    close(fd);
    if (len < 0) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

static bool is_status_name(const char *name)
{
    size_t len = strlen(name);

    return len > 14 && strncmp(name, "server-", 7) == 0 && strcmp(name + len - 7, ".status") == 0;
}

bool status_files_find(const char *dir, const char *uuid, uint32_t *address)
{
    DIR *folder = opendir(dir);
    bool found = false;
    int64_t newest = 0;

    if (folder == NULL) {
        return false;
    }
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        uint32_t here = 0;
        int64_t since = 0;
        char *text = is_status_name(e->d_name) ? read_file(dirfd(folder), e->d_name) : NULL;
        if (text != NULL && status_text_find(text, uuid, &here, &since) &&
            (!found || since > newest)) {
            found = true;
            newest = since;
            *address = here;
        }
        free(text);
    }
    closedir(folder);
    return found;
}
