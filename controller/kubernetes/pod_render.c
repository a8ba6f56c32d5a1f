#include "controller/kubernetes/pod_render.h"

#include "controller/pool/nft.h"
#include "controller/pool/openvpn_args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RUN_DIR "/run/openvpn"
#define TLS_DIR "/etc/openvpn/tls"
#define TUN_DEVICE "/dev/net/tun"
#define CONTROL_SOCKET "unix:" RUN_DIR "/control.sock"
#define RUN_SIZE "64Mi"
#define NFT_RULES_MAX ((size_t)32 << 10)

void pod_name(const char *pool, uint32_t index, char ret[POD_NAME_MAX])
{
    snprintf(ret, POD_NAME_MAX, "%s-%u", pool, index);
}

const char *pod_sidecar_image(const struct pool_object *pool)
{
    const struct pool_kubernetes *k = &pool->kubernetes;

    return k->sidecar_image != NULL ? k->sidecar_image : k->image;
}

/* --- small words of JSON --- */

static cJSON *add_object(cJSON *parent, const char *key)
{
    return cJSON_AddObjectToObject(parent, key);
}

static cJSON *append_object(cJSON *list)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(list, o);
    return o;
}

static void put(cJSON *o, const char *key, const char *text)
{
    if (text != NULL) {
        cJSON_AddStringToObject(o, key, text);
    }
}

/* text is JSON that the object's parser has checked; NULL: nothing is put. */
static void put_json(cJSON *o, const char *key, const char *text)
{
    cJSON *value = text != NULL ? cJSON_Parse(text) : NULL;

    if (value != NULL) {
        cJSON_AddItemToObject(o, key, value);
    }
}

static void append(cJSON *list, const char *text)
{
    cJSON_AddItemToArray(list, cJSON_CreateString(text));
}

static void append_all(cJSON *list, ...) __attribute__((sentinel));

static void append_all(cJSON *list, ...)
{
    va_list args;

    va_start(args, list);
    for (const char *text; (text = va_arg(args, const char *)) != NULL;) {
        append(list, text);
    }
    va_end(args);
}

