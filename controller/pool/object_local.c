/* What only a look at the machine can tell about a pool. */
#include "controller/pool/object_rules.h"
#include "controller/pool/tls_check.h"

#include "common/buf.h"
#include "common/secret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PEM_FILE_MAX ((size_t)1 << 20)

struct look {
    const struct pool_object *pool;
    struct faults *errors, *warnings;
    size_t before; /* faults that the fields have of their own */
};

static bool was_faulty(const struct look *l, const char *path)
{
    size_t count = l->before < POOL_ERRORS_MAX ? l->before : POOL_ERRORS_MAX;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(l->errors->items[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* Or one of the objects that it is in: then it may have been given, and not been read. */
static bool is_unread(const struct look *l, const char *path)
{
    char part[FAULT_PATH_MAX];

    snprintf(part, sizeof(part), "%s", path);
    for (char *dot = part; dot != NULL; dot = strrchr(part, '.')) {
        if (dot != part) {
            *dot = '\0';
        }
        if (was_faulty(l, part)) {
            return true;
        }
    }
    return false;
}

#define SAY(l, list, path, ...)                                            \
    do {                                                                   \
        if (!was_faulty(l, path)) {                                        \
            object_fault((l)->list, (l)->pool->origin, path, __VA_ARGS__); \
        }                                                                  \
    } while (0)

/* --- certificates --- */

static int read_pem(const char *path, struct buf *ret)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        if (buf_reserve(ret, 4096) < 0) {
            return -EFBIG;
        }
        ssize_t n = read(fd, buf_end(ret), 4096);
        if (n <= 0) {
            return n < 0 ? -errno : 0;
        }
        buf_grew(ret, (size_t)n);
    }
}

/* What a field names, as a part; a file that cannot be read is said here. what: 4 KiB of text. */
static struct tls_part look_at_file(struct look *l, const char *path, const char *file,
                                    struct buf *content, struct buf *what)
{
    struct tls_part part = {.path = path};

    if (file == NULL) {
        return part;
    }
    int r = read_pem(file, content);
    if (r < 0) {
        SAY(l, errors, path, "'%s' cannot be read: %s", file, strerror(-r));
        return part;
    }
    buf_printf(what, "'%.4000s'", file);
    part.what = buf_str(what);
    part.pem = buf_str(content);
    part.len = content->len;
    return part;
}

static void want_file(struct look *l, const char *path, const char *file)
{
    if (file == NULL && !is_unread(l, path)) {
        SAY(l, errors, path, "is missing: one machine needs caFile, certFile and keyFile");
    }
}

#define TLS "spec.openvpn.tls."

static void check_tls(struct look *l)
{
    const struct pool_tls *tls = &l->pool->openvpn.tls;
    struct buf content[4], what[4];

    if (tls->secret_name != NULL) {
        SAY(l, errors, TLS "secretName",
            "is for Kubernetes: one machine needs caFile, certFile and keyFile");
        return;
    }
    want_file(l, TLS "caFile", tls->ca_file);
    want_file(l, TLS "certFile", tls->cert_file);
    want_file(l, TLS "keyFile", tls->key_file);
    for (size_t i = 0; i < ARRAY_LEN(content); i++) {
        buf_init(&content[i], PEM_FILE_MAX);
        buf_init(&what[i], 8192);
    }
    struct tls_parts parts = {
        .ca = look_at_file(l, TLS "caFile", tls->ca_file, &content[0], &what[0]),
        .cert = look_at_file(l, TLS "certFile", tls->cert_file, &content[1], &what[1]),
        .key = look_at_file(l, TLS "keyFile", tls->key_file, &content[2], &what[2]),
        .dh = look_at_file(l, TLS "dhFile", tls->dh_file, &content[3], &what[3]),
    };
    tls_check(&parts, time(NULL), l->pool->origin, l->errors, l->warnings);
    for (size_t i = 0; i < ARRAY_LEN(content); i++) {
        buf_wipe(&content[i]);
        buf_clear(&what[i]);
    }
}

#define PROXY_TLS "spec.connectProxy.tls."
#define PROXY_USER "nobody" /* when the controller is root */

/* Its mode alone: a folder on the way may still be closed, which the proxy says itself. */
static bool may_read(const char *file, const struct passwd *user)
{
    struct stat st;

    if (stat(file, &st) < 0) {
        return true; /* said by who reads it */
    }
    if (st.st_uid == user->pw_uid) {
        return (st.st_mode & S_IRUSR) != 0;
    }
    return (st.st_mode & (st.st_gid == user->pw_gid ? S_IRGRP : S_IROTH)) != 0;
}

/* The proxy reads its files itself, again whenever they change, and it is not root. */
static void want_readable(struct look *l, const char *path, const char *file)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(PROXY_USER) : NULL;

    if (file != NULL && user != NULL && !may_read(file, user)) {
        SAY(l, errors, path,
            "'%s' is not readable for the user " PROXY_USER
            ", as which the CONNECT proxy runs: chgrp and chmod",
            file);
    }
}

