/* A kubeconfig: any bytes give either a config that can be used, or an error in one printable line.
 */
#include "controller/kube/kube_config.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct kube_config *c)
{
    assert(strncmp(c->server, "http", 4) == 0 && c->ns[0] != '\0' && c->origin != NULL);
    assert((c->cert.file != NULL || c->cert.data != NULL) ==
           (c->key.file != NULL || c->key.data != NULL));
    assert(!c->insecure || (c->ca.file == NULL && c->ca.data == NULL));
    if (c->exec != NULL) {
        assert(c->exec->command[0] != '\0' && c->exec->args != NULL && c->exec->env != NULL);
        for (char **e = c->exec->env; *e != NULL; e++) {
            assert(strchr(*e, '=') != NULL && (*e)[0] != '=');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_config *config = NULL;
    struct err err = {0};
    int r = kube_config_parse((const char *)data, size, "f", NULL, &config, &err);

    if (r == 0) {
        struct kube_config *copy = kube_config_copy(config);
        check_config(config);
        kube_config_free(config);
        check_config(copy);
        kube_config_free(copy);
        return 0;
    }
    assert((r == -EINVAL || r == -ENOENT) && config == NULL && err.text[0] != '\0');
    for (const char *c = err.text; *c != '\0'; c++) {
        assert((unsigned char)*c >= ' ');
    }
    return 0;
}
