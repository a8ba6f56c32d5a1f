/* Events: what is written once, what is counted, what is too much. */
#include "controller/kube/kube_event.h"
#include "tests/unit/kube/fake_api.h"

static struct kube_client *client;
static struct kube_event_writer *writer;
static bool flushed;

static const struct kube_event_about about = {.api_version = "vpn.openbalena.io/v1alpha1",
                                              .kind = "VPNPool",
                                              .ns = "vpn",
                                              .name = "fleet",
                                              .uid = "u1"};

static int setup(void **state)
{
    net_setup(state);
    fake_api_open();
    flushed = false;
    AUTO(kube_config) struct kube_config *config = fake_config("t");
    struct kube_client_options options = {.config = config};
    assert_int_equal(kube_client_new(loop, &options, &client, NULL), 0);
    struct kube_event_options event_options = {
        .client = client, .controller = "x/ctl", .instance = "pod-1"};
    writer = kube_event_writer_new(loop, &event_options);
    return 0;
}

static int teardown(void **state)
{
    kube_event_writer_close(writer);
    kube_client_close(client);
    fake_api_close();
    return net_teardown(state);
}

#define event_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void on_flushed(void *arg)
{
    (void)arg;
    flushed = true;
}

/* Answers all that comes until nothing is under way; returns how many of method there were. */
static int answer_all(const char *method)
{
    int count = 0;

    flushed = false;
    kube_event_flush(writer, on_flushed, NULL);
    while (!flushed) {
        while (fake_api_poll()) {
            count += strcmp(api.request.method, method) == 0;
            fake_answer(201, "", api.request.body);
        }
        net_step(__FILE__, __LINE__, "flushed");
    }
    return count;
}

static const char *sent(const cJSON *event, const char *key)
{
    const char *text = "";

    (void)json_str(event, key, &text, NULL);
    return text;
}

static void test_an_event_says_who_what_and_about_what(void **state)
{
    (void)state;
    kube_event(writer, &about, KUBE_EVENT_WARNING, "PodFailed", "CreatePod", "pod %s: %d", "a", 7);
    TAKE_REQUEST();
    assert_string_equal(api.request.target, "/apis/events.k8s.io/v1/namespaces/vpn/events");
    AUTO(json) cJSON *event = cJSON_Parse(api.request.body);
    const cJSON *regarding = cJSON_GetObjectItem(event, "regarding");
    assert_string_equal(sent(event, "type"), "Warning");
    assert_string_equal(sent(event, "reason"), "PodFailed");
    assert_string_equal(sent(event, "action"), "CreatePod");
    assert_string_equal(sent(event, "note"), "pod a: 7");
    assert_string_equal(sent(event, "reportingController"), "x/ctl");
    assert_string_equal(sent(event, "reportingInstance"), "pod-1");
    assert_string_equal(sent(regarding, "uid"), "u1");
    fake_answer(201, "", "{}");
}

static void test_repetition_is_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "the same");
    }
    assert_int_equal(answer_all("POST"), 1);
    kube_event_flush(writer, on_flushed, NULL);
    TAKE_REQUEST();
    assert_string_equal(api.request.method, "PATCH");
    assert_non_null(strstr(api.request.body, "{\"series\":{\"count\":5,\"lastObservedTime\":\""));
    fake_answer(200, "", "{}");
    assert_int_equal(answer_all("PATCH"), 0); /* told already */
}

static void test_many_different_notes_become_one(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "note %d", i);
    }
    assert_int_equal(answer_all("POST"), 11); /* ten, and one for the rest */
    kube_event(writer, &about, KUBE_EVENT_NORMAL, "Another", "B", "note");
    assert_int_equal(answer_all("POST"), 1); /* a matter of its own */
}

static void test_one_object_does_not_drown_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char reason[16];
        snprintf(reason, sizeof(reason), "Reason%d", i);
        kube_event(writer, &about, KUBE_EVENT_NORMAL, reason, "B", "note");
    }
    assert_int_equal(answer_all("POST"), 25);
    kube_event(writer, &about, KUBE_EVENT_WARNING, "A", "B", "a fault of its own");
    assert_int_equal(answer_all("POST"), 1); /* is told all the same */
    struct kube_event_about other = about;
    other.uid = "u2";
    kube_event(writer, &other, KUBE_EVENT_NORMAL, "A", "B", "note");
    assert_int_equal(answer_all("POST"), 1);
}

static void test_a_long_note_is_cut_between_characters(void **state)
{
    (void)state;
    char note[1200];
    note[0] = 'x'; /* so that byte 1024 is within a character */
    for (size_t i = 1; i + 2 < sizeof(note); i += 2) {
        memcpy(note + i, "\xc3\xa9", 3);
    }
    kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "%s", note);
    TAKE_REQUEST();
    AUTO(json) cJSON *event = cJSON_Parse(api.request.body);
    assert_int_equal(strlen(sent(event, "note")), 1023);
    fake_answer(201, "", "{}");
}

static void test_what_could_not_be_written_is_said_anew(void **state)
{
    (void)state;
    kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "note");
    TAKE_REQUEST();
    fake_answer(500, "", "{}");
    assert_int_equal(answer_all("POST"), 0);
    kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "note");
    assert_int_equal(answer_all("POST"), 1);
}

static void test_flushing_ends_though_nobody_answers(void **state)
{
    (void)state;
    kube_event(writer, &about, KUBE_EVENT_NORMAL, "A", "B", "note");
    kube_event_flush(writer, on_flushed, NULL);
    TAKE_REQUEST();
    RUN_UNTIL(flushed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        event_test(test_an_event_says_who_what_and_about_what),
        event_test(test_repetition_is_counted),
        event_test(test_many_different_notes_become_one),
        event_test(test_one_object_does_not_drown_the_others),
        event_test(test_a_long_note_is_cut_between_characters),
        event_test(test_what_could_not_be_written_is_said_anew),
        event_test(test_flushing_ends_though_nobody_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