static void check_proxy_tls(struct look *l)
{
    const struct pool_connect_proxy *c = &l->pool->connect_proxy;
    struct buf content[2], what[2];

    for (size_t i = 0; i < ARRAY_LEN(content); i++) {
        buf_init(&content[i], PEM_FILE_MAX);
        buf_init(&what[i], 8192);
    }
    struct tls_parts parts = {
        .cert = look_at_file(l, PROXY_TLS "certFile", c->cert_file, &content[0], &what[0]),
        .key = look_at_file(l, PROXY_TLS "keyFile", c->key_file, &content[1], &what[1]),
    };
    tls_check(&parts, time(NULL), l->pool->origin, l->errors, l->warnings);
    want_readable(l, PROXY_TLS "certFile", c->cert_file);
    want_readable(l, PROXY_TLS "keyFile", c->key_file);
    for (size_t i = 0; i < ARRAY_LEN(content); i++) {
        buf_wipe(&content[i]);
        buf_clear(&what[i]);
    }
}

/* --- ports --- */

struct port_range {
    const char *path;
    uint32_t first, last; /* last < first: unused */
};

static struct port_range single(const char *path, uint32_t port)
{
    return (struct port_range){path, port > 0 ? port : 1, port};
}

#define RANGES 7

/* What listens on this machine with so many indices. */
static void list_ports(const struct pool_object *p, uint32_t indices, struct port_range ret[RANGES])
{
    const struct port_range ranges[RANGES] = {
        single("spec.haproxy.port", p->haproxy.port),
        single("spec.connectProxy.port", p->connect_proxy.port),
        single("spec.connectProxy.metricsPort", p->connect_proxy.metrics_port),
        single("spec.state.port", p->state_port),
        single("spec.local.httpPort", p->local.http_port),
        {"spec.local.basePort", p->local.base_port + 1U, p->local.base_port + indices},
        {"spec.local.sidecarBasePort", p->local.sidecar_base_port + 1U,
         p->local.sidecar_base_port + indices},
    };

    memcpy(ret, ranges, sizeof(ranges));
}

static bool collide(const struct port_range *a, const struct port_range *b)
{
    return a->first <= a->last && b->first <= b->last && a->first <= b->last && b->first <= a->last;
}

/* Is it in the file or a variable, rather than a default? */
static bool is_given(const struct look *l, const char *path)
{
    if (l->pool->name_of != NULL) {
        return getenv(l->pool->name_of(path)) != NULL;
    }
    const struct yaml_node *at = yaml_tree_locate(l->pool->origin, path);

    return at != NULL && at->key != NULL && strcmp(at->key, strrchr(path, '.') + 1) == 0;
}

/* The fault is where a person wrote something. */
static void say_collision(struct look *l, const struct port_range *a, const struct port_range *b)
{
    uint32_t port = a->first > b->first ? a->first : b->first;
    bool other = !is_given(l, a->path) && is_given(l, b->path);
    const char *path = other ? b->path : a->path, *owner = other ? a->path : b->path;

    SAY(l, errors, path, "port %u is taken by %s", port,
        l->pool->name_of != NULL ? l->pool->name_of(owner) : owner);
}

static void check_ports(struct look *l)
{
    struct port_range ranges[RANGES];

    list_ports(l->pool, l->pool->replicas, ranges);
    for (size_t i = 0; i < RANGES; i++) {
        const struct port_range *a = &ranges[i];
        if (a->last > UINT16_MAX) {
            SAY(l, errors, a->path, "%u and %u replicas pass port 65535", a->first - 1,
                l->pool->replicas);
        }
        for (size_t k = 0; k < i; k++) {
            if (collide(a, &ranges[k]) && !was_faulty(l, a->path) &&
                !was_faulty(l, ranges[k].path)) {
                say_collision(l, a, &ranges[k]);
            }
        }
    }
}

/* With so many indices, does an index's port stay clear of the others'? */
static bool ports_fit(const struct pool_object *p, uint32_t indices)
{
    struct port_range ranges[RANGES];

    list_ports(p, indices, ranges);
    for (size_t i = RANGES - 2; i < RANGES; i++) { /* the two that grow */
        if (ranges[i].last > UINT16_MAX) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (collide(&ranges[i], &ranges[k])) {
                return false;
            }
        }
    }
    return true;
}

uint32_t pool_object_capacity(const struct pool_object *p, bool local)
{
    uint32_t most = subnet_instances(p->network.base, p->network.instance_prefix_len);

    most = most < POOL_REPLICAS_MAX ? most : POOL_REPLICAS_MAX;
    while (local && most > 0 && !ports_fit(p, most)) {
        most--;
    }
    return most;
}

