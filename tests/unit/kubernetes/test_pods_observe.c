/* One instance and its Pod, a table of what is seen and what follows from it. */
#include "controller/kubernetes/pods_observe.h"
#include "tests/unit/cmocka_all.h"

#include "common/buf.h"

#include <stdio.h>
#include <string.h>

#define NOW 1795472797000
#define POOL_UID "p1"

static struct {
    struct pod_view pod;
    bool has_pod, awaited, listed, buried, reported;
    struct instance_report report;
} world;

static char name[] = "fleet-1", pool[] = "fleet", pool_uid[] = POOL_UID, empty[] = "", old[] = "p0",
            other[] = "statefulset-7";

static const struct pod_view *pod(void *arg, const char *n)
{
    return world.has_pod && strcmp(n, name) == 0 ? &world.pod : NULL;
}

static bool is_awaited(void *arg, const char *n)
{
    return world.awaited;
}

static bool report(void *arg, const char *epoch, struct instance_report *ret)
{
    *ret = world.report;
    return world.reported;
}

static bool is_listed(void *arg, const char *n)
{
    return world.listed;
}

static bool is_buried(void *arg, uint32_t index, const char *epoch)
{
    return world.buried;
}

static const struct pods_seen seen = {.pool = "fleet",
                                      .pool_uid = POOL_UID,
                                      .now_ms = NOW,
                                      .pod = pod,
                                      .is_awaited = is_awaited,
                                      .report = report,
                                      .is_listed = is_listed,
                                      .is_buried = is_buried};

/* A Pod of ours that runs and is ready, as words change it. */
static void set_pod(const char *words)
{
    struct pod_view *v = &world.pod;

    *v = (struct pod_view){.name = name,
                           .pool = pool,
                           .index = 1,
                           .owner_uid = pool_uid,
                           .owner_name = pool,
                           .owner_is_pool = true,
                           .uid = "u1",
                           .node = "n1",
                           .parts = empty,
                           .sidecar_image = empty,
                           .phase = POD_RUNNING,
                           .ready = true,
                           .containers_ready = true,
                           .gate = true,
                           .openvpn = CONTAINER_RUNNING,
                           .sidecar = CONTAINER_RUNNING};
    world.has_pod = true;
    world.awaited = world.buried = world.reported = false;
    world.listed = true;
    AUTO(str) char *copy = xstrdup(words);
    char *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        if (strcmp(w, "none") == 0) {
            world.has_pod = false;
        } else if (strcmp(w, "awaited") == 0) {
            world.awaited = true;
        } else if (strcmp(w, "unlisted") == 0) {
            world.listed = false;
        } else if (strcmp(w, "another") == 0) {
            strcpy(v->uid, "u9");
        } else if (strcmp(w, "orphan") == 0) {
            v->owner_uid = old;
        } else if (strcmp(w, "foreign") == 0) {
            v->owner_uid = other;
            v->owner_is_pool = false;
        } else if (strcmp(w, "unscheduled") == 0) {
            v->node[0] = '\0';
            strcpy(v->reason, "Unschedulable");
        } else if (strcmp(w, "pulling") == 0) {
            v->pulling = true;
        } else if (strcmp(w, "new") == 0) {
            v->phase = POD_PENDING;
            v->openvpn = v->sidecar = CONTAINER_NEW;
            v->ready = v->containers_ready = v->gate = false;
        } else if (strcmp(w, "unready") == 0) {
            v->ready = v->containers_ready = false;
        } else if (strcmp(w, "gateless") == 0) {
            v->ready = v->gate = false;
        } else if (strcmp(w, "crashed") == 0) {
            v->openvpn = CONTAINER_ENDED;
            v->ready = v->containers_ready = false;
            v->restarts = 2;
        } else if (strcmp(w, "failed") == 0) {
            v->phase = POD_FAILED;
            strcpy(v->reason, "Evicted");
            v->ready = v->containers_ready = false;
        } else if (strcmp(w, "deleting") == 0) {
            v->deleting = true;
            v->deletion_ms = NOW + 100000;
        } else if (strcmp(w, "overdue") == 0) {
            v->deletion_ms = NOW - POD_LOST_MS - 1;
        } else if (strcmp(w, "tainted") == 0) {
            v->tainted = true;
            strcpy(v->disruption, "DeletionByTaintManager");
        } else if (strcmp(w, "marked") == 0) {
            v->delete_first = true;
        } else if (strcmp(w, "drained") == 0) {
            world.reported = true;
            world.report = (struct instance_report){.phase = INSTANCE_DRAINED, .service_id = 12};
        } else if (strcmp(w, "linked") == 0) {
            world.reported = true;
            world.report = (struct instance_report){.phase = INSTANCE_READY, .sessions = 5};
        } else if (strcmp(w, "buried") == 0) {
            world.buried = true;
        } else {
            fail_msg("no word '%s'", w);
        }
    }
}

