/* The parts of libnss_openvpn, and the library itself through getent. The sidecars are played by a
 * child process with real sockets. */
#include "nss/ask.h"
#include "nss/device.h"
#include "nss/fill.h"
#include "nss/status_file.h"

#include "common/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define UUID32 "0123456789abcdef0123456789abcdef"
#define UUID62 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"

static void test_device_names(void **state)
{
    static const struct {
        const char *name;
        const char *uuid; /* NULL: not a device's */
    } rows[] = {
        {UUID32 ".balena", UUID32},
        {UUID32 ".vpn", UUID32},
        {UUID32 ".resin", UUID32},
        {UUID62 ".balena", UUID62},
        {"0123456789ABCDEF0123456789abcdef.BALENA", UUID32},
        {UUID32 ".balena.", UUID32},
        {UUID32 ".balena..", NULL},
        {UUID32 ".balena.io", NULL},
        {UUID32 ".", NULL},
        {UUID32, NULL},
        {"x." UUID32 ".balena", NULL},
        {"g123456789abcdef0123456789abcdef.balena", NULL},
        {"0123456789abcdef0123456789abcde.balena", NULL},
        {UUID32 "0.balena", NULL},
        {".balena", NULL},
        {"", NULL},
        {"../../../etc/passwd.balena", NULL},
        {"%2e%2e.balena", NULL},
        {"balena.io", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char uuid[UUID_TEXT_MAX + 1] = "untouched";
        bool is_device = device_from_name(rows[i].name, uuid);
        if (is_device != (rows[i].uuid != NULL)) {
            fail_msg("'%s'", rows[i].name);
        }
        assert_string_equal(uuid, rows[i].uuid != NULL ? rows[i].uuid : "untouched");
    }
}

#define STATUS_HEAD                                                                          \
    "TITLE,OpenVPN 2.6.14\nTIME,2026-11-22 23:43:03,1795390983\n"                            \
    "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,"      \
    "Bytes Received,Bytes Sent,Connected Since,Connected Since (time_t),Username,Client ID," \
    "Peer ID,Data Channel Cipher\n"
#define STATUS_ROW(uuid, address, since)                                                   \
    "CLIENT_LIST," uuid ",10.0.0.2:1," address ",,1,2,2026-11-22 23:43:03," since "," uuid \
    ",0,0,AES-256-GCM\n"

static void test_status_text(void **state)
{
    static const struct {
        const char *text;
        const char *address; /* NULL: not found */
    } rows[] = {
        {STATUS_HEAD STATUS_ROW(UUID32, "100.64.0.3", "100") "END\n", "100.64.0.3"},
        {STATUS_HEAD STATUS_ROW(UUID32, "100.64.0.3", "100") STATUS_ROW(UUID32, "100.64.0.9", "200")
             STATUS_ROW(UUID32, "100.64.0.4", "150") "END\n",
         "100.64.0.9"},
        {STATUS_HEAD STATUS_ROW(UUID62, "100.64.0.3", "100") "END\n", NULL},
        {STATUS_HEAD STATUS_ROW(UUID32, "100.64.0.3", "100"), NULL}, /* torn: no END */
        {STATUS_HEAD STATUS_ROW(UUID32, "", "100") "END\n", NULL},   /* not authenticated yet */
        {STATUS_ROW(UUID32, "100.64.0.3", "100") "END\n", NULL},     /* no header */
        {STATUS_HEAD "CLIENT_LIST," UUID32 "\nEND\n", NULL},
        {STATUS_HEAD "CLIENT_LIST," UUID32 ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\nEND\n", NULL},
        {"", NULL},
        {"END\n", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(str) char *text = xstrdup(rows[i].text);
        uint32_t address = 0;
        int64_t since = 0;
        bool found = status_text_find(text, UUID32, &address, &since);
        if (found != (rows[i].address != NULL)) {
            fail_msg("row %zu", i);
        }
        if (found) {
            assert_int_equal(address, inet_addr(rows[i].address));
        }
    }
}

static void test_fill_fits_or_asks_for_more(void **state)
{
    bool fitted = false;

    for (size_t len = 0; len < 256; len++) {
        char *buffer = xmalloc(len); /* exact, so that one byte too many is seen */
        struct hostent host;
        struct gaih_addrtuple *tuple = NULL;
        int error = 0, h_error = 0;
        enum nss_status a =
            fill_hostent(UUID32 ".balena", 0x01020304, &host, buffer, len, &error, &h_error);
        if (a == NSS_STATUS_SUCCESS) {
            assert_string_equal(host.h_name, UUID32 ".balena");
            assert_memory_equal(host.h_addr_list[0], "\x04\x03\x02\x01", 4);
            assert_null(host.h_addr_list[1]);
            assert_null(host.h_aliases[0]);
        } else {
            assert_int_equal(a, NSS_STATUS_TRYAGAIN);
            assert_int_equal(error, ERANGE);
            assert_int_equal(h_error, NETDB_INTERNAL);
            assert_false(fitted); /* once it fits, it fits in more */
        }
        fitted = a == NSS_STATUS_SUCCESS;
        enum nss_status b = fill_tuple("a.balena", 1, &tuple, buffer, len, &error, &h_error);
        if (b == NSS_STATUS_SUCCESS) {
            assert_string_equal(tuple->name, "a.balena");
            assert_null(tuple->next);
        } else {
            assert_int_equal(b, NSS_STATUS_TRYAGAIN);
        }
        free(buffer);
    }
    assert_true(fitted);
}

/* --- sidecars --- */

struct sidecar {
    char path[108];
    pid_t pid;
};

static int listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* Answers each connection with reply in pieces of one byte if slow; NULL: never answers. */
static void serve(int fd, const char *reply, bool in_pieces)
{
    for (;;) {
        int conn = accept(fd, NULL, NULL);
        char request[512];
        ssize_t got = read(conn, request, sizeof(request) - 1);
        if (reply == NULL) {
            continue;
        }
        bool ours = got > 0 && strncmp(request, "GET /v1/address/" UUID32 " HTTP/1.1\r\n", 52) == 0;
        const char *say = ours ? reply : "HTTP/1.1 400 Bad Request\r\n\r\n";
        size_t step = in_pieces ? 1 : strlen(say);
        for (size_t i = 0; i < strlen(say); i += step) {
            if (write(conn, say + i, step) < 0) {
                break;
            }
        }
        close(conn);
    }
}

static struct sidecar sidecar_start(const char *dir, int index, const char *reply, bool in_pieces)
{
    struct sidecar s;

    snprintf(s.path, sizeof(s.path), "%s/nss-%d.sock", dir, index);
    int fd = listen_at(s.path);
    s.pid = fork();
    if (s.pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        serve(fd, reply, in_pieces);
    }
    close(fd);
    return s;
}

static void sidecar_stop(struct sidecar *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    unlink(s->path);
}

static char folder[64];

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/nss-test-XXXXXX");
    return mkdtemp(folder) != NULL && chmod(folder, 0755) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/server-1.status", folder);
    unlink(path);
    return rmdir(folder);
}

static void write_status(const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/server-1.status", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define FOUND \
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 11\r\n\r\n100.64.0.7\n"
#define ABSENT "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

static void test_ask(void **state)
{
    static const struct {
        const char *what;
        const char *replies[3]; /* of the sidecars; "-": there is none, NULL: it is silent */
        bool in_pieces;
        enum ask_answer answer;
    } rows[] = {
        {"no sidecar", {"-", "-", "-"}, false, ASK_UNSURE},
        {"the second has it", {ABSENT, FOUND, ABSENT}, false, ASK_FOUND},
        {"nobody has it", {ABSENT, ABSENT, ABSENT}, false, ASK_NOWHERE},
        {"byte by byte", {ABSENT, FOUND, "-"}, true, ASK_FOUND},
        {"one hangs, another has it", {NULL, FOUND, "-"}, false, ASK_FOUND},
        {"one hangs, the other not", {NULL, ABSENT, "-"}, false, ASK_UNSURE},
        {"garbage", {"garbage", ABSENT, "-"}, false, ASK_UNSURE},
        {"cut in the address", {"HTTP/1.1 200 OK\r\n\r\n100.64", "-", "-"}, false, ASK_UNSURE},
        {"no address", {"HTTP/1.1 200 OK\r\n\r\n1.2.3.4.5\n", "-", "-"}, false, ASK_UNSURE},
        {"ill", {"HTTP/1.1 503 Service Unavailable\r\n\r\n", "-", "-"}, false, ASK_UNSURE},
        {"closes at once", {"", ABSENT, "-"}, false, ASK_UNSURE},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sidecar running[3];
        size_t count = 0;
        for (size_t k = 0; k < 3; k++) {
            const char *reply = rows[i].replies[k];
            if (reply == NULL || strcmp(reply, "-") != 0) {
                running[count++] = sidecar_start(folder, (int)k + 1, reply, rows[i].in_pieces);
            }
        }
        uint32_t address = 0;
        enum ask_answer answer = ask_sidecars(folder, UUID32, 200, &address);
        for (size_t k = 0; k < count; k++) {
            sidecar_stop(&running[k]);
        }
        if (answer != rows[i].answer) {
            fail_msg("%s: %d, not %d", rows[i].what, answer, rows[i].answer);
        }
        if (answer == ASK_FOUND) {
            assert_int_equal(address, inet_addr("100.64.0.7"));
        }
    }
}

static void test_ask_more_sidecars_than_at_once(void **state)
{
    struct sidecar running[40];

    for (int i = 0; i < 40; i++) {
        running[i] = sidecar_start(folder, i + 1, i == 17 ? FOUND : ABSENT, false);
    }
    uint32_t address = 0;
    enum ask_answer answer = ask_sidecars(folder, UUID32, 5000, &address);
    for (int i = 0; i < 40; i++) {
        sidecar_stop(&running[i]);
    }
    assert_int_equal(answer, ASK_FOUND);
}

/* --- the library itself --- */

static void getent(const char *database, const char *name, const char *expected)
{
    char command[512], line[256] = "";

    snprintf(command, sizeof(command),
             "LD_LIBRARY_PATH=%s VPN_RUNTIME_DIR=%s getent -s openvpn %s %s", NSS_LIBRARY_DIR,
             folder, database, name);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    char *got = fgets(line, sizeof(line), f);
    int status = pclose(f);
    if (expected == NULL) {
        assert_null(got);
        assert_int_equal(WEXITSTATUS(status), 2);
        return;
    }
    if (strncmp(line, expected, strlen(expected)) != 0) {
        fail_msg("%s: '%s'", command, line);
    }
}

static void test_getent_asks_the_sidecar(void **state)
{
    struct sidecar s = sidecar_start(folder, 1, FOUND, false);

    getent("hosts", UUID32 ".balena", "100.64.0.7 ");
    getent("hosts", UUID32 ".vpn", "100.64.0.7 ");
    getent("hosts", UUID32 ".resin", "100.64.0.7 ");
    getent("ahosts", UUID32 ".balena", "100.64.0.7 ");
    getent("ahostsv4", UUID32 ".balena", "100.64.0.7 ");
    getent("hosts", UUID62 ".balena", NULL);
    getent("hosts", "example.com", NULL);
    sidecar_stop(&s);
}

static void test_getent_falls_back_to_the_status_file(void **state)
{
    write_status(STATUS_HEAD STATUS_ROW(UUID32, "100.64.0.9", "100") "END\n");
    getent("hosts", UUID32 ".balena", "100.64.0.9 "); /* no sidecar */
    struct sidecar s = sidecar_start(folder, 1, NULL, false);
    getent("hosts", UUID32 ".balena", "100.64.0.9 "); /* one that hangs */
    sidecar_stop(&s);
    s = sidecar_start(folder, 1, ABSENT, false);
    getent("hosts", UUID32 ".balena", NULL); /* one that knows better than the file */
    sidecar_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_names),
        cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_fill_fits_or_asks_for_more),
        cmocka_unit_test_setup_teardown(test_ask, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_ask_more_sidecars_than_at_once, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_getent_asks_the_sidecar, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_getent_falls_back_to_the_status_file, make_folder,
                                        remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