uint32_t pool_object_devices_max(const struct pool_object *p)
{
    struct subnet_block block;

    return subnet_block(p->network.base, p->network.instance_prefix_len, 1, &block, NULL) == 0
               ? block.count
               : 0;
}

/* --- interfaces --- */

static void check_interface(struct look *l)
{
    const char *name = l->pool->local.register_interface;

    if (name != NULL && if_nametoindex(name) == 0) {
        SAY(l, errors, "spec.local.registerInterface", "there is no interface '%s'", name);
    }
}

/* Our own are tun{index}. Another one in the base subnet would lose its traffic to them, or take
 * theirs: not certain enough to refuse, as routes decide. */
static void check_overlap(struct look *l)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0) {
        return;
    }
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET ||
            strncmp(i->ifa_name, "tun", 3) == 0) {
            continue;
        }
        uint32_t address =
            ntohl(((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr);
        if (subnet_contains(l->pool->network.base, address)) {
            SAY(l, warnings, "spec.network.baseSubnet", "%s holds %s of interface %s",
                subnet_format(l->pool->network.base).text, address_format(address).text,
                i->ifa_name);
        }
    }
    freeifaddrs(all);
}

/* --- rates --- */

#define RATE_MIN 8000ULL         /* bit/s: a ping and its answer get through */
#define RATE_MAX 100000000000ULL /* as fast as links are */

static void check_rate(struct look *l, const char *path, uint64_t rate)
{
    if (rate != 0 && (rate < RATE_MIN || rate > RATE_MAX)) {
        SAY(l, errors, path, "%llu bit/s is not in 8kbit to 100gbit", (unsigned long long)rate);
    }
}

/* --- room --- */

/* Said in time: later, when a certificate is renewed, it would come as a surprise. Variables cannot
 * change while the pool runs. */
static void check_room(struct look *l)
{
    const struct pool_object *p = l->pool;

    if (l->errors->count == 0 && p->name_of == NULL && p->replicas > 0 &&
        p->rollout.max_unavailable == 0 && p->replicas >= pool_object_capacity(p, true)) {
        bool ports = p->replicas < pool_object_capacity(p, false);
        SAY(l, warnings, "spec.replicas",
            "%u leave no index for a new instance beside an outdated one: a change of what OpenVPN "
            "runs with would wait for %s or rollout.maxUnavailable",
            p->replicas, ports ? "other base ports" : "a larger base subnet");
    }
}

void object_look(const struct pool_object *p, struct faults *errors, struct faults *warnings)
{
    struct look l = {p, errors, warnings, errors->count};

    if (p->name_of == NULL) { /* else they are in variables, which their reader has looked at */
        check_tls(&l);
    }
    check_proxy_tls(&l);
    check_rate(&l, "spec.throttle.down", p->throttle.down);
    check_rate(&l, "spec.throttle.up", p->throttle.up);
    check_ports(&l);
    check_interface(&l);
    check_overlap(&l);
    check_room(&l);
}

int pool_object_check_local(const char *file, const struct pool_object *p,
                            struct pool_errors *errors, struct pool_errors *warnings)
{
    AUTO(faults) struct faults found, soon;

    faults_init(&found, file);
    faults_init(&soon, file);
    found.name_of = p->name_of;
    soon.name_of = p->name_of;
    object_look(p, &found, &soon);
    int r = found.count > 0 ? -EINVAL : 0;
    faults_write(&found, errors);
    if (warnings != NULL) {
        faults_write(&soon, warnings);
    }
    return r;
}

/* --- what OpenVPN runs with, as a number --- */

static void add_file(EVP_MD_CTX *md, const char *path)
{
    char bytes[4096];
    FILE *f = path != NULL ? fopen(path, "re") : NULL;

    EVP_DigestUpdate(md, "\n", 1);
    if (f == NULL) {
        return;
    }
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), f)) > 0;) {
        EVP_DigestUpdate(md, bytes, n);
    }
    fclose(f);
    secret_wipe(bytes, sizeof(bytes));
}

void pool_object_instance_hash(const struct pool_object *p, char text[17])
{
    const struct pool_openvpn *o = &p->openvpn;
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    AUTO(str)
    char *words =
        xasprintf("%d %s %s %u %u %u %u %u %s", (int)o->protocol, o->data_ciphers,
                  o->openssl_providers != NULL ? o->openssl_providers : "", o->keepalive_interval_s,
                  o->keepalive_timeout_s, o->hand_window_s, o->status_interval_s,
                  o->explicit_exit_notify, address_format(p->network.gateway).text);

    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
        abort();
    }
    EVP_DigestUpdate(md, words, strlen(words));
    add_file(md, o->tls.ca_file);
    add_file(md, o->tls.cert_file);
    add_file(md, o->tls.key_file);
    add_file(md, o->tls.dh_file);
    EVP_DigestFinal_ex(md, digest, NULL);
    EVP_MD_CTX_free(md);
    for (size_t i = 0; i < 8; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}
