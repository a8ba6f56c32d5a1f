/* What only a look at the machine can tell about a pool. */
#include "controller/pool/object.h"
#include "controller/pool/schema.h"

#include "common/secret.h"

#include <errno.h>
#include <net/if.h>
#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EXPIRY_WARNING_DAYS 14

static void auto_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void auto_x509(X509 **cert)
{
    X509_free(*cert);
}

static void auto_pkey(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void say(struct pool_errors *to, const char *file, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct pool_errors *to, const char *file, const char *field, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    if (to == NULL) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    to->count++;
    buf_printf(&to->text, "%s: %s: %s\n", file, field, text);
}

/* Never asks a person for a passphrase. */
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

/* NULL when the path is unset or can not be opened, which is said. */
static BIO *open_pem(const char *file, const char *field, const char *path,
                     struct pool_errors *errors)
{
    if (path == NULL) {
        say(errors, file, field, "is missing");
        return NULL;
    }
    errno = 0;
    BIO *bio = BIO_new_file(path, "r");
    if (bio == NULL) {
        say(errors, file, field, "'%s' can not be read: %s", path,
            strerror(errno != 0 ? errno : EIO));
    }
    ERR_clear_error();
    return bio;
}

/* Text before the PEM block is skipped, as openssl x509 -text writes it; a chain is read whole. */
static X509 *read_certificate(const char *file, const char *field, const char *path,
                              struct pool_errors *errors)
{
    AUTO(bio) BIO *bio = open_pem(file, field, path, errors);

    if (bio == NULL) {
        return NULL;
    }
    X509 *first = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    if (first == NULL) {
        say(errors, file, field, "'%s' holds no PEM certificate", path);
        ERR_clear_error();
        return NULL;
    }
    for (X509 *next; (next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL;) {
        X509_free(next);
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        say(errors, file, field, "'%s' has a broken certificate behind its first", path);
    }
    ERR_clear_error();
    return first;
}

static void check_dates(const char *file, const char *field, const char *path, const X509 *cert,
                        struct pool_errors *errors, struct pool_errors *warnings)
{
    time_t soon = time(NULL) + EXPIRY_WARNING_DAYS * 86400;

    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        say(errors, file, field, "'%s' has expired", path);
    } else if (X509_cmp_time(X509_get0_notAfter(cert), &soon) < 0) {
        say(warnings, file, field, "'%s' expires within %d days", path, EXPIRY_WARNING_DAYS);
    }
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        say(warnings, file, field, "'%s' is not valid yet", path);
    }
}

static void check_key(const char *file, const struct pool_tls *tls, X509 *cert,
                      struct pool_errors *errors)
{
    AUTO(bio) BIO *bio = open_pem(file, "spec.openvpn.tls.keyFile", tls->key_file, errors);

    if (bio == NULL) {
        return;
    }
    AUTO(pkey) EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (key == NULL) {
        say(errors, file, "spec.openvpn.tls.keyFile",
            "'%s' holds no PEM private key without a passphrase", tls->key_file);
    } else if (cert != NULL && X509_check_private_key(cert, key) != 1) {
        say(errors, file, "spec.openvpn.tls.keyFile",
            "'%s' does not belong to the certificate '%s'", tls->key_file, tls->cert_file);
    }
    ERR_clear_error();
}

static void check_dh(const char *file, const char *path, struct pool_errors *errors)
{
    AUTO(bio) BIO *bio = open_pem(file, "spec.openvpn.tls.dhFile", path, errors);

    if (bio == NULL) {
        return;
    }
    AUTO(pkey) EVP_PKEY *params = PEM_read_bio_Parameters(bio, NULL);
    if (params == NULL) {
        say(errors, file, "spec.openvpn.tls.dhFile", "'%s' holds no PEM DH parameters", path);
    }
    ERR_clear_error();
}

static void check_tls(const char *file, const struct pool_tls *tls, struct pool_errors *errors,
                      struct pool_errors *warnings)
{
    if (tls->secret_name != NULL) {
        say(errors, file, "spec.openvpn.tls.secretName",
            "is for Kubernetes; one machine needs caFile, certFile and keyFile");
        return;
    }
    AUTO(x509) X509 *ca = read_certificate(file, "spec.openvpn.tls.caFile", tls->ca_file, errors);
    AUTO(x509)
    X509 *cert = read_certificate(file, "spec.openvpn.tls.certFile", tls->cert_file, errors);
    if (ca != NULL) {
        check_dates(file, "spec.openvpn.tls.caFile", tls->ca_file, ca, errors, warnings);
    }
    if (cert != NULL) {
        check_dates(file, "spec.openvpn.tls.certFile", tls->cert_file, cert, errors, warnings);
    }
    check_key(file, tls, cert, errors);
    if (tls->dh_file != NULL) {
        check_dh(file, tls->dh_file, errors);
    }
}

struct port_range {
    const char *field;
    uint32_t first, last; /* last < first: unused */
};

static void check_ports(const char *file, const struct pool_object *p, struct pool_errors *errors)
{
    const struct port_range ranges[] = {
        {"spec.haproxy.port", p->haproxy.port, p->haproxy.port},
        {"spec.connectProxy.port", p->connect_proxy.port, p->connect_proxy.port},
        {"spec.connectProxy.metricsPort", p->connect_proxy.metrics_port,
         p->connect_proxy.metrics_port},
        {"spec.state.port", p->state_port, p->state_port},
        {"spec.local.httpPort", p->local.http_port > 0 ? p->local.http_port : 1,
         p->local.http_port},
        {"spec.local.basePort", p->local.base_port + 1U, p->local.base_port + p->replicas},
        {"spec.local.sidecarBasePort", p->local.sidecar_base_port + 1U,
         p->local.sidecar_base_port + p->replicas},
    };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        const struct port_range *a = &ranges[i];
        if (a->last > 65535) {
            say(errors, file, a->field, "%u and %u replicas end behind port 65535", a->first - 1,
                p->replicas);
        }
        for (size_t k = 0; k < i; k++) {
            const struct port_range *b = &ranges[k];
            if (a->first <= a->last && b->first <= b->last && a->first <= b->last &&
                b->first <= a->last) {
                say(errors, file, a->field, "port %u is also %s's",
                    a->first > b->first ? a->first : b->first, b->field);
            }
        }
    }
}

int pool_object_check_local(const char *file, const struct pool_object *p,
                            struct pool_errors *errors, struct pool_errors *warnings)
{
    size_t before = errors->count;

    check_tls(file, &p->openvpn.tls, errors, warnings);
    check_ports(file, p, errors);
    if (p->local.register_interface != NULL && if_nametoindex(p->local.register_interface) == 0) {
        say(errors, file, "spec.local.registerInterface", "there is no interface '%s'",
            p->local.register_interface);
    }
    return errors->count > before ? -EINVAL : 0;
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
