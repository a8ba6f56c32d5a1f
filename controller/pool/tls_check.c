#include "controller/pool/tls_check.h"

#include "controller/pool/object_rules.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define EXPIRY_WARNING_DAYS 14
#define CHAIN_MAX 16
#define DH_BITS_MIN 2048 /* OpenSSL's security level 2, Debian's default, takes no less */

struct check {
    const struct tls_parts *parts;
    time_t now;
    const struct yaml_node *root;
    struct faults *errors, *warnings;
};

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

#define SAY(c, list, part, fmt, ...) \
    object_fault((c)->list, (c)->root, (part)->path, "%s " fmt, (part)->what, __VA_ARGS__)

static BIO *open_part(const struct tls_part *part)
{
    BIO *bio = BIO_new_mem_buf(part->pem, part->len <= INT_MAX ? (int)part->len : INT_MAX);

    if (bio == NULL) {
        abort(); /* out of memory */
    }
    return bio;
}

/* Never asks a person for a passphrase. */
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

static void check_dates(struct check *c, const struct tls_part *part, const X509 *cert)
{
    const ASN1_TIME *end = X509_get0_notAfter(cert);
    time_t now = c->now, soon = c->now + (time_t)EXPIRY_WARNING_DAYS * 86400;

    if (X509_cmp_time(end, &now) < 0) {
        SAY(c, errors, part, "%s", "has expired");
    } else if (X509_cmp_time(end, &soon) < 0) {
        SAY(c, warnings, part, "expires in less than %d days", EXPIRY_WARNING_DAYS);
    }
    if (X509_cmp_time(X509_get0_notBefore(cert), &now) > 0) {
        SAY(c, warnings, part, "%s", "is not valid yet");
    }
}

/* The first certificate, the server's or the root; the others are only parsed and dated. */
static X509 *check_chain(struct check *c, const struct tls_part *part)
{
    AUTO(bio) BIO *bio = open_part(part);
    X509 *first = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);

    if (first == NULL) {
        SAY(c, errors, part, "%s", "holds no PEM certificate");
        return NULL;
    }
    check_dates(c, part, first);
    for (int i = 1; i < CHAIN_MAX; i++) {
        AUTO(x509) X509 *next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (next == NULL) {
            break;
        }
        check_dates(c, part, next);
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        SAY(c, errors, part, "%s", "has a broken certificate behind its first");
    }
    return first;
}

static void check_key(struct check *c, X509 *cert)
{
    const struct tls_part *part = &c->parts->key;
    AUTO(bio) BIO *bio = open_part(part);
    AUTO(pkey) EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    if (key == NULL) {
        SAY(c, errors, part, "%s", "holds no PEM private key without a passphrase");
    } else if (cert != NULL && X509_check_private_key(cert, key) != 1) {
        SAY(c, errors, part, "%s", "does not belong to the certificate");
    }
}

static void check_dh(struct check *c)
{
    const struct tls_part *part = &c->parts->dh;
    AUTO(bio) BIO *bio = open_part(part);
    AUTO(pkey) EVP_PKEY *dh = PEM_read_bio_Parameters(bio, NULL);

    if (dh == NULL) {
        SAY(c, errors, part, "%s", "holds no PEM DH parameters");
    } else if (EVP_PKEY_get_bits(dh) < DH_BITS_MIN) {
        SAY(c, errors, part, "has %d bits, OpenSSL takes no less than %d", EVP_PKEY_get_bits(dh),
            DH_BITS_MIN);
    }
}

/* Devices have "remote-cert-tls server": they leave when this is missing. */
static void check_purpose(struct check *c, X509 *cert)
{
    if ((X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) == 0 ||
        (X509_get_extended_key_usage(cert) & XKU_SSL_SERVER) == 0) {
        SAY(c, warnings, &c->parts->cert, "%s",
            "is not marked for TLS servers (extendedKeyUsage serverAuth): devices refuse it");
    }
}

/* --- who signed it --- */

static void auto_store(X509_STORE **store)
{
    X509_STORE_free(*store);
}

static void auto_store_ctx(X509_STORE_CTX **ctx)
{
    X509_STORE_CTX_free(*ctx);
}

static void auto_stack(STACK_OF(X509) * *stack)
{
    sk_X509_pop_free(*stack, X509_free);
}

static STACK_OF(X509) * read_all(const struct tls_part *part)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    AUTO(bio) BIO *bio = open_part(part);

    for (int i = 0; i < CHAIN_MAX; i++) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (cert == NULL || sk_X509_push(all, cert) == 0) {
            X509_free(cert);
            break;
        }
    }
    return all;
}

/* Devices are given the CA of the pool. Dates are checked by themselves; a CA may be one in the
 * middle. */
static bool comes_from(X509 *cert, const STACK_OF(X509) * authorities, STACK_OF(X509) * chain)
{
    AUTO(store) X509_STORE *store = X509_STORE_new();
    AUTO(store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509_STORE_add_cert(store, sk_X509_value(authorities, i));
    }
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
    return X509_STORE_CTX_init(ctx, store, cert, chain) == 1 && X509_verify_cert(ctx) == 1;
}

static void check_signer(struct check *c, X509 *cert)
{
    AUTO(stack) STACK_OF(X509) *authorities = read_all(&c->parts->ca);
    AUTO(stack) STACK_OF(X509) *chain = read_all(&c->parts->cert);

    if (sk_X509_num(authorities) > 0 && !comes_from(cert, authorities, chain)) {
        SAY(c, warnings, &c->parts->cert, "%s",
            "was not signed by the CA: devices that trust that CA refuse it");
    }
}

void tls_check(const struct tls_parts *parts, time_t now, const struct yaml_node *root,
               struct faults *errors, struct faults *warnings)
{
    struct check c = {
        .parts = parts, .now = now, .root = root, .errors = errors, .warnings = warnings};
    AUTO(x509) X509 *cert = NULL;

    if (parts->ca.pem != NULL) {
        X509_free(check_chain(&c, &parts->ca));
    }
    if (parts->cert.pem != NULL) {
        cert = check_chain(&c, &parts->cert);
    }
    if (cert != NULL) {
        check_purpose(&c, cert);
    }
    if (cert != NULL && parts->ca.pem != NULL) {
        check_signer(&c, cert);
    }
    if (parts->key.pem != NULL) {
        check_key(&c, cert);
    }
    if (parts->dh.pem != NULL) {
        check_dh(&c);
    }
    ERR_clear_error();
}
