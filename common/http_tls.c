#include "common/http_tls.h"

#include "common/http_ca.h"
#include "common/secret.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

static const char *system_bundle(void)
{
    char *path = NULL;
    CURL *easy = curl_easy_init();

    if (easy != NULL) {
        curl_easy_getinfo(easy, CURLINFO_CAINFO, &path); /* a literal of curl's build */
        curl_easy_cleanup(easy);
    }
    return path != NULL ? path : "/etc/ssl/certs/ca-certificates.crt";
}

/* Extra ones go into a file rather than a blob: a blob would stand for the system's bundle, and
 * curl keeps the parsed certificates of files only. */
static int trust_extra(struct http_tls *tls, const char *pem, struct err *err)
{
    int r = http_ca_bundle(system_bundle(), pem, &tls->ca_fd, err);

    if (r == 0) {
        tls->ca_path = xasprintf("/proc/self/fd/%d", tls->ca_fd);
    }
    return r;
}

static int trust(struct http_tls *tls, const struct http_client_options *options, struct err *err)
{
    if (options->ca_only_pem != NULL) {
        tls->only_pem = xstrdup(options->ca_only_pem);
        return http_ca_check(tls->only_pem, err);
    }
    if (options->ca_file != NULL) {
        tls->ca_path = xstrdup(options->ca_file);
        return 0;
    }
    return options->ca_pem != NULL ? trust_extra(tls, options->ca_pem, err) : 0;
}

static X509 *read_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return cert;
}

/* Nobody is there to be asked for the password of a key. */
static int no_password(char *text, int size, int writing, void *arg)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return key;
}

/* curl would say so at each call, in other words. */
static int check_pair(const char *cert_pem, const char *key_pem, struct err *err)
{
    X509 *cert = read_cert(cert_pem);
    EVP_PKEY *key = read_key(key_pem);
    int r = 0;

    if (cert == NULL) {
        r = err_text(err, -EINVAL, "client certificate is not a PEM certificate");
    } else if (key == NULL) {
        r = err_text(err, -EINVAL, "client key is not a PEM private key without a password");
    } else if (X509_check_private_key(cert, key) != 1) {
        r = err_text(err, -EINVAL, "client key is not that of the client certificate");
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return r;
}

static int identify(struct http_tls *tls, const struct http_client_options *options,
                    struct err *err)
{
    if (options->cert_pem == NULL) {
        return 0;
    }
    if (options->key_pem == NULL) {
        return err_text(err, -EINVAL, "client certificate without its key");
    }
    tls->cert_pem = xstrdup(options->cert_pem);
    tls->key_pem = xstrdup(options->key_pem);
    return check_pair(tls->cert_pem, tls->key_pem, err);
}

int http_tls_init(struct http_tls *tls, const struct http_client_options *options, struct err *err)
{
    *tls = (struct http_tls){.ca_fd = -1, .insecure = options->insecure};
    tls->name = options->tls_name != NULL ? xstrdup(options->tls_name) : NULL;
    int r = trust(tls, options, err);
    return r < 0 ? r : identify(tls, options, err);
}

void http_tls_clear(struct http_tls *tls)
{
    if (tls->ca_fd >= 0) {
        close(tls->ca_fd);
    }
    if (tls->key_pem != NULL) {
        secret_wipe(tls->key_pem, strlen(tls->key_pem));
    }
    free(tls->ca_path);
    free(tls->only_pem);
    free(tls->cert_pem);
    free(tls->key_pem);
    free(tls->name);
}

static void set_blob(CURL *easy, CURLoption option, char *text)
{
    struct curl_blob blob = {.data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};

    curl_easy_setopt(easy, option, &blob);
}

void http_tls_apply(const struct http_tls *tls, CURL *easy)
{
    /* With a directory beside the file curl would read all certificates anew for each connection
     * instead of keeping them parsed. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (tls->only_pem != NULL) {
        set_blob(easy, CURLOPT_CAINFO_BLOB, tls->only_pem);
    } else if (tls->ca_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_path);
    }
    if (tls->cert_pem != NULL) {
        set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->cert_pem);
        set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->key_pem);
    }
    if (tls->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

int http_tls_rename(const char *name, const char *original, char **url, char **host, char **to)
{
    CURLU *parts = curl_url();
    char *from_host = NULL, *from_port = NULL, *renamed = NULL;
    int r = -EINVAL;

    if (curl_url_set(parts, CURLUPART_URL, original, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &from_host, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_PORT, &from_port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_HOST, name, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_URL, &renamed, 0) == CURLUE_OK) {
        *url = xstrdup(renamed);
        *host = xasprintf("Host: %s:%s", from_host, from_port); /* brackets are in from_host */
        *to = xasprintf("::%s:%s", from_host, from_port);
        r = 0;
    }
    curl_free(from_host);
    curl_free(from_port);
    curl_free(renamed);
    curl_url_cleanup(parts);
    return r;
}
