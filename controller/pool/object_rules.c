#include "controller/pool/object_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The node at a dotted path, or the nearest one above it that exists. */
static const struct yaml_node *locate(const struct yaml_node *root, const char *path)
{
    const struct yaml_node *at = root;

    while (*path != '\0') {
        char key[64];
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        const struct yaml_node *inner = yaml_tree_get(at, key);
        if (inner == NULL) {
            break;
        }
        at = inner;
        path += len + (path[len] == '.');
    }
    return at;
}

#define RULE_ERROR(r, root, path, ...)                              \
    do {                                                            \
        const struct yaml_node *at_ = locate(root, path);           \
        schema_error(r, at_->line, at_->column, path, __VA_ARGS__); \
    } while (0)

/* RFC 1123 label: what a Pod's name and an nftables table can begin with. */
static bool is_label(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
           text[0] != '-' && text[len - 1] != '-';
}

static void check_name(struct schema_reader *r, const struct yaml_node *root,
                       const struct pool_object *p)
{
    if (!is_label(p->name)) {
        RULE_ERROR(r, root, "metadata.name",
                   "'%.64s' is not made of lower-case letters, digits and inner dashes", p->name);
    }
}

/* Is the address one that a device or the far end of a link would get? */
static bool is_taken(const struct pool_network *n, uint32_t address)
{
    uint32_t size = (uint32_t)1 << (32 - n->instance_prefix_len);
    uint32_t host = (address - n->base.network) % size;

    return host >= 2 && host <= size - 2;
}

static void check_network(struct schema_reader *r, const struct yaml_node *root,
                          const struct pool_object *p)
{
    const struct pool_network *n = &p->network;
    uint32_t fit = subnet_instances(n->base, n->instance_prefix_len);

    if (fit == 0) {
        RULE_ERROR(r, root, "spec.network.instancePrefixLength",
                   "/%u is larger than the base subnet %s", n->instance_prefix_len,
                   subnet_format(n->base).text);
        return;
    }
    if (p->replicas > fit) {
        RULE_ERROR(r, root, "spec.replicas", "%u instances of /%u do not fit into %s, %u do",
                   p->replicas, n->instance_prefix_len, subnet_format(n->base).text, fit);
    }
    if (n->gateway == 0) {
        return;
    }
    if (!subnet_contains(n->base, n->gateway)) {
        RULE_ERROR(r, root, "spec.network.gateway", "%s is not in the base subnet %s",
                   address_format(n->gateway).text, subnet_format(n->base).text);
    } else if (is_taken(n, n->gateway)) {
        RULE_ERROR(r, root, "spec.network.gateway",
                   "%s is an address for devices; the first usable one of a block is free: %s",
                   address_format(n->gateway).text, address_format(n->base.network + 1).text);
    }
}

static bool is_udp(enum pool_protocol protocol)
{
    return protocol >= POOL_UDP;
}

static void check_openvpn(struct schema_reader *r, const struct yaml_node *root,
                          const struct pool_object *p)
{
    const struct pool_openvpn *o = &p->openvpn;

    if (is_udp(o->protocol) && p->replicas > 1) {
        RULE_ERROR(r, root, "spec.openvpn.protocol",
                   "udp can not be balanced: it needs replicas 1, not %u", p->replicas);
    }
    if (!is_udp(o->protocol) && o->explicit_exit_notify > 0) {
        RULE_ERROR(r, root, "spec.openvpn.explicitExitNotify", "means something with udp only");
    }
    if (o->keepalive_timeout_s < 2 * o->keepalive_interval_s) {
        RULE_ERROR(r, root, "spec.openvpn.keepalive.timeoutSeconds",
                   "%u is less than twice intervalSeconds (%u): a single lost ping would end it",
                   o->keepalive_timeout_s, o->keepalive_interval_s);
    }
    if (o->tls.secret_name != NULL &&
        (o->tls.ca_file != NULL || o->tls.cert_file != NULL || o->tls.key_file != NULL)) {
        RULE_ERROR(r, root, "spec.openvpn.tls",
                   "secretName (Kubernetes) and files (one machine) exclude each other");
    }
}

static void check_rest(struct schema_reader *r, const struct yaml_node *root,
                       const struct pool_object *p)
{
    if ((p->throttle.down == 0) != (p->throttle.up == 0)) {
        RULE_ERROR(r, root, "spec.throttle", "needs both down and up, or neither");
    }
    if (p->rollout.max_surge == 0 && p->rollout.max_unavailable == 0) {
        RULE_ERROR(r, root, "spec.rollout",
                   "maxSurge and maxUnavailable are both 0: nothing could ever be replaced");
    }
    if (p->haproxy.cpu_map != NULL &&
        strspn(p->haproxy.cpu_map, "abcdefghijklmnopqrstuvwxyz0123456789:/-, ") !=
            strlen(p->haproxy.cpu_map)) {
        RULE_ERROR(r, root, "spec.haproxy.cpuMap", "'%.64s' is not a cpu-map of haproxy's",
                   p->haproxy.cpu_map);
    }
}

void object_rules_check(struct schema_reader *r, const struct yaml_node *root,
                        const struct pool_object *p)
{
    if (root->kind != YAML_MAP) {
        return;
    }
    check_name(r, root, p);
    check_network(r, root, p);
    check_openvpn(r, root, p);
    check_rest(r, root, p);
}