static void append_option(cJSON *list, const char *option, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void append_option(cJSON *list, const char *option, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    append_all(list, option, text, NULL);
}

/* Kubernetes would put a variable in the place of "$(NAME)". */
static void append_literal(cJSON *list, const char *text)
{
    struct buf b;

    buf_init(&b, (size_t)1 << 16);
    for (const char *p = text; *p != '\0'; p++) {
        buf_append(&b, p[0] == '$' && p[1] == '(' ? "$$" : p, p[0] == '$' && p[1] == '(' ? 2 : 1);
    }
    append(list, buf_str(&b));
    buf_clear(&b);
}

/* --- metadata --- */

/* What a person asked for first, so that ours wins where both name a key. */
static cJSON *put_map(cJSON *metadata, const char *key, const char *theirs)
{
    cJSON *map = theirs != NULL ? cJSON_Parse(theirs) : NULL;

    map = map != NULL ? map : cJSON_CreateObject();
    cJSON_AddItemToObject(metadata, key, map);
    return map;
}

static void replace(cJSON *map, const char *key, const char *text)
{
    cJSON_DeleteItemFromObjectCaseSensitive(map, key);
    cJSON_AddStringToObject(map, key, text);
}

static void put_labels(cJSON *metadata, const struct pool_object *pool, uint32_t index)
{
    cJSON *labels = put_map(metadata, "labels", pool->kubernetes.pod_labels);
    char number[16];

    snprintf(number, sizeof(number), "%u", index);
    replace(labels, "app.kubernetes.io/name", "openbalena-vpn");
    replace(labels, "app.kubernetes.io/component", "instance");
    replace(labels, POD_LABEL_POOL, pool->name);
    replace(labels, POD_LABEL_INDEX, number);
}

static void put_owner(cJSON *metadata, const struct pool_object *pool,
                      const struct pod_owner *owner)
{
    cJSON *o = append_object(cJSON_AddArrayToObject(metadata, "ownerReferences"));

    put(o, "apiVersion", "vpn.openbalena.io/v1alpha1");
    put(o, "kind", "VPNPool");
    put(o, "name", pool->name);
    put(o, "uid", owner->pool_uid);
    cJSON_AddTrueToObject(o, "controller");
    cJSON_AddTrueToObject(o, "blockOwnerDeletion");
}

static cJSON *put_metadata(cJSON *pod, const struct pool_object *pool,
                           const struct pod_owner *owner, uint32_t index)
{
    cJSON *metadata = add_object(pod, "metadata");
    char name[POD_NAME_MAX];

    pod_name(pool->name, index, name);
    put(metadata, "name", name);
    put(metadata, "namespace", owner->ns);
    put_labels(metadata, pool, index);
    put_owner(metadata, pool, owner);
    return put_map(metadata, "annotations", pool->kubernetes.pod_annotations);
}

/* --- parts of containers --- */

static void put_port(cJSON *ports, const char *name, int number)
{
    cJSON *o = append_object(ports);

    put(o, "name", name);
    cJSON_AddNumberToObject(o, "containerPort", number);
    put(o, "protocol", "TCP");
}

static void put_mount(cJSON *mounts, const char *name, const char *path, bool read_only)
{
    cJSON *o = append_object(mounts);

    put(o, "name", name);
    put(o, "mountPath", path);
    if (read_only) {
        cJSON_AddTrueToObject(o, "readOnly");
    }
}

static void put_field_env(cJSON *env, const char *name, const char *path)
{
    cJSON *o = append_object(env);

    put(o, "name", name);
    put(add_object(add_object(o, "valueFrom"), "fieldRef"), "fieldPath", path);
}

static void put_secret_env(cJSON *env, const char *name, const char *secret, bool optional)
{
    cJSON *o = append_object(env);

    put(o, "name", name);
    cJSON *ref = add_object(add_object(o, "valueFrom"), "secretKeyRef");
    put(ref, "name", secret);
    put(ref, "key", name);
    if (optional) {
        cJSON_AddTrueToObject(ref, "optional");
    }
}

static void put_probe(cJSON *container, const char *kind, const char *path, int period_s,
                      int failures)
{
    cJSON *o = add_object(container, kind);
    cJSON *get = add_object(o, "httpGet");

    put(get, "path", path);
    put(get, "port", "control");
    cJSON_AddNumberToObject(o, "periodSeconds", period_s);
    cJSON_AddNumberToObject(o, "timeoutSeconds", 3);
    cJSON_AddNumberToObject(o, "failureThreshold", failures);
}

static cJSON *put_security(cJSON *container, int64_t user)
{
    cJSON *o = add_object(container, "securityContext");

    cJSON_AddNumberToObject(o, "runAsUser", (double)user);
    cJSON_AddNumberToObject(o, "runAsGroup", (double)user);
    cJSON_AddBoolToObject(o, "runAsNonRoot", user != 0);
    cJSON_AddFalseToObject(o, "allowPrivilegeEscalation");
    cJSON_AddTrueToObject(o, "readOnlyRootFilesystem");
    cJSON *capabilities = add_object(o, "capabilities");
    append(cJSON_AddArrayToObject(capabilities, "drop"), "ALL");
    return capabilities;
}

static cJSON *put_container(cJSON *list, const struct pool_object *pool, const char *name,
                            const char *image, const char *command)
{
    cJSON *c = append_object(list);

    put(c, "name", name);
    put(c, "image", image);
    put(c, "imagePullPolicy", pool_pull_policy_name(pool->kubernetes.image_pull_policy));
    append(cJSON_AddArrayToObject(c, "command"), command);
    return c;
}

/* --- the sidecar --- */

static void put_sidecar_identity(cJSON *args, const struct pool_object *pool, uint32_t index,
                                 const struct subnet_block *block)
{
    append_all(args, "--pool", pool->name, NULL);
    append_option(args, "--index", "%u", index);
    append_all(args, "--epoch", "$(POD_UID)", "--management", RUN_DIR "/management.sock", NULL);
    append_all(args, "--subnet", subnet_format(block->subnet).text, NULL);
    append_all(args, "--control", CONTROL_SOCKET, NULL);
    append_option(args, "--control", ":%d", POD_CONTROL_PORT);
    append_option(args, "--nss", "unix:" RUN_DIR "/nss-%u.sock", index);
    append_option(args, "--record", RUN_DIR "/sidecar-%u.json", index);
    append_option(args, "--proxy-listen", ":%d", POD_PROXY_PORT);
    append_option(args, "--proxy-advertise", "$(POD_IP):%d", POD_PROXY_PORT);
    append_all(args, "--register-address",
               pool->kubernetes.register_address != NULL ? pool->kubernetes.register_address
                                                         : "$(POD_IP)",
               NULL);
}

static void put_sidecar_args(cJSON *c, const struct pool_object *pool, uint32_t index,
                             const struct subnet_block *block)
{
    cJSON *args = cJSON_AddArrayToObject(c, "args");

    put_sidecar_identity(args, pool, index, block);
    append_all(args, "--state", pool->kubernetes.state, "--drain-delay-seconds", "3",
               "--drain-linger-seconds", "10", NULL);
    append_option(args, "--auth-cache-seconds", "%u", pool->auth.cache_s);
    append_option(args, "--auth-grace-seconds", "%u", pool->auth.grace_s);
    append_option(args, "--auth-max-in-flight", "%u", pool->auth.max_in_flight);
    append_option(args, "--drain-rate-per-minute", "%u", pool->drain.rate_per_minute);
    append_option(args, "--drain-timeout-seconds", "%u", pool->drain.timeout_s);
    append_option(args, "--bytecount-seconds", "%u", pool->openvpn.bytecount_s);
}

static void put_sidecar_env(cJSON *c, const struct pool_kubernetes *k)
{
    cJSON *env = cJSON_AddArrayToObject(c, "env");

    put_field_env(env, "POD_UID", "metadata.uid");
    put_field_env(env, "POD_IP", "status.podIP");
    put_secret_env(env, "VPN_SERVICE_API_KEY", k->api_secret_name, false);
    put_secret_env(env, "VPN_SERVICE_API_KEY_PREVIOUS", k->api_secret_name, true);
    put_secret_env(env, "VPN_GUEST_API_KEY", k->api_secret_name, true);
    cJSON *from = append_object(cJSON_AddArrayToObject(c, "envFrom"));
    put(add_object(from, "configMapRef"), "name", k->api_config_map_name);
}

/* It starts before OpenVPN and ends after it. It is ready once OpenVPN's management interface and
 * the API have answered it; it is alive without either. */
static void put_sidecar(cJSON *list, const struct pool_object *pool, uint32_t index,
                        const struct subnet_block *block)
{
    cJSON *c =
        put_container(list, pool, POD_CONTAINER_SIDECAR, pod_sidecar_image(pool), "vpn-sidecar");

    put(c, "restartPolicy", "Always");
    put_sidecar_args(c, pool, index, block);
    put_sidecar_env(c, &pool->kubernetes);
    cJSON *ports = cJSON_AddArrayToObject(c, "ports");
    put_port(ports, "proxy", POD_PROXY_PORT);
    put_port(ports, "control", POD_CONTROL_PORT);
    put_probe(c, "startupProbe", "/healthz", 1, 60);
    put_probe(c, "readinessProbe", "/readyz", 2, 3);
    put_probe(c, "livenessProbe", "/healthz", 10, 6);
    put_json(c, "resources", pool->kubernetes.sidecar_resources);
    put_mount(cJSON_AddArrayToObject(c, "volumeMounts"), "run", RUN_DIR, false);
    put_security(c, POD_SIDECAR_USER);
}

/* --- OpenVPN --- */

static int put_openvpn_args(cJSON *c, const struct pool_object *pool, uint32_t index,
                            struct err *err)
{
    AUTO(str) char *status = xasprintf(RUN_DIR "/server-%u.status", index);
    struct openvpn_args args;
    struct openvpn_paths paths = {
        .program = "openvpn",
        .management = RUN_DIR "/management.sock",
        .status_file = status,
        .ca_file = TLS_DIR "/ca.crt",
        .cert_file = TLS_DIR "/tls.crt",
        .key_file = TLS_DIR "/tls.key",
        .dh_file = pool->openvpn.tls.dh_file != NULL ? TLS_DIR "/dh.pem" : NULL,
        .port = POD_VPN_PORT,
        .keep_user = true, /* without SETUID there is no other */
    };
    int r = openvpn_args_make(pool, index, &paths, &args, err);

    if (r < 0) {
        return r;
    }
    cJSON *list = cJSON_AddArrayToObject(c, "args");
    for (size_t i = 1; i < args.count; i++) { /* vpn-openvpn knows the program's name */
        append_literal(list, args.argv[i]);
    }
    openvpn_args_clear(&args);
    return 0;
}

static int put_rules(cJSON *env, const char *name, const char *pool, const struct nft_rules *rules,
                     struct err *err)
{
    AUTO(buf) struct buf text;

    buf_init(&text, NFT_RULES_MAX);
    if (nft_render(pool, rules, &text) < 0) {
        return err_text(err, -EMSGSIZE, "the firewall's rules are too long");
    }
    cJSON *o = append_object(env);
    put(o, "name", name);
    put(o, "value", buf_str(&text));
    return 0;
}

/* With limits, twice: a node whose kernel has none still gets the wall. */
static int put_openvpn_env(cJSON *c, const struct pool_object *pool, uint32_t index,
                           struct err *err)
{
    cJSON *env = cJSON_AddArrayToObject(c, "env");
    struct nft_rules rules = {.indices = &index, .count = 1};
    int r = put_rules(env, "VPN_NFT_RULES", pool->name, &rules, err);

    if (r < 0 || (pool->throttle.down == 0 && pool->throttle.up == 0)) {
        return r;
    }
    rules.down = pool->throttle.down;
    rules.up = pool->throttle.up;
    return put_rules(env, "VPN_NFT_LIMITED_RULES", pool->name, &rules, err);
}

static void put_openvpn_ending(cJSON *c)
{
    cJSON *exec = add_object(add_object(add_object(c, "lifecycle"), "preStop"), "exec");

    append_all(cJSON_AddArrayToObject(exec, "command"), "vpn-sidecar", "drain", "--control",
               CONTROL_SOCKET, NULL);
}

static int put_openvpn(cJSON *list, const struct pool_object *pool, uint32_t index, struct err *err)
{
    cJSON *c =
        put_container(list, pool, POD_CONTAINER_OPENVPN, pool->kubernetes.image, "vpn-openvpn");
    int r = put_openvpn_args(c, pool, index, err);

    if (r == 0) {
        r = put_openvpn_env(c, pool, index, err);
    }
    put_port(cJSON_AddArrayToObject(c, "ports"), "vpn", POD_VPN_PORT);
    put_openvpn_ending(c);
    put_json(c, "resources", pool->kubernetes.openvpn_resources);
    cJSON *mounts = cJSON_AddArrayToObject(c, "volumeMounts");
    put_mount(mounts, "run", RUN_DIR, false);
    put_mount(mounts, "tls", TLS_DIR, true);
    put_mount(mounts, "tun", TUN_DEVICE, false);
    append(cJSON_AddArrayToObject(put_security(c, 0), "add"), "NET_ADMIN");
    return r;
}

/* --- the Pod's spec --- */

static void put_volumes(cJSON *spec, const struct pool_object *pool)
{
    cJSON *list = cJSON_AddArrayToObject(spec, "volumes");
    cJSON *run = append_object(list), *tls = append_object(list), *tun = append_object(list);

    put(run, "name", "run");
    cJSON *memory = add_object(run, "emptyDir");
    put(memory, "medium", "Memory");
    put(memory, "sizeLimit", RUN_SIZE);
    put(tls, "name", "tls");
    cJSON *secret = add_object(tls, "secret");
    put(secret, "secretName", pool->openvpn.tls.secret_name);
    cJSON_AddNumberToObject(secret, "defaultMode", 0400);
    put(tun, "name", "tun");
    cJSON *path = add_object(tun, "hostPath");
    put(path, "path", TUN_DEVICE);
    put(path, "type", "CharDevice");
}

/* Soft: a cluster of one node is a cluster. */
static void put_usual_spread(cJSON *spec, const char *pool)
{
    static const char *const keys[] = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"};
    cJSON *list = cJSON_AddArrayToObject(spec, "topologySpreadConstraints");

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        cJSON *o = append_object(list);
        cJSON_AddNumberToObject(o, "maxSkew", 1);
        put(o, "topologyKey", keys[i]);
        put(o, "whenUnsatisfiable", "ScheduleAnyway");
        put(add_object(add_object(o, "labelSelector"), "matchLabels"), POD_LABEL_POOL, pool);
    }
}