static struct pool_instance instance_of(const char *text)
{
    struct pool_instance i = {.index = 1, .since_ms = NOW - 600000};
    static const struct {
        const char *word;
        enum index_phase phase;
    } phases[] = {{"STARTING", INDEX_STARTING},
                  {"READY", INDEX_READY},
                  {"DRAINING", INDEX_DRAINING},
                  {"TERMINATING", INDEX_TERMINATING},
                  {"BURYING", INDEX_BURYING}};

    for (size_t n = 0; n < ARRAY_LEN(phases); n++) {
        if (strncmp(text, phases[n].word, strlen(phases[n].word)) == 0) {
            i.phase = phases[n].phase;
        }
    }
    strcpy(i.uid, strstr(text, "nouid") != NULL ? "" : "u1");
    i.gone = strstr(text, "gone") != NULL;
    i.unsure = strstr(text, "unsure") != NULL;
    i.seen = true;
    strcpy(i.template_hash, strstr(text, "outdated") != NULL ? "new" : "");
    strcpy(i.reason, strstr(text, "ran") != NULL ? "Running" : "Reserved");
    return i;
}

struct follow_case {
    const char *name, *instance, *pod;
    enum index_phase phase; /* afterwards */
    const char *reason;
    bool look, lost;
};

static const struct follow_case follows[] = {
    {"reserved, nothing made", "STARTING nouid", "none", INDEX_STARTING, "Reserved", false, false},
    {"made, not seen yet", "STARTING", "none awaited", INDEX_STARTING, "Reserved", false, false},
    {"made, and nowhere", "STARTING", "none", INDEX_STARTING, "Reserved", true, false},
    {"the name was taken", "STARTING nouid unsure", "none", INDEX_STARTING, "Reserved", true,
     false},
    {"made, seen: its uid is learned", "STARTING nouid", "new unscheduled", INDEX_STARTING,
     "NotScheduled", false, false},
    {"its image comes", "STARTING", "new pulling", INDEX_STARTING, "ContainerCreating", false,
     false},
    {"it begins", "STARTING", "unready", INDEX_STARTING, "Running", false, false},
    {"ready, and no balancer lists it", "STARTING ran", "unlisted gateless", INDEX_STARTING,
     "WaitingForBalancer", false, false},
    {"it fails before it was ready", "STARTING ran", "failed", INDEX_STARTING, "Evicted", false,
     false},
    {"all is well", "READY", "", INDEX_READY, "Reserved", false, false},
    {"deleted by hand", "READY", "deleting", INDEX_TERMINATING, "PodDeleted", false, false},
    {"evicted", "READY", "failed", INDEX_TERMINATING, "Evicted", false, false},
    {"its node is lost", "READY", "deleting tainted", INDEX_TERMINATING, "DeletionByTaintManager",
     false, true},
    {"its node says nothing", "TERMINATING", "deleting overdue", INDEX_TERMINATING, "Reserved",
     false, true},
    {"gone, says the cache: look", "READY", "none", INDEX_READY, "Reserved", true, false},
    {"gone for certain", "READY gone", "none", INDEX_TERMINATING, "PodGone", false, false},
    {"another one of ours has its name", "READY", "another", INDEX_READY, "Reserved", true, false},
    {"a Pod of an earlier pool has its name", "STARTING", "orphan", INDEX_STARTING, "Reserved",
     true, false},
    {"somebody else's has its name", "STARTING", "foreign", INDEX_STARTING, "Reserved", true,
     false},
    {"deleted while it drains", "DRAINING", "deleting", INDEX_TERMINATING, "PodDeleted", false,
     false},
    {"ended, and nowhere: look", "TERMINATING nouid", "none", INDEX_TERMINATING, "Reserved", true,
     false},
    {"being buried", "BURYING gone", "none", INDEX_BURYING, "Reserved", false, false},
};

