#include "controller/kubernetes/pod_view.h"

#include "controller/kube/kube_time.h"
#include "controller/pool/object.h"

#include <stdio.h>
#include <string.h>

/* --- looking into what may be anything --- */

static const cJSON *at(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *text_at(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(at(object, key));

    return text != NULL ? text : "";
}

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(at(object, key));
}

/* Of a list of maps, the one whose key has this text. */
static const cJSON *find(const cJSON *list, const char *key, const char *text)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        if (strcmp(text_at(item, key), text) == 0) {
            return item;
        }
    }
    return NULL;
}

static void copy(char *ret, size_t size, const char *text)
{
    snprintf(ret, size, "%s", text);
}

/* --- metadata --- */

static void read_owner(struct pod_view *v, const cJSON *metadata)
{
    const cJSON *owner;

    v->owner_uid = v->owner_name = NULL;
    cJSON_ArrayForEach(owner, at(metadata, "ownerReferences"))
    {
        if (is_true(owner, "controller") && v->owner_uid == NULL) {
            v->owner_uid = xstrdup(text_at(owner, "uid"));
            v->owner_name = xstrdup(text_at(owner, "name"));
            v->owner_is_pool = strcmp(text_at(owner, "kind"), "VPNPool") == 0 &&
                               strncmp(text_at(owner, "apiVersion"), "vpn.openbalena.io/", 18) == 0;
        }
    }
    if (v->owner_uid == NULL) {
        v->owner_uid = xstrdup("");
        v->owner_name = xstrdup("");
    }
}

static uint32_t index_of(const char *label)
{
    char *end = NULL;
    unsigned long n = strtoul(label, &end, 10);
    bool plain = label[0] >= '1' && label[0] <= '9' && strspn(label, "0123456789") == strlen(label);

    return plain && *end == '\0' && n <= POOL_REPLICAS_MAX ? (uint32_t)n : 0;
}

static void read_metadata(struct pod_view *v, const cJSON *metadata)
{
    const cJSON *labels = at(metadata, "labels"), *annotations = at(metadata, "annotations");
    const char *marked = text_at(annotations, POD_ANNOTATION_DELETE_FIRST);

    v->pool = xstrdup(text_at(labels, POD_LABEL_POOL));
    v->index = index_of(text_at(labels, POD_LABEL_INDEX));
    v->parts = xstrdup(text_at(annotations, POD_ANNOTATION_PARTS));
    copy(v->template_hash, sizeof(v->template_hash), text_at(annotations, POD_ANNOTATION_TEMPLATE));
    v->delete_first = marked[0] != '\0' && strcmp(marked, "false") != 0;
    v->deleting = at(metadata, "deletionTimestamp") != NULL;
    kube_time_parse(text_at(metadata, "deletionTimestamp"), &v->deletion_ms);
    read_owner(v, metadata);
}

/* --- status --- */

static enum pod_phase phase_of(const char *text)
{
    static const char *const names[] = {
        [POD_PENDING] = "Pending",
        [POD_RUNNING] = "Running",
        [POD_SUCCEEDED] = "Succeeded",
        [POD_FAILED] = "Failed",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum pod_phase)i;
        }
    }
    return text[0] == '\0' ? POD_PENDING : POD_UNKNOWN;
}

/* The first that is said counts. */
static void say(struct pod_view *v, const char *reason, const char *why)
{
    if (v->reason[0] == '\0' && reason[0] != '\0') {
        copy(v->reason, sizeof(v->reason), reason);
        copy(v->why, sizeof(v->why), why);
    }
}

static void read_conditions(struct pod_view *v, const cJSON *conditions)
{
    const cJSON *c;

    cJSON_ArrayForEach(c, conditions)
    {
        const char *type = text_at(c, "type");
        bool yes = strcmp(text_at(c, "status"), "True") == 0;
        if (strcmp(type, "Ready") == 0) {
            v->ready = yes;
        } else if (strcmp(type, "ContainersReady") == 0) {
            v->containers_ready = yes;
        } else if (strcmp(type, POD_GATE) == 0) {
            v->gate = yes;
        } else if (strcmp(type, "DisruptionTarget") == 0 && yes) {
            copy(v->disruption, sizeof(v->disruption), text_at(c, "reason"));
            v->tainted = strcmp(v->disruption, "DeletionByTaintManager") == 0;
        } else if (strcmp(type, "PodScheduled") == 0 && !yes) {
            say(v, text_at(c, "reason"), text_at(c, "message"));
        }
    }
}

