/* Plays the scenarios of replay/: what an API server says, byte for byte, and what the store makes
 * of it. Each is played twice: every piece of a stream at once, and in pieces of 7 bytes.
 * replay/README.md has the form. */
#include "common/log.h"
#include "controller/kube/kube_metrics.h"
#include "controller/kube/kube_store.h"
#include "tests/unit/kube/fake_api.h"

#include <dirent.h>
#include <stdlib.h>

#define TOLD_MAX 256
#define QUIET_MS 30

static struct {
    struct kube_client *client;
    struct kube_store *store;
    char *told[TOLD_MAX]; /* not yet expected */
    size_t told_count;
    const char *file;
    int line;
    size_t piece;     /* bytes of a chunk; 0: all */
    int64_t failures; /* counted before */
    bool no_watch_list;
    uint32_t page, watch_ms;
} play;

static void told(const char *what, const char *name)
{
    assert_true(play.told_count < TOLD_MAX);
    play.told[play.told_count++] = xasprintf("%s%s%s", what, name[0] != '\0' ? " " : "", name);
}

static void on_add(void *arg, const struct kube_object *object)
{
    (void)arg;
    told("add", object->name);
}

static void on_update(void *arg, const struct kube_object *object, const void *before)
{
    (void)arg;
    assert_non_null(before);
    told("update", object->name);
}

static void on_delete(void *arg, const struct kube_object *object)
{
    (void)arg;
    told("delete", object->name);
}

static void on_synced(void *arg)
{
    (void)arg;
    told("synced", "");
}

static void fail_here(const char *why, const char *what)
{
    print_error("%s:%d: %s: %s\n", play.file, play.line, why, what);
    fail();
}

/* --- texts --- */

/* "@a/u1/40" stands for a Pod, "\xNN" for a byte. */
static char *expand(const char *text)
{
    AUTO(buf) struct buf out;
    char name[64], uid[64], version[64];
    unsigned byte;

    buf_init(&out, 1 << 20);
    while (*text != '\0') {
        int taken = 0;
        if (sscanf(text, "@%63[^/]/%63[^/]/%63[^],} ]%n", name, uid, version, &taken) == 3) {
            buf_printf(&out,
                       "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"%s\"}}",
                       name, uid, version);
        } else if (sscanf(text, "\\x%2x%n", &byte, &taken) == 1) {
            char c = (char)byte;
            buf_append(&out, &c, 1);
        } else {
            taken = 1;
            buf_append(&out, text, 1);
        }
        text += taken;
    }
    return out.len > 0 ? buf_take(&out) : xstrdup("");
}

/* "ADDED @a/u1/40", "BOOKMARK 41", "CURRENT 41", "ERROR 410 Expired": a line of a watch; others are
 * as they stand. */
static char *expand_event(const char *text)
{
    AUTO(str) char *body = expand(text);
    char type[16], word[64];
    int code, taken = 0;

    if (sscanf(body, "BOOKMARK %63s", word) == 1) {
        return xasprintf("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":"
                         "\"%s\"}}}",
                         word);
    }
    if (sscanf(body, "CURRENT %63s", word) == 1) {
        return xasprintf("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":"
                         "\"%s\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}",
                         word);
    }
    if (sscanf(body, "ERROR %d %63s", &code, word) == 2) {
        return xasprintf("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":%d,"
                         "\"reason\":\"%s\",\"message\":\"said so\"}}",
                         code, word);
    }
    if (sscanf(body, "%15[A-Z] %n", type, &taken) == 1 && body[taken] == '{') {
        return xasprintf("{\"type\":\"%s\",\"object\":%s}", type, body + taken);
    }
    return xstrdup(body);
}

/* --- steps --- */

static void open_store(void)
{
    AUTO(kube_config) struct kube_config *config = fake_config("t");
    struct kube_client_options client_options = {.config = config};
    struct kube_store_options options = {
        .resource = &kube_pods,
        .ns = "vpn",
        .label_selector = "app=x",
        .no_watch_list = play.no_watch_list,
        .page = play.page,
        .watch_ms = play.watch_ms,
        .first_wait_ms = 20,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .on_synced = on_synced,
    };

    assert_int_equal(kube_client_new(loop, &client_options, &play.client, NULL), 0);
    assert_int_equal(kube_store_open(play.client, &options, &play.store, NULL), 0);
}

static void step_options(char *words)
{
    char *rest = NULL;

    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, "list") == 0) {
            play.no_watch_list = true;
        } else if (sscanf(word, "page=%u", &play.page) != 1 &&
                   sscanf(word, "watch-ms=%u", &play.watch_ms) != 1) {
            fail_here("unknown option", word);
        }
    }
}

