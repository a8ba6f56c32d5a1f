/* A pool file: any bytes give either a pool that keeps every rule, from which OpenVPN's command
 * line can be rendered, or errors that each name the file; never both, never a crash or a leak. */
#include "controller/pool/openvpn_args.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is handed on to a Pod. */
static void check_json(const struct pool_kubernetes *k)
{
    const char *const texts[] = {
        k->image_pull_secrets, k->pod_labels,        k->pod_annotations,
        k->node_selector,      k->tolerations,       k->affinity,
        k->openvpn_resources,  k->sidecar_resources, k->topology_spread_constraints};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cJSON *value = NULL;
        assert(texts[i] == NULL || json_parse(texts[i], strlen(texts[i]), &value, NULL) == 0);
        cJSON_Delete(value);
    }
}

static void check_pool(const struct pool_object *p)
{
    static const struct openvpn_paths paths = {.program = "openvpn",
                                               .management = "m",
                                               .ca_file = "ca",
                                               .cert_file = "cert",
                                               .key_file = "key",
                                               .port = 1};
    uint32_t most = pool_object_capacity(p, false);
    struct openvpn_args args;

    assert(p->name != NULL && p->name[0] != '\0' && strlen(p->name) <= POOL_NAME_MAX);
    assert(p->replicas <= most && most <= POOL_REPLICAS_MAX);
    assert(p->network.instance_prefix_len >= SUBNET_INSTANCE_PREFIX_MIN &&
           p->network.instance_prefix_len <= SUBNET_INSTANCE_PREFIX_MAX);
    assert(p->network.gateway == 0 || subnet_contains(p->network.base, p->network.gateway));
    assert(p->openvpn.protocol <= POOL_UDP6 && p->openvpn.data_ciphers != NULL);
    assert((p->throttle.down == 0) == (p->throttle.up == 0));
    assert(p->haproxy.idle_timeout_s > 0);
    assert(pool_object_diff(p, p) == 0);
    check_json(&p->kubernetes);
    assert(openvpn_args_make(p, 1, &paths, &args, NULL) == 0);
    openvpn_args_clear(&args);
    assert(openvpn_args_make(p, most, &paths, &args, NULL) == 0);
    openvpn_args_clear(&args);
}

/* Each line names the file, then a place, and is free of control characters. */
static void check_errors(const struct pool_errors *errors)
{
    const char *text = buf_str(&errors->text);

    assert(errors->count > 0 && text[0] != '\0');
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert(strncmp(line, "f:", 2) == 0 && strchr(line, '\n') != NULL);
    }
    for (const char *c = text; *c != '\0'; c++) {
        assert((unsigned char)*c >= ' ' || *c == '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pool_object pool;
    struct pool_errors errors;

    pool_errors_init(&errors);
    int r = pool_object_parse("f", (const char *)data, size, &pool, &errors);
    if (r == 0) {
        assert(errors.count == 0);
        check_pool(&pool);
        pool_object_clear(&pool);
    } else {
        assert(r == -EINVAL);
        check_errors(&errors);
    }
    pool_errors_clear(&errors);
    return 0;
}