static void put_scheduling(cJSON *spec, const struct pool_object *pool)
{
    const struct pool_kubernetes *k = &pool->kubernetes;

    put_json(spec, "nodeSelector", k->node_selector);
    put_json(spec, "tolerations", k->tolerations);
    put_json(spec, "affinity", k->affinity);
    if (k->topology_spread_constraints != NULL) {
        put_json(spec, "topologySpreadConstraints", k->topology_spread_constraints);
    } else {
        put_usual_spread(spec, pool->name);
    }
    put(spec, "priorityClassName", k->priority_class_name);
    put(spec, "runtimeClassName", k->runtime_class_name);
}

static void put_pull_secrets(cJSON *spec, const char *names)
{
    AUTO(json) cJSON *list = names != NULL ? cJSON_Parse(names) : NULL;
    const cJSON *name;

    if (list == NULL) {
        return;
    }
    cJSON *secrets = cJSON_AddArrayToObject(spec, "imagePullSecrets");
    cJSON_ArrayForEach(name, list)
    {
        put(append_object(secrets), "name", cJSON_GetStringValue(name));
    }
}

static void put_pod_security(cJSON *spec)
{
    cJSON *o = add_object(spec, "securityContext");

    cJSON_AddNumberToObject(o, "fsGroup", POD_SIDECAR_USER);
    put(add_object(o, "seccompProfile"), "type", "RuntimeDefault");
}

