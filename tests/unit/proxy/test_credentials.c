#include "sidecar-proxy/proxy/credentials.h"

#include "tests/unit/cmocka_all.h"

#include <string.h>

struct row {
    const char *value;
    enum credentials_kind kind;
    const char *text;
};

static const struct row rows[] = {
    {"", CREDENTIALS_GUEST, NULL},
    {"Basic", CREDENTIALS_GUEST, NULL},
    {"Basic  ", CREDENTIALS_GUEST, NULL},
    {"Digest abc", CREDENTIALS_GUEST, NULL},
    {"Basic cm9vdDp0b2tlbg==", CREDENTIALS_KEY, "token"}, /* root:token */
    {"bAsIc   cm9vdDp0b2tlbg==", CREDENTIALS_KEY, "token"},
    {"Basic cm9vdDp0b2tlbg", CREDENTIALS_KEY, "token"},    /* padding left out */
    {"Basic cm9vdDp0OmtlOm4=", CREDENTIALS_KEY, "t:ke:n"}, /* root:t:ke:n */
    {"Basic dG9rZW4=", CREDENTIALS_KEY, "token"},          /* token */
    {"Basic dG9rZW46", CREDENTIALS_KEY, "token"},          /* token: */
    {"Basic OnRva2Vu", CREDENTIALS_KEY, "token"},          /* :token */
    {"Basic Og==", CREDENTIALS_GUEST, NULL},               /* : */
    {"Basic !!!", CREDENTIALS_BAD, NULL},
    {"Basic A", CREDENTIALS_BAD, NULL},
    {"Basic AAAA", CREDENTIALS_BAD, NULL}, /* NUL NUL NUL */
    {"Basic dG9rZW4=junk", CREDENTIALS_BAD, NULL},
    {"Bearer token", CREDENTIALS_KEY, "token"},
    {"bearer  token", CREDENTIALS_KEY, "token"},
    {"Bearer", CREDENTIALS_GUEST, NULL},
    {"Vpn-Ticket v1.1.ab", CREDENTIALS_TICKET, "v1.1.ab"},
    {"vpn-ticket v1.1.ab", CREDENTIALS_TICKET, "v1.1.ab"},
};

static void test_credentials_answers_each_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct credentials c;
        credentials_parse((struct text){rows[i].value, strlen(rows[i].value)}, &c);
        if (c.kind != rows[i].kind) {
            fail_msg("'%s': %d", rows[i].value, c.kind);
        }
        if (rows[i].text != NULL) {
            assert_string_equal(c.text, rows[i].text);
        } else {
            assert_null(c.text);
        }
        credentials_clear(&c);
    }
}

static void test_credentials_basic_reads_back_as_the_key(void **state)
{
    static const char *const keys[] = {"a", "ab", "abc", "abcd",
                                       "0123456789abcdefghijklmnopqrstuv"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char *basic = credentials_basic(keys[i]);
        struct credentials c;
        credentials_parse((struct text){basic, strlen(basic)}, &c);
        assert_int_equal(c.kind, CREDENTIALS_KEY);
        assert_string_equal(c.text, keys[i]);
        credentials_clear(&c);
        free(basic);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials_answers_each_row_of_the_table),
        cmocka_unit_test(test_credentials_basic_reads_back_as_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
