#include "controller/pool/local_tls.h"

#include "controller/pool/local_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char *const names[] = {"ca.crt", "server.crt", "server.key", "dh.pem"};

static struct {
    char folder[32];
    struct local_paths paths;
} t;

static int setup(void **state)
{
    strcpy(t.folder, "/tmp/test-tls-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    local_paths_init(&t.paths, t.folder, "/nowhere");
    return 0;
}

static int teardown(void **state)
{
    AUTO(str) char *command = xasprintf("rm -r %s", t.folder);

    local_paths_clear(&t.paths);
    return system(command);
}

/* Texts "{what} ca", "{what} cert" and so on; no DH parameters. */
static int write_pem(const char *what, struct err *err)
{
    AUTO(str) char *ca = xasprintf("%s ca", what);
    AUTO(str) char *cert = xasprintf("%s cert", what);
    AUTO(str) char *key = xasprintf("%s key", what);

    return local_tls_write(&t.paths, &(struct env_pem){.ca = ca, .cert = cert, .key = key}, err);
}

static struct stat look(const char *name)
{
    AUTO(str) char *path = xasprintf("%s/%s", t.paths.tls_dir, name);
    struct stat st = {0};

    (void)stat(path, &st); /* st_ino 0: it is not there */
    return st;
}

static bool holds(const char *name, const char *text)
{
    AUTO(str) char *path = xasprintf("%s/%s", t.paths.tls_dir, name);

    return file_holds(path, text);
}

static void test_tls_files_are_written_and_private(void **state)
{
    struct err err;

    assert_int_equal(write_pem("new", &err), 0);
    assert_true(holds("ca.crt", "new ca"));
    assert_true(holds("server.crt", "new cert"));
    assert_true(holds("server.key", "new key"));
    assert_int_equal(look("dh.pem").st_ino, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(look(names[i]).st_mode & 0777, 0600);
    }
}

static void test_tls_files_that_are_the_same_are_left_alone(void **state)
{
    struct stat before[3];
    struct err err;

    assert_int_equal(write_pem("same", &err), 0);
    for (size_t i = 0; i < 3; i++) {
        before[i] = look(names[i]);
    }
    assert_int_equal(write_pem("same", &err), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(look(names[i]).st_ino, before[i].st_ino);
        assert_int_equal(look(names[i]).st_mtim.tv_nsec, before[i].st_mtim.tv_nsec);
    }
    assert_int_equal(write_pem("longer or other", &err), 0);
    assert_true(holds("server.key", "longer or other key"));
    assert_int_equal(write_pem("other", &err), 0);
    assert_true(holds("server.key", "other key"));
}

static void test_tls_files_are_private_again(void **state)
{
    AUTO(str) char *key = xasprintf("%s/server.key", t.paths.tls_dir);
    struct err err;

    assert_int_equal(write_pem("same", &err), 0);
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(write_pem("same", &err), 0);
    assert_int_equal(look("server.key").st_mode & 0777, 0600);
}

/* A key that can not be written leaves no certificate without its key. */
static void test_tls_files_change_together_or_not_at_all(void **state)
{
    AUTO(str) char *in_the_way = xasprintf("%s/server.key.new/x", t.paths.tls_dir);
    struct err err;

    assert_int_equal(write_pem("old", &err), 0);
    assert_int_equal(local_make_folder(in_the_way, 0755, &err), 0);
    assert_true(write_pem("new", &err) < 0);
    assert_non_null(strstr(err.text, "/tls/server.key"));
    assert_true(holds("ca.crt", "old ca"));
    assert_true(holds("server.crt", "old cert"));
    assert_true(holds("server.key", "old key"));
    assert_int_equal(look("ca.crt.new").st_ino, 0);
    assert_int_equal(look("server.crt.new").st_ino, 0);
}

static void test_tls_of_a_pool_file_makes_nothing(void **state)
{
    struct err err;

    assert_int_equal(local_tls_write(&t.paths, &(struct env_pem){0}, &err), 0);
    assert_int_not_equal(access(t.paths.tls_dir, F_OK), 0);
}

static void test_tls_is_removed_with_what_was_never_finished(void **state)
{
    AUTO(str) char *half = xasprintf("%s/server.key", t.paths.tls_dir);
    struct err err;

    assert_int_equal(write_pem("old", &err), 0);
    assert_int_equal(file_stage(half, "half a k", 0600, &err), 0);
    local_tls_remove(&t.paths);
    assert_int_not_equal(access(t.paths.tls_dir, F_OK), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_tls_files_are_written_and_private),
        TEST(test_tls_files_that_are_the_same_are_left_alone),
        TEST(test_tls_files_are_private_again),
        TEST(test_tls_files_change_together_or_not_at_all),
        TEST(test_tls_of_a_pool_file_makes_nothing),
        TEST(test_tls_is_removed_with_what_was_never_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