static bool waits_for_image(const char *reason)
{
    static const char *const reasons[] = {
        "ContainerCreating", "PodInitializing",   "ErrImagePull",      "ImagePullBackOff",
        "InvalidImageName",  "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (strcmp(reason, reasons[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_usual(const char *reason)
{
    return strcmp(reason, "ContainerCreating") == 0 || strcmp(reason, "PodInitializing") == 0;
}

static enum container_state read_container(struct pod_view *v, const cJSON *c)
{
    const cJSON *state = at(c, "state"), *waiting = at(state, "waiting");
    const char *reason = text_at(waiting, "reason");
    bool ran = cJSON_IsObject(at(state, "terminated")) ||
               cJSON_IsObject(at(at(c, "lastState"), "terminated"));

    if (cJSON_IsObject(at(state, "running"))) {
        return CONTAINER_RUNNING;
    }
    if (waits_for_image(reason) && !ran) {
        v->pulling = true;
    }
    if (!is_usual(reason)) {
        say(v, reason, text_at(waiting, "message"));
    }
    return ran ? CONTAINER_ENDED : CONTAINER_NEW;
}

static uint32_t restarts_of(const cJSON *container)
{
    int64_t n = 0;

    return json_int(container, "restartCount", 0, UINT32_MAX, &n, NULL) == 0 ? (uint32_t)n : 0;
}

static void read_status(struct pod_view *v, const cJSON *status)
{
    const cJSON *openvpn = find(at(status, "containerStatuses"), "name", POD_CONTAINER_OPENVPN);
    const cJSON *sidecar = find(at(status, "initContainerStatuses"), "name", POD_CONTAINER_SIDECAR);

    v->phase = phase_of(text_at(status, "phase"));
    copy(v->ip, sizeof(v->ip), text_at(status, "podIP"));
    say(v, text_at(status, "reason"), text_at(status, "message"));
    read_conditions(v, at(status, "conditions"));
    v->sidecar = read_container(v, sidecar);
    v->openvpn = read_container(v, openvpn);
    v->restarts = restarts_of(openvpn);
    v->sidecar_restarts = restarts_of(sidecar);
}

/* --- the whole --- */

struct pod_view *pod_view_new(const cJSON *pod)
{
    const cJSON *metadata = at(pod, "metadata"), *spec = at(pod, "spec");
    const char *name = text_at(metadata, "name"), *uid = text_at(metadata, "uid");

    if (name[0] == '\0' || uid[0] == '\0') {
        return NULL;
    }
    struct pod_view *v = xcalloc(1, sizeof(*v));
    v->name = xstrdup(name);
    copy(v->uid, sizeof(v->uid), uid);
    read_metadata(v, metadata);
    copy(v->node, sizeof(v->node), text_at(spec, "nodeName"));
    v->sidecar_image =
        xstrdup(text_at(find(at(spec, "initContainers"), "name", POD_CONTAINER_SIDECAR), "image"));
    read_status(v, at(pod, "status"));
    return v;
}

void pod_view_free(struct pod_view *v)
{
    if (v != NULL) {
        free(v->name);
        free(v->pool);
        free(v->owner_uid);
        free(v->owner_name);
        free(v->parts);
        free(v->sidecar_image);
        free(v);
    }
}

bool pod_view_is_terminal(const struct pod_view *v)
{
    return v->phase == POD_FAILED || v->phase == POD_SUCCEEDED;
}

bool pod_view_has_begun(const struct pod_view *v)
{
    /* OpenVPN comes after a sidecar that has started well; one that has ended did not. */
    return v->openvpn != CONTAINER_NEW || v->sidecar == CONTAINER_ENDED;
}