static void test_pods_follow(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(follows); n++) {
        const struct follow_case *c = &follows[n];
        struct pool_instance i = instance_of(c->instance);
        struct pool_status status = {.instances = &i, .count = 1};
        set_pod(c->pod);
        pods_follow(&seen, &status);
        bool look = pods_must_look(&seen, &i);
        if (i.phase != c->phase || strcmp(i.reason, c->reason) != 0 || look != c->look ||
            i.lost != c->lost) {
            fail_msg("%s: %s, '%s', look %d, lost %d", c->name, index_phase_name(i.phase), i.reason,
                     look, i.lost);
        }
        assert_true(i.since_ms == NOW || i.phase == instance_of(c->instance).phase);
    }
}

/* The time that a start has begins when it can. */
static void test_pods_follow_gives_a_start_its_time(void **state)
{
    struct pool_instance i = instance_of("STARTING");
    struct pool_status status = {.instances = &i, .count = 1};

    (void)state;
    set_pod("new pulling");
    pods_follow(&seen, &status);
    assert_int_equal(i.since_ms, NOW - 600000);
    set_pod("unready");
    pods_follow(&seen, &status);
    assert_int_equal(i.since_ms, NOW);
    i.since_ms = NOW - 5000;
    set_pod("");
    pods_follow(&seen, &status);
    assert_int_equal(i.since_ms, NOW - 5000);
}

static void test_pods_follow_counts_ends_and_forgives_them(void **state)
{
    struct pool_instance i = instance_of("READY");
    struct pool_status status = {.instances = &i, .count = 1};

    (void)state;
    set_pod("crashed");
    pods_follow(&seen, &status);
    assert_int_equal(i.failures, 2);
    pods_follow(&seen, &status);
    assert_int_equal(i.failures, 2);
    set_pod("");
    world.pod.restarts = 2;
    pods_follow(&seen, &status);
    assert_int_equal(i.failures, 2);
    i.ready_ms = NOW - PLAN_HEALTHY_MS;
    pods_follow(&seen, &status);
    assert_int_equal(i.failures, 0);
    i.seen = false; /* a new leader does not count what its predecessor has counted */
    world.pod.restarts = 40;
    pods_follow(&seen, &status);
    assert_int_equal(i.failures, 0);
}

/* Its predecessor has closed the gate, or died before it opened it: the planner decides anew. */
static void test_pods_follow_leaves_a_gate_to_the_planner(void **state)
{
    struct pool_instance i = instance_of("READY");
    struct pool_status status = {.instances = &i, .count = 1};

    (void)state;
    i.seen = false;
    set_pod("gateless");
    pods_follow(&seen, &status);
    assert_true(i.unserved);
    i.seen = false;
    set_pod("");
    pods_follow(&seen, &status);
    assert_false(i.unserved);
    set_pod("gateless"); /* ours: it is on its way */
    pods_follow(&seen, &status);
    assert_false(i.unserved);
}

struct observe_case {
    const char *name, *instance, *pod;
    const char *words; /* what is true of the observed index */
};

static const struct observe_case observes[] = {
    {"nothing made yet", "STARTING nouid", "none", "absent unscheduled current"},
    {"made, not seen yet", "STARTING", "none awaited", "unscheduled current"},
    {"no node", "STARTING", "new unscheduled", "unscheduled current"},
    {"no image", "STARTING", "new pulling", "pulling current"},
    {"it runs", "STARTING ran", "unready", "current"},
    {"its sidecar has its OpenVPN", "STARTING ran", "unready linked", "current linked"},
    {"ready, unlisted", "STARTING ran", "unlisted gateless", "current linked serving?"},
    {"ready, listed", "STARTING ran", "gateless", "ready current linked serving?"},
    {"serves", "READY", "", "ready current linked serving"},
    {"serves, although a balancer has just forgotten it", "READY", "unlisted",
     "ready current linked serving"},
    {"crashed", "READY", "crashed", "absent-openvpn current"},
    {"of another template", "READY outdated", "", "ready linked serving"},
    {"marked", "READY", "marked", "ready current linked serving marked"},
    {"failed before it was ready", "STARTING ran", "failed", "absent current"},
    {"drained", "DRAINING", "drained", "ready current linked serving drained"},
    {"ended, and still there", "TERMINATING", "deleting crashed", "current"},
    {"gone for certain", "TERMINATING gone", "none", "absent current"},
    {"gone, perhaps", "TERMINATING", "none", "current"},
    {"being buried", "BURYING gone", "none", "absent current"},
    {"buried", "BURYING gone", "none buried", "absent current buried"},
};