static int put_spec(cJSON *pod, const struct pool_object *pool, uint32_t index,
                    const struct subnet_block *block, struct err *err)
{
    cJSON *spec = add_object(pod, "spec");

    put(spec, "restartPolicy", "Always");
    cJSON_AddNumberToObject(spec, "terminationGracePeriodSeconds",
                            pool->drain.timeout_s + POD_GRACE_RESERVE_S);
    put(spec, "serviceAccountName", pool->kubernetes.service_account_name);
    cJSON_AddFalseToObject(spec, "automountServiceAccountToken");
    cJSON_AddFalseToObject(spec, "enableServiceLinks");
    put_pod_security(spec);
    put_pull_secrets(spec, pool->kubernetes.image_pull_secrets);
    put(append_object(cJSON_AddArrayToObject(spec, "readinessGates")), "conditionType", POD_GATE);
    put_scheduling(spec, pool);
    put_sidecar(cJSON_AddArrayToObject(spec, "initContainers"), pool, index, block);
    int r = put_openvpn(cJSON_AddArrayToObject(spec, "containers"), pool, index, err);
    put_volumes(spec, pool);
    return r;
}

/* --- the whole --- */

int pod_render(const struct pool_object *pool, const struct pod_owner *owner, uint32_t index,
               cJSON **ret, struct pod_template *template, struct err *err)
{
    struct subnet_block block;
    struct pod_template own;
    int r = subnet_block(pool->network.base, pool->network.instance_prefix_len, index, &block, err);

    if (r < 0) {
        return r;
    }
    template = template != NULL ? template : &own;
    AUTO(json) cJSON *pod = cJSON_CreateObject();
    put(pod, "apiVersion", "v1");
    put(pod, "kind", "Pod");
    cJSON *annotations = put_metadata(pod, pool, owner, index);
    r = put_spec(pod, pool, index, &block, err);
    if (r < 0) {
        return r;
    }
    pod_template_make(pod, template);
    replace(annotations, POD_ANNOTATION_TEMPLATE, template->hash);
    replace(annotations, POD_ANNOTATION_PARTS, template->parts);
    *ret = MOVE(pod);
    return 0;
}
