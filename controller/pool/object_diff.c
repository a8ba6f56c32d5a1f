/* What changed between two pools, and what that costs. */
#include "controller/pool/object_rules.h"

#include <errno.h>
#include <string.h>

/* What a change of a field costs; the first prefix that fits counts. */
static const struct {
    const char *prefix;
    unsigned change;
} costs[] = {
    {"spec.replicas", POOL_CHANGED_REPLICAS},
    {"spec.network.gateway", POOL_CHANGED_INSTANCE},
    {"spec.openvpn.bytecountSeconds", POOL_CHANGED_LIVE},
    {"spec.openvpn.", POOL_CHANGED_INSTANCE},
    {"spec.auth.", POOL_CHANGED_LIVE},
    {"spec.drain.", POOL_CHANGED_LIVE},
    {"spec.throttle.", POOL_CHANGED_LIVE},
    {"spec.rollout.", POOL_CHANGED_LIVE},
    {"spec.haproxy.", POOL_CHANGED_HAPROXY},
    {"spec.connectProxy.", POOL_CHANGED_SERVICES},
    {"spec.state.", POOL_CHANGED_SERVICES},
    {"spec.kubernetes.sidecarImage", POOL_CHANGED_LIVE}, /* patched in place */
    {"spec.kubernetes.balancers", POOL_CHANGED_LIVE},
    {"spec.kubernetes.state", POOL_CHANGED_LIVE},
    {"spec.kubernetes.", POOL_CHANGED_INSTANCE},
    {"", POOL_CHANGED_FIXED}, /* name, subnets, local ports: addresses of what runs */
};

static unsigned cost_of(const char *path)
{
    size_t i = 0;

    while (strncmp(path, costs[i].prefix, strlen(costs[i].prefix)) != 0) {
        i++;
    }
    return costs[i].change;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_subnet(const struct subnet *a, const struct subnet *b)
{
    return a->network == b->network && a->prefix_len == b->prefix_len;
}

static bool same_value(const struct field *f, const char *a, const char *b)
{
    const void *left = a + f->offset, *right = b + f->offset;

    switch (f->kind) {
    case FIELD_STR:
    case FIELD_PATH:
    case FIELD_HOST:
    case FIELD_WORDS:
    case FIELD_NAME:
    case FIELD_HOST_PORT:
    case FIELD_NAMES:
    case FIELD_LABELS:
    case FIELD_ANNOTATIONS:
    case FIELD_JSON_MAP:
    case FIELD_JSON_LIST:
        return same_text(*(char *const *)left, *(char *const *)right);
    case FIELD_U8:
        return memcmp(left, right, sizeof(uint8_t)) == 0;
    case FIELD_U16:
        return memcmp(left, right, sizeof(uint16_t)) == 0;
    case FIELD_U32:
    case FIELD_ADDRESS:
        return memcmp(left, right, sizeof(uint32_t)) == 0;
    case FIELD_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case FIELD_RATE:
        return memcmp(left, right, sizeof(uint64_t)) == 0;
    case FIELD_ENUM:
        return memcmp(left, right, sizeof(int)) == 0;
    case FIELD_SUBNET:
        return same_subnet(left, right);
    case FIELD_OBJECT: /* its fields are compared */
    case FIELD_IGNORED:
    case FIELD_LITERAL:
        return true;
    }
    return true;
}

static unsigned compare(const struct field *fields, const char *path, const struct pool_object *a,
                        const struct pool_object *b, struct buf *changed)
{
    unsigned changes = 0;

    for (const struct field *f = fields; f->name != NULL; f++) {
        char inner[FAULT_PATH_MAX];
        yaml_path_join(inner, path, f->name);
        if (f->kind == FIELD_OBJECT) {
            changes |= compare(f->fields, inner, a, b, changed);
        } else if (!same_value(f, (const char *)a, (const char *)b)) {
            changes |= cost_of(inner);
            buf_printf(changed, "%s%s", changed->len > 0 ? ", " : "", inner);
        }
    }
    return changes;
}

unsigned pool_object_diff(const struct pool_object *a, const struct pool_object *b)
{
    char *fields = NULL;
    unsigned changes = pool_object_diff_fields(a, b, &fields);

    free(fields);
    return changes;
}

unsigned pool_object_diff_fields(const struct pool_object *a, const struct pool_object *b,
                                 char **fields)
{
    struct buf changed;

    buf_init(&changed, 65536);
    unsigned changes = compare(object_fields, "", a, b, &changed);
    *fields = buf_take(&changed);
    return changes;
}

static bool is_udp(const struct pool_object *p)
{
    return p->openvpn.protocol >= POOL_UDP;
}

static bool is_fixed(const char *path, const struct pool_object *from, const struct pool_object *to)
{
    return cost_of(path) == POOL_CHANGED_FIXED ||
           (strcmp(path, "spec.openvpn.protocol") == 0 && is_udp(from) != is_udp(to));
}

int pool_object_check_change(const char *file, const struct pool_object *from,
                             const struct pool_object *to, struct pool_errors *errors)
{
    AUTO(faults) struct faults faults;
    AUTO(str) char *fields = NULL;
    char *rest = NULL;

    faults_init(&faults, file);
    faults.name_of = to->name_of;
    (void)pool_object_diff_fields(from, to, &fields);
    for (char *path = strtok_r(fields, ", ", &rest); path != NULL;
         path = strtok_r(NULL, ", ", &rest)) {
        if (is_fixed(path, from, to)) {
            object_fault(&faults, to->origin, path,
                         "cannot change while the pool runs: stop it first");
        }
    }
    int r = faults.count > 0 ? -EINVAL : 0;
    faults_write(&faults, errors);
    return r;
}