/* "GET /path a=1 !b=2": the path, what must be in the query, what must not. */
static void step_request(char *words)
{
    char *rest = NULL;
    const char *method = strtok_r(words, " ", &rest);
    const char *path = strtok_r(NULL, " ", &rest);

    if (play.store == NULL) {
        open_store();
    }
    TAKE_REQUEST();
    AUTO(str) char *got = xstrndup(api.request.target, strcspn(api.request.target, "?"));
    if (strcmp(method, api.request.method) != 0 || strcmp(path, got) != 0 ||
        !fake_request_has("labelSelector=app%3Dx")) {
        fail_here("another request came", api.request.target);
    }
    for (char *word = strtok_r(NULL, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        bool absent = word[0] == '!';
        if (fake_request_has(word + (absent ? 1 : 0)) == absent) {
            fail_here(absent ? "should not be asked for" : "is not asked for", word);
        }
    }
}

/* "200 Retry-After:1 BODY" */
static void step_answer(char *text, bool cut)
{
    AUTO(buf) struct buf headers;
    int taken = 0, status = 0;
    char header[128];

    buf_init(&headers, 4096);
    assert_int_equal(sscanf(text, "%d %n", &status, &taken), 1);
    text += taken;
    while (sscanf(text, "%127[A-Za-z0-9:-] %n", header, &taken) == 1 && strchr(header, ':')) {
        buf_printf(&headers, "%s\r\n", header);
        text += taken;
    }
    AUTO(str) char *body = expand(text);
    if (cut) {
        fake_answer_cut(status, body);
    } else {
        fake_answer(status, buf_str(&headers), body);
    }
}

static void step_chunk(const char *text, bool with_end)
{
    AUTO(str) char *body = expand_event(text);
    AUTO(str) char *whole = xasprintf("%s%s", body, with_end ? "\n" : "");
    size_t len = strlen(whole);
    size_t piece = play.piece > 0 ? play.piece : len;

    for (size_t at = 0; at < len; at += piece) {
        fake_chunk(whole + at, len - at < piece ? len - at : piece);
        net_step(__FILE__, __LINE__, "the piece to be read");
    }
}

static void step_told(const char *what)
{
    while (play.told_count == 0) {
        net_step(play.file, play.line, what);
    }
    if (strcmp(play.told[0], what) != 0) {
        fail_here("something else was told", play.told[0]);
    }
    free(play.told[0]);
    play.told_count--;
    memmove(&play.told[0], &play.told[1], play.told_count * sizeof(play.told[0]));
}

static int64_t failures(void)
{
    return metric_value(
        kube_metric(METRIC_COUNTER, "kube_store_failures_total", "", "resource=\"pods\""));
}

static void step_failures(const char *count)
{
    if (failures() - play.failures != atoll(count)) {
        fail_here("another number of failures was counted", NUM(failures() - play.failures));
    }
}

static void step(char *line)
{
    if (strncmp(line, "options ", 8) == 0) {
        step_options(line + 8);
    } else if (strncmp(line, "< ", 2) == 0) {
        step_request(line + 2);
    } else if (strcmp(line, ">> 200") == 0) {
        fake_stream();
    } else if (strncmp(line, "> ", 2) == 0) {
        step_answer(line + 2, false);
    } else if (strncmp(line, ">cut ", 5) == 0) {
        step_answer(line + 5, true);
    } else if (strncmp(line, "| ", 2) == 0) {
        step_chunk(line + 2, true);
    } else if (strncmp(line, "|. ", 3) == 0) {
        step_chunk(line + 3, false);
    } else if (strncmp(line, "failures ", 9) == 0) {
        step_failures(line + 9);
    } else if (strcmp(line, "end") == 0) {
        fake_stream_end();
    } else if (strcmp(line, "close") == 0) {
        fake_drop();
    } else if (strncmp(line, "= ", 2) == 0) {
        step_told(line + 2);
    } else {
        fail_here("unknown step", line);
    }
}

static void play_lines(FILE *f)
{
    char line[8192];

    while (fgets(line, sizeof(line), f) != NULL) {
        play.line++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0' && line[0] != '#') {
            step(line);
        }
    }
}

/* Nothing more than what was written: no second list, no storm. */
static void expect_quiet(void)
{
    int64_t until = clock_monotonic_ms() + QUIET_MS;

    while (clock_monotonic_ms() < until) {
        net_step(__FILE__, __LINE__, "quiet");
        if (fake_api_poll()) {
            fail_here("asked at the end", api.request.target);
        }
    }
    if (play.told_count > 0) {
        fail_here("told at the end", play.told[0]);
    }
}

static void play_file(const char *path, size_t piece)
{
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    memset(&play, 0, sizeof(play));
    play.file = path;
    play.piece = piece;
    play.failures = failures();
    fake_api_open();
    play_lines(f);
    fclose(f);
    expect_quiet();
    kube_store_close(play.store);
    kube_client_close(play.client);
    fake_api_close();
}

static void test_scenario(void **state)
{
    play_file(*state, 0);
}

static void test_scenario_in_pieces(void **state)
{
    play_file(*state, 7);
}

/* --- the scenarios as tests --- */

static int is_scenario(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return len > 4 && strcmp(e->d_name + len - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
    struct dirent **files;
    int count = argc == 2 ? scandir(argv[1], &files, is_scenario, alphasort) : -1;
    int failed = 0;

    if (count <= 0) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        AUTO(str) char *path = xasprintf("%s/%s", argv[1], files[i]->d_name);
        const struct CMUnitTest tests[] = {
            {files[i]->d_name, test_scenario, net_setup, net_teardown, path},
            {files[i]->d_name, test_scenario_in_pieces, net_setup, net_teardown, path},
        };
        failed += cmocka_run_group_tests(tests, NULL, NULL);
        free(files[i]);
    }
    free(files);
    return failed;
}
