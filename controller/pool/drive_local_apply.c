/* New settings for a pool that runs. */
#include "common/log.h"
#include "controller/pool/drive_local_priv.h"
#include "controller/pool/local_tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool may_change(const struct pool_object *from, const struct pool_object *to,
                       struct err *err)
{
    AUTO(str) char *fields = NULL;
    unsigned changes = pool_object_diff_fields(from, to, &fields);

    if ((changes & POOL_CHANGED_FIXED) == 0 && pool_is_udp(from) == pool_is_udp(to)) {
        return true;
    }
    (void)err_text(err, -EPERM,
                   "%.256s changed, but name, network, local ports and TCP or UDP cannot while the "
                   "pool runs: stop it first",
                   fields);
    return false;
}

int drive_local_find_addresses(struct drive_local *d, const struct pool_object *pool,
                               struct err *err)
{
    char address[16];

    if (pool->local.register_interface == NULL) {
        d->instance_host.register_address = NULL;
        free(d->self_addresses);
        d->self_addresses = xstrdup("");
    } else {
        int r = interface_address(pool->local.register_interface, address, err);
        if (r < 0) {
            return r;
        }
        memcpy(d->register_address, address, sizeof(address));
        d->instance_host.register_address = d->register_address;
        free(d->self_addresses);
        d->self_addresses = xstrdup(address);
    }
    d->programs_host.self_addresses = d->self_addresses;
    return 0;
}

/* What an instance that is started now would run with. */
static void look_at_revision(struct drive_local *d)
{
    char before[17];

    memcpy(before, d->revision, sizeof(before));
    pool_object_instance_hash(&d->pool, d->revision);
    if (before[0] != '\0' && strcmp(before, d->revision) != 0) {
        d->state.pool_not_before_ms = 0; /* what failed may be repaired: no reason to wait */
    }
}

int drive_local_certify(struct drive_local *d, struct err *err)
{
    struct err why = {0};
    int r = local_tls_write(d->options.paths, d->options.certificates, &why);

    snprintf(d->uncertified, sizeof(d->uncertified), "%s", r < 0 ? why.text : "");
    look_at_revision(d);
    return r < 0 ? err_text(err, r, "%s", why.text) : 0;
}

/* What follows at once from the new content of d->pool; the rounds do the rest. */
static int take_over(struct drive_local *d, struct err *err)
{
    int r = drive_local_find_addresses(d, &d->pool, err);

    return r == 0 && d->begun ? local_programs_refresh(d->programs, err) : r;
}

int drive_local_apply(struct drive_local *d, struct pool_object *pool, struct err *err)
{
    struct pool_object before = d->pool;

    if (!may_change(&d->pool, pool, err)) {
        return -EPERM;
    }
    d->pool = *pool;
    int r = take_over(d, err);
    if (r < 0) {
        d->pool = before;
        (void)take_over(d, NULL); /* as it was */
        return r;
    }
    *pool = (struct pool_object){0};
    look_at_revision(d);
    if (d->pool.replicas != before.replicas) {
        log_info("replicas changed", "from", NUM(before.replicas), "to", NUM(d->pool.replicas),
                 NULL);
    }
    pool_object_clear(&before);
    drive_local_round_soon(d);
    return 0;
}
