#include "controller/pool/object_rules.h"

#include <errno.h>
#include <string.h>

#define NETWORK "spec.network."
#define OPENVPN "spec.openvpn."
#define KUBERNETES "spec.kubernetes."

/* RFC 1123 label: what a Pod's name and an nftables table can begin with. */
static bool is_label(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
           text[0] != '-' && text[len - 1] != '-';
}

static void check_name(struct faults *f, const struct yaml_node *root, const struct pool_object *p)
{
    if (p->name != NULL && !faults_at(f, "metadata.name") && !is_label(p->name)) {
        object_fault(f, root, "metadata.name",
                     "'%.64s' is not made of lower-case letters, digits and inner dashes", p->name);
    }
}

/* Ranges that no network of ours can live in. */
static void check_base(struct faults *f, const struct yaml_node *root, const struct pool_object *p)
{
    static const struct {
        struct subnet range;
        const char *what;
    } taken[] = {
        {{0x00000000, 8}, "0.0.0.0/8, which means this host"},
        {{0x7f000000, 8}, "the loopback network 127.0.0.0/8"},
        {{0xa9fe0000, 16}, "the link-local network 169.254.0.0/16"},
        {{0xe0000000, 3}, "the multicast and reserved addresses from 224.0.0.0"},
    };

    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        if (subnet_overlaps(p->network.base, taken[i].range)) {
            object_fault(f, root, NETWORK "baseSubnet", "%s overlaps %s",
                         subnet_format(p->network.base).text, taken[i].what);
            return;
        }
    }
}

/* The first usable address of a block is the one that no device gets. */
static bool is_free(const struct pool_network *n, uint32_t address)
{
    uint32_t size = (uint32_t)1 << (32 - n->instance_prefix_len);

    return (address - n->base.network) % size == 1;
}

static void check_gateway(struct faults *f, const struct yaml_node *root,
                          const struct pool_object *p)
{
    const struct pool_network *n = &p->network;
    struct subnet block = {n->gateway & subnet_netmask(n->instance_prefix_len),
                           n->instance_prefix_len};

    if (n->gateway == 0) {
        return;
    }
    if (!subnet_contains(n->base, n->gateway)) {
        object_fault(f, root, NETWORK "gateway", "%s is not in the base subnet %s",
                     address_format(n->gateway).text, subnet_format(n->base).text);
    } else if (!is_free(n, n->gateway)) {
        object_fault(f, root, NETWORK "gateway",
                     "%s is in use in its block %s; the one that is free there is %s",
                     address_format(n->gateway).text, subnet_format(block).text,
                     address_format(block.network + 1).text);
    }
}

static void check_network(struct faults *f, const struct yaml_node *root,
                          const struct pool_object *p)
{
    const struct pool_network *n = &p->network;
    uint32_t fit = subnet_instances(n->base, n->instance_prefix_len);

    if (faults_at(f, NETWORK "baseSubnet") || faults_at(f, NETWORK "instancePrefixLength")) {
        return;
    }
    check_base(f, root, p);
    if (fit == 0) {
        object_fault(f, root, NETWORK "instancePrefixLength",
                     "an instance's /%u does not fit into the base subnet %s",
                     n->instance_prefix_len, subnet_format(n->base).text);
        return;
    }
    if (p->replicas > fit && !faults_at(f, "spec.replicas")) {
        object_fault(f, root, "spec.replicas", "%u instances of /%u do not fit into %s: %u do",
                     p->replicas, n->instance_prefix_len, subnet_format(n->base).text, fit);
    }
    if (!faults_at(f, NETWORK "gateway")) {
        check_gateway(f, root, p);
    }
}

static bool is_udp(enum pool_protocol protocol)
{
    return protocol >= POOL_UDP;
}

static void check_protocol(struct faults *f, const struct yaml_node *root,
                           const struct pool_object *p)
{
    if (faults_at(f, OPENVPN "protocol")) {
        return;
    }
    if (is_udp(p->openvpn.protocol) && p->replicas > 1) {
        object_fault(f, root, OPENVPN "protocol",
                     "udp cannot be balanced: it takes 1 replica, not %u", p->replicas);
    }
    if (!is_udp(p->openvpn.protocol) && p->openvpn.explicit_exit_notify > 0) {
        object_fault(f, root, OPENVPN "explicitExitNotify", "has a meaning with udp only");
    }
    if (is_udp(p->openvpn.protocol) && p->haproxy.proxy_protocol) {
        object_fault(f, root, "spec.haproxy.proxyProtocol", "has a meaning with tcp only");
    }
}

