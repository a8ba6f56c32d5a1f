#include "sidecar-proxy/proxy/ticket.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#define UUID "0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef"
#define NOW 1764000000

static struct secrets key;
static char ticket[TICKET_TEXT_MAX + 1];

static int sign(void **state)
{
    (void)state;
    secrets_derive(&(struct service_keys){.key = "service key"}, "vpn-ticket", &key);
    ticket_sign(&key, UUID, 22, NOW + TICKET_LIFE_S, ticket);
    return 0;
}

static void test_ticket_has_the_agreed_form(void **state)
{
    uint8_t mac[SECRET_BYTES];
    char hex[SECRET_HEX_LEN + 1];
    char wanted[TICKET_TEXT_MAX + 1];
    static const char text[] = "v1\n" UUID "\n22\n1764000030";

    (void)state;
    secret_hmac(key.of[0], text, strlen(text), mac);
    secret_hex(mac, hex);
    snprintf(wanted, sizeof(wanted), "v1.1764000030.%s", hex);
    assert_string_equal(ticket, wanted);
}

static void test_ticket_is_valid_until_it_expires_and_again(void **state)
{
    (void)state;
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW), TICKET_VALID);
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW), TICKET_VALID);
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW + 30), TICKET_VALID);
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW + 31), TICKET_EXPIRED);
}

static void test_ticket_too_far_ahead_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW - 30), TICKET_VALID);
    assert_int_equal(ticket_check(&key, ticket, UUID, 22, NOW - 31), TICKET_EXPIRED);
}

static void test_ticket_is_for_one_port_of_one_device_under_one_key(void **state)
{
    struct secrets other;

    (void)state;
    secrets_derive(&(struct service_keys){.key = "another key"}, "vpn-ticket", &other);
    assert_int_equal(ticket_check(&key, ticket, OTHER, 22, NOW), TICKET_FORGED);
    assert_int_equal(ticket_check(&key, ticket, UUID, 23, NOW), TICKET_FORGED);
    assert_int_equal(ticket_check(&other, ticket, UUID, 22, NOW), TICKET_FORGED);
}

/* old: not started anew yet. both: has the new key and the previous one. new: when all is over. */
static void test_ticket_is_good_between_any_two_that_have_a_key_in_common(void **state)
{
    static const struct service_keys old = {.key = "old"}, both = {"new", "old"},
                                     current = {.key = "new"};
    static const struct {
        const struct service_keys *signs, *checks;
        enum ticket_result result;
    } rows[] = {
        {&old, &old, TICKET_VALID},         {&old, &both, TICKET_VALID},
        {&old, &current, TICKET_FORGED},    {&both, &old, TICKET_VALID},
        {&both, &both, TICKET_VALID},       {&both, &current, TICKET_VALID},
        {&current, &old, TICKET_FORGED},    {&current, &both, TICKET_VALID},
        {&current, &current, TICKET_VALID},
    };
    char text[TICKET_TEXT_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct secrets signs;
        struct secrets checks;
        secrets_derive(rows[i].signs, "vpn-ticket", &signs);
        secrets_derive(rows[i].checks, "vpn-ticket", &checks);
        ticket_sign(&signs, UUID, 22, NOW + TICKET_LIFE_S, text);
        assert_int_equal(ticket_check(&checks, text, UUID, 22, NOW), rows[i].result);
    }
}

static void test_ticket_with_any_byte_changed_is_refused(void **state)
{
    char changed[TICKET_TEXT_MAX + 1];

    (void)state;
    for (size_t i = 0; i < strlen(ticket); i++) {
        memcpy(changed, ticket, sizeof(changed));
        changed[i] ^= 1;
        assert_int_not_equal(ticket_check(&key, changed, UUID, 22, NOW), TICKET_VALID);
    }
}

static void test_ticket_rubbish_is_refused(void **state)
{
    static const char *const rubbish[] = {
        "", "v1", "v1.", "v1.x.", "v1.1", "v1.1.", "v2.1.a", "v1.99999999999999999999.a", "v1.-1."};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++) {
        assert_int_equal(ticket_check(&key, rubbish[i], UUID, 22, NOW), TICKET_FORGED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticket_has_the_agreed_form),
        cmocka_unit_test(test_ticket_is_valid_until_it_expires_and_again),
        cmocka_unit_test(test_ticket_too_far_ahead_is_refused),
        cmocka_unit_test(test_ticket_is_for_one_port_of_one_device_under_one_key),
        cmocka_unit_test(test_ticket_is_good_between_any_two_that_have_a_key_in_common),
        cmocka_unit_test(test_ticket_with_any_byte_changed_is_refused),
        cmocka_unit_test(test_ticket_rubbish_is_refused),
    };

    return cmocka_run_group_tests(tests, sign, NULL);
}
