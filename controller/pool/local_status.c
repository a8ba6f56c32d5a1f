#include "controller/pool/local_status.h"

#include "common/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 9
#define CELL_MAX 40

static const char *const headings[COLUMNS] = {
    "INDEX", "SUBNET", "PORT", "PHASE", "SESSIONS", "PID", "UPTIME", "RESTARTS", "SERVICE-ID"};

struct row {
    char cells[COLUMNS][CELL_MAX];
};

struct uptime_text uptime_text(int64_t started_at_ms, int64_t now_ms)
{
    struct uptime_text t;
    long long s = (now_ms - started_at_ms) / 1000;

    if (started_at_ms <= 0 || s < 0) {
        snprintf(t.text, sizeof(t.text), "-");
    } else if (s < 60) {
        snprintf(t.text, sizeof(t.text), "%llds", s);
    } else if (s < 3600) {
        snprintf(t.text, sizeof(t.text), "%lldm%02llds", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(t.text, sizeof(t.text), "%lldh%02lldm", s / 3600, s / 60 % 60);
    } else {
        snprintf(t.text, sizeof(t.text), "%lldd%02lldh", s / 86400, s / 3600 % 24);
    }
    return t;
}

/* A number of the controller's own; "-" where it is absent or 0 and zero is not wanted. */
static void put_number(char *cell, const cJSON *o, const char *key, bool zero)
{
    int64_t value = 0;
    int r = json_int(o, key, 0, (int64_t)1 << 52, &value, NULL);

    if (r < 0 || (value == 0 && !zero)) {
        snprintf(cell, CELL_MAX, "-");
    } else {
        snprintf(cell, CELL_MAX, "%lld", (long long)value);
    }
}

static void put_text(char *cell, const cJSON *o, const char *key)
{
    const char *text = "-";

    (void)json_str(o, key, &text, NULL);
    snprintf(cell, CELL_MAX, "%s", text);
}

static int64_t number(const cJSON *o, const char *key)
{
    int64_t value = 0;

    (void)json_int(o, key, 0, (int64_t)1 << 52, &value, NULL);
    return value;
}

static bool is_true(const cJSON *o, const char *key)
{
    bool value = false;

    return json_bool(o, key, &value, NULL) == 0 && value;
}

static void read_row(const cJSON *o, int64_t now_ms, struct row *ret)
{
    put_number(ret->cells[0], o, "index", false);
    put_text(ret->cells[1], o, "subnet");
    put_number(ret->cells[2], o, "port", false);
    put_text(ret->cells[3], o, "phase");
    if (strcmp(ret->cells[3], "ready") == 0 && !is_true(o, "serving")) {
        snprintf(ret->cells[3], CELL_MAX, "not ready");
    }
    put_number(ret->cells[4], o, "sessions", true);
    put_number(ret->cells[5], o, "pid", false);
    snprintf(ret->cells[6], CELL_MAX, "%s", uptime_text(number(o, "startedAt"), now_ms).text);
    snprintf(ret->cells[7], CELL_MAX, "%lld/%lld", (long long)number(o, "restarts"),
             (long long)number(o, "sidecarRestarts"));
    put_number(ret->cells[8], o, "serviceId", false);
}

static void widen(size_t widths[COLUMNS], const char *cell, int column)
{
    size_t len = strlen(cell);

    widths[column] = len > widths[column] ? len : widths[column];
}

static void print_table(const struct row *rows, size_t count, struct buf *ret)
{
    size_t widths[COLUMNS] = {0};

    for (int c = 0; c < COLUMNS; c++) {
        widen(widths, headings[c], c);
        for (size_t i = 0; i < count; i++) {
            widen(widths, rows[i].cells[c], c);
        }
    }
    for (size_t line = 0; line <= count; line++) {
        for (int c = 0; c < COLUMNS; c++) {
            const char *cell = line == 0 ? headings[c] : rows[line - 1].cells[c];
            buf_printf(ret, "%-*s%s", c < COLUMNS - 1 ? (int)widths[c] : 0, cell,
                       c < COLUMNS - 1 ? "  " : "\n");
        }
    }
}

static void print_programs(const cJSON *list, int64_t now_ms, struct buf *ret)
{
    const cJSON *o;

    cJSON_ArrayForEach(o, list)
    {
        const char *name = "?", *state = "?", *how = "", *why = NULL;
        (void)json_str(o, "name", &name, NULL);
        (void)json_str(o, "state", &state, NULL);
        (void)json_str(o, "lastEnd", &how, NULL);
        buf_printf(ret, "%-18s %s", name, state);
        if (number(o, "pid") > 0) {
            buf_printf(ret, ", pid %lld, up %s", (long long)number(o, "pid"),
                       uptime_text(number(o, "startedAt"), now_ms).text);
        }
        if (json_str(o, "why", &why, NULL) == 0 && number(o, "pid") > 0) {
            buf_printf(ret, ", %s", why);
        } else if (why != NULL) {
            buf_printf(ret, ": %s", why);
        }
        if (number(o, "restarts") > 0) {
            buf_printf(ret, ", restarts %lld", (long long)number(o, "restarts"));
        }
        if (number(o, "restarts") > 0 && how[0] != '\0' && why == NULL) {
            buf_printf(ret, ", last end: %s", how);
        }
        if (number(o, "finishing") > 0) {
            buf_printf(ret, ", %lld before it still finishing", (long long)number(o, "finishing"));
        }
        buf_append_str(ret, "\n");
    }
}

static void print_reason(const cJSON *o, const char *what, const char *key, struct buf *ret)
{
    const char *why = NULL;

    if (json_str(o, key, &why, NULL) == 0 && why[0] != '\0') {
        buf_printf(ret, "%-18s %s\n", what, why);
    }
}

/* One line for each instance that something is wrong with. */
static void print_instance_reasons(const cJSON *instances, struct buf *ret)
{
    const cJSON *o;

    cJSON_ArrayForEach(o, instances)
    {
        char what[32];
        snprintf(what, sizeof(what), "instance %lld", (long long)number(o, "index"));
        print_reason(o, what, "why", ret);
    }
}

static void print_conditions(const cJSON *root, struct buf *ret)
{
    const char *why = NULL;
    bool told = json_str(root, "apiWhy", &why, NULL) == 0;

    buf_printf(ret, "%-18s %s%s\n", "balena API",
               is_true(root, "apiSane") ? "sane"
               : told                   ? "ill: "
                                        : "not asked yet",
               told ? why : "");
    if (number(root, "burialsPending") > 0) {
        buf_printf(ret, "%-18s %lld service instances whose devices the API still lists\n",
                   "burials", (long long)number(root, "burialsPending"));
    }
    print_reason(root, "burials", "burialsWhy", ret);
    print_reason(root, "haproxy's servers", "serversWhy", ret);
    print_reason(root, "firewall", "firewallWhy", ret);
    print_reason(root, "state file", "stateFileWhy", ret);
    print_reason(root, "certificates", "certificatesWhy", ret);
    print_reason(root, "state directory", "stateDirWhy", ret);
    print_reason(root, "degraded", "degraded", ret);
    print_reason(root, "pool file", "notice", ret);
}

/* "pool fleet: 1 of 2 ready, NOT available: haproxy: port 443 is taken by nginx (process 812)" */
static void print_headline(const cJSON *root, const char *name, struct buf *ret)
{
    const char *why = NULL;

    buf_printf(ret, "pool %s: %lld of %lld ready", name, (long long)number(root, "ready"),
               (long long)number(root, "replicas"));
    if (is_true(root, "stopping")) {
        buf_append_str(ret, ", stopping\n\n");
        return;
    }
    buf_append_str(ret, is_true(root, "progressing") ? ", changing" : "");
    if (!is_true(root, "available")) {
        bool told = json_str(root, "unavailable", &why, NULL) == 0;
        buf_printf(ret, ", NOT available%s%s", told ? ": " : "", told ? why : "");
    }
    buf_append_str(ret, "\n\n");
}

int local_status_table(const char *json, size_t len, int64_t now_ms, struct buf *ret,
                       struct err *err)
{
    AUTO(json) cJSON *root = NULL;
    const cJSON *instances = NULL, *programs = NULL, *o;
    const char *name = NULL;
    int r = json_parse(json, len, &root, err);

    if (r < 0 || (r = json_str(root, "pool", &name, err)) < 0 ||
        (r = json_array(root, "instances", &instances, err)) < 0 ||
        (r = json_array(root, "programs", &programs, err)) < 0) {
        return r;
    }
    size_t count = (size_t)cJSON_GetArraySize(instances), at = 0;
    struct row *rows = xcalloc(count, sizeof(*rows));
    cJSON_ArrayForEach(o, instances)
    {
        read_row(o, now_ms, &rows[at++]);
    }
    print_headline(root, name, ret);
    print_table(rows, count, ret);
    buf_append_str(ret, "(restarts: OpenVPN's/its sidecar's)\n\n");
    print_programs(programs, now_ms, ret);
    print_instance_reasons(instances, ret);
    print_conditions(root, ret);
    free(rows);
    return 0;
}