static char *words_of(const struct observed_index *o)
{
    struct buf b;
    const struct {
        const char *word;
        bool yes;
    } all[] = {
        {"absent", o->openvpn == PROCESS_ABSENT && o->sidecar == PROCESS_ABSENT},
        {"absent-openvpn", o->openvpn == PROCESS_ABSENT && o->sidecar != PROCESS_ABSENT},
        {"absent-sidecar", o->openvpn != PROCESS_ABSENT && o->sidecar == PROCESS_ABSENT},
        {"ready", o->ready},
        {"unscheduled", o->unscheduled},
        {"pulling", o->pulling},
        {"current", o->current},
        {"linked", o->linked},
        {"serving", o->serving},
        {"marked", o->marked},
        {"drained", o->drained},
        {"buried", o->buried},
    };

    buf_init(&b, 512);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].yes) {
            buf_printf(&b, "%s%s", b.len > 0 ? " " : "", all[i].word);
        }
    }
    return b.len > 0 ? buf_take(&b) : xstrdup("");
}

static void test_pods_observe(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(observes); n++) {
        const struct observe_case *c = &observes[n];
        struct pool_instance i = instance_of(c->instance);
        struct pool_status status = {.instances = &i, .count = 1};
        struct observed_index o;
        AUTO(str) char *wanted = xstrdup(c->words);
        set_pod(c->pod);
        pods_observe(&seen, &status, &o);
        char *maybe = strstr(wanted, " serving?"); /* of no meaning before it is READY */
        if (maybe != NULL) {
            *maybe = '\0';
            o.serving = false;
        }
        AUTO(str) char *words = words_of(&o);
        if (strcmp(words, wanted) != 0) {
            fail_msg("%s: '%s', not '%s'", c->name, words, wanted);
        }
    }
}

static void test_pod_classify(void **state)
{
    static const struct {
        const char *words;
        enum pod_claim claim;
    } cases[] = {{"", POD_OURS}, {"orphan", POD_ORPHAN}, {"foreign", POD_FOREIGN}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_pod(cases[i].words);
        assert_int_equal(pod_classify(&world.pod, "fleet", POOL_UID), cases[i].claim);
    }
    set_pod("orphan");
    assert_int_equal(pod_classify(&world.pod, "others", POOL_UID), POD_FOREIGN);
}

static void test_pods_count_what_is_there(void **state)
{
    struct pool_instance i[2] = {instance_of("READY"), instance_of("DRAINING")};
    struct pool_status status = {.instances = i, .count = 2};

    (void)state;
    i[1].index = 2;
    i[0].sessions = 3;
    i[1].sessions = 4;
    set_pod("");
    pods_count(&seen, &status);
    assert_int_equal(status.replicas, 1);
    assert_int_equal(status.ready, 1);
    assert_int_equal(status.draining, 1);
    assert_int_equal(status.sessions, 7);
}

/* An outdated one that newcomers are kept from can still take devices. */
static void test_pods_count_ready_what_is_ready(void **state)
{
    struct pool_instance i = instance_of("READY");
    struct pool_status status = {.instances = &i, .count = 1};

    (void)state;
    set_pod("gateless");
    pods_count(&seen, &status);
    assert_int_equal(status.ready, 0);
    i.unserved = true;
    pods_count(&seen, &status);
    assert_int_equal(status.ready, 1);
    set_pod("unready");
    pods_count(&seen, &status);
    assert_int_equal(status.ready, 0);
}

static void test_pods_why_a_node_makes_no_containers(void **state)
{
    struct pool_instance i = instance_of("STARTING");
    struct pool_status status = {.instances = &i, .count = 1};
    char why[POOL_MESSAGE_MAX + 1] = "";

    (void)state;
    set_pod("new");
    assert_true(pods_why(&seen, &status, why));
    assert_non_null(strstr(why, "a Secret that is not there"));
    set_pod("new unscheduled"); /* the scheduler says it better */
    assert_true(pods_why(&seen, &status, why));
    assert_non_null(strstr(why, "Unschedulable"));
    set_pod("unready");
    assert_false(pods_why(&seen, &status, why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods_follow),
        cmocka_unit_test(test_pods_follow_gives_a_start_its_time),
        cmocka_unit_test(test_pods_follow_counts_ends_and_forgives_them),
        cmocka_unit_test(test_pods_observe),
        cmocka_unit_test(test_pod_classify),
        cmocka_unit_test(test_pods_follow_leaves_a_gate_to_the_planner),
        cmocka_unit_test(test_pods_count_what_is_there),
        cmocka_unit_test(test_pods_count_ready_what_is_ready),
        cmocka_unit_test(test_pods_why_a_node_makes_no_containers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