static void check_openvpn(struct faults *f, const struct yaml_node *root,
                          const struct pool_object *p)
{
    const struct pool_openvpn *o = &p->openvpn;

    check_protocol(f, root, p);
    if (!faults_at(f, OPENVPN "keepalive.timeoutSeconds") &&
        o->keepalive_timeout_s < 2 * o->keepalive_interval_s) {
        object_fault(f, root, OPENVPN "keepalive.timeoutSeconds",
                     "%u is less than twice %s (%u): one lost ping would end a link",
                     o->keepalive_timeout_s,
                     f->name_of != NULL ? f->name_of(OPENVPN "keepalive.intervalSeconds")
                                        : "intervalSeconds",
                     o->keepalive_interval_s);
    }
    /* Not dhFile: that says in a cluster that the Secret holds dh.pem. */
    if (o->tls.secret_name != NULL &&
        (o->tls.ca_file != NULL || o->tls.cert_file != NULL || o->tls.key_file != NULL)) {
        object_fault(f, root, OPENVPN "tls",
                     "secretName (Kubernetes) and files (one machine) exclude each other");
    }
}

static void check_rest(struct faults *f, const struct yaml_node *root, const struct pool_object *p)
{
    bool down = p->throttle.down > 0 || faults_at(f, "spec.throttle.down");
    bool up = p->throttle.up > 0 || faults_at(f, "spec.throttle.up");
    const char *map = p->haproxy.cpu_map;

    if (down != up) {
        object_fault(f, root, "spec.throttle", "has %s without %s: give both or neither",
                     down ? "down" : "up", down ? "up" : "down");
    }
    if (p->rollout.max_surge == 0 && p->rollout.max_unavailable == 0 &&
        !faults_at(f, "spec.rollout.maxSurge") && !faults_at(f, "spec.rollout.maxUnavailable")) {
        object_fault(f, root, "spec.rollout",
                     "maxSurge and maxUnavailable are both 0: nothing could ever be replaced");
    }
    if ((p->connect_proxy.cert_file != NULL) != (p->connect_proxy.key_file != NULL) &&
        !faults_at(f, "spec.connectProxy.tls.certFile") &&
        !faults_at(f, "spec.connectProxy.tls.keyFile")) {
        object_fault(f, root, "spec.connectProxy.tls", "needs both, certFile and keyFile");
    }
    if (map != NULL && strspn(map, "abcdefghijklmnopqrstuvwxyz0123456789:/-, ") != strlen(map)) {
        object_fault(f, root, "spec.haproxy.cpuMap", "'%.64s' is not a cpu-map of haproxy's", map);
    }
}

/* An image has no blanks, and names something. */
static void check_image(struct faults *f, const struct yaml_node *root, const char *path,
                        const char *image)
{
    if (image != NULL && strpbrk(image, " \t\"'") != NULL) {
        object_fault(f, root, path, "'%.64s' is not an image", image);
    }
}

/* What we select Pods by, and what we keep on them, is not for others to set. */
static bool is_ours(const char *key, bool label)
{
    return strncmp(key, "vpn.openbalena.io/", 18) == 0 ||
           (label && (strcmp(key, "app.kubernetes.io/name") == 0 ||
                      strcmp(key, "app.kubernetes.io/component") == 0));
}

static void check_keys(struct faults *f, const struct yaml_node *root, const char *path, bool label)
{
    const struct yaml_node *map = yaml_tree_locate(root, path);

    if (map == NULL || map->kind != YAML_MAP || map->key == NULL ||
        strcmp(map->key, strrchr(path, '.') + 1) != 0) {
        return;
    }
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        if (is_ours(child->key, label)) {
            faults_add(f, child->key_line, child->key_column, path, "'%.64s' is set by us",
                       child->key);
        }
    }
}

static void check_kubernetes(struct faults *f, const struct yaml_node *root,
                             const struct pool_object *p)
{
    check_image(f, root, KUBERNETES "image", p->kubernetes.image);
    check_image(f, root, KUBERNETES "sidecarImage", p->kubernetes.sidecar_image);
    check_keys(f, root, KUBERNETES "podLabels", true);
    check_keys(f, root, KUBERNETES "podAnnotations", false);
}

int pool_object_check_kubernetes(const char *file, const struct pool_object *p,
                                 struct pool_errors *errors)
{
    AUTO(faults) struct faults f;

    faults_init(&f, file);
    if (p->kubernetes.image == NULL) {
        object_fault(&f, p->origin, KUBERNETES "image", "is missing: a cluster needs an image");
    }
    if (p->openvpn.tls.secret_name == NULL) {
        object_fault(&f, p->origin, OPENVPN "tls.secretName",
                     "is missing: a cluster needs a Secret with ca.crt, tls.crt and tls.key");
    }
    int r = f.count > 0 ? -EINVAL : 0;
    faults_write(&f, errors);
    return r;
}

void object_rules_check(struct faults *f, const struct yaml_node *root, const struct pool_object *p)
{
    check_name(f, root, p);
    check_network(f, root, p);
    check_openvpn(f, root, p);
    check_rest(f, root, p);
    check_kubernetes(f, root, p);
}
