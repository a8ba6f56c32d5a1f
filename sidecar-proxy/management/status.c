#include "sidecar-proxy/management/status.h"

#include "sidecar-proxy/management/fields.h"

#include <errno.h>
#include <string.h>

enum column { COMMON_NAME, REMOTE, ADDRESS, BYTES_IN, BYTES_OUT, SINCE, CID };

static const char *const column_names[] = {
    [COMMON_NAME] = "Common Name", [REMOTE] = "Real Address",  [ADDRESS] = "Virtual Address",
    [BYTES_IN] = "Bytes Received", [BYTES_OUT] = "Bytes Sent", [SINCE] = "Connected Since (time_t)",
    [CID] = "Client ID",
};
_Static_assert(ARRAY_LEN(column_names) == ARRAY_LEN(((struct status_reader *)0)->columns),
               "a place for each column");

void status_reader_init(struct status_reader *s)
{
    *s = (struct status_reader){.has_header = false};
}

/* "HEADER", "CLIENT_LIST", names...: the first name is column 1 of a row. */
static void read_header(struct status_reader *s, char **fields, size_t count)
{
    for (size_t i = 0; i < ARRAY_LEN(column_names); i++) {
        s->columns[i] = -1;
        for (size_t j = 2; j < count; j++) {
            if (strcmp(fields[j], column_names[i]) == 0) {
                s->columns[i] = (int)j - 1;
            }
        }
    }
    s->has_header =
        s->columns[CID] >= 0 && s->columns[ADDRESS] >= 0 && s->columns[COMMON_NAME] >= 0;
}

static const char *field(const struct status_reader *s, char **fields, size_t count, enum column c)
{
    int at = s->columns[c];

    return at >= 0 && (size_t)at < count ? fields[at] : "";
}

static uint64_t number(const struct status_reader *s, char **fields, size_t count, enum column c)
{
    uint64_t n = 0;

    field_u64(field(s, fields, count, c), &n);
    return n;
}

/* OpenVPN 2.7 puts "tcp4-server:" before the address; no address begins like that. */
static const char *without_protocol(const char *remote)
{
    const char *colon = strchr(remote, ':');
    bool named = strncmp(remote, "tcp", 3) == 0 || strncmp(remote, "udp", 3) == 0;

    return named && colon != NULL ? colon + 1 : remote;
}

/* A client without an address is killed, so "without" has to be certain: the column is there, and
 * empty. */
static bool read_address(const char *text, uint32_t *ret)
{
    *ret = 0;
    return *text == '\0' || field_ipv4(text, ret);
}

static int read_row(const struct status_reader *s, char **fields, size_t count,
                    struct link_client *ret)
{
    struct link_client c = {.password = "", .version = ""};
    uint64_t since_s = number(s, fields, count, SINCE);

    if (!s->has_header || count <= (size_t)s->columns[ADDRESS] ||
        !field_u64(field(s, fields, count, CID), &c.cid) ||
        !read_address(fields[s->columns[ADDRESS]], &c.address)) {
        return -EPROTO;
    }
    c.username = field(s, fields, count, COMMON_NAME);
    c.remote = without_protocol(field(s, fields, count, REMOTE));
    c.since_ms = since_s < INT64_MAX / 1000 ? (int64_t)since_s * 1000 : 0;
    c.bytes_in = number(s, fields, count, BYTES_IN);
    c.bytes_out = number(s, fields, count, BYTES_OUT);
    *ret = c;
    return STATUS_CLIENT;
}

int status_parse(struct status_reader *s, char *line, struct link_client *ret)
{
    char *fields[STATUS_COLUMNS_MAX];
    size_t count = fields_split(line, '\t', fields, ARRAY_LEN(fields));

    if (strcmp(fields[0], "CLIENT_LIST") == 0) {
        return read_row(s, fields, count, ret);
    }
    if (count > 2 && strcmp(fields[0], "HEADER") == 0 && strcmp(fields[1], "CLIENT_LIST") == 0) {
        read_header(s, fields, count);
    }
    return STATUS_OTHER;
}
