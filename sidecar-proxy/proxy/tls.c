#include "sidecar-proxy/proxy/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct file_state { /* what tells one version of a file from another */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct tls_server {
    char *cert_file;
    char *key_file;
    struct file_state seen[2]; /* as they were when read last */
    pthread_mutex_t lock;      /* of context */
    SSL_CTX *context;
};

static struct file_state state_of(const char *path)
{
    struct stat st;
    struct file_state state = {0};

    if (stat(path, &st) == 0) { /* through symlinks: Kubernetes swaps those */
        state = (struct file_state){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    }
    return state;
}

static bool same_state(const struct file_state *a, const struct file_state *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* OpenSSL's words for what went wrong last; the thread's queue is empty after. */
static int set_error(struct err *err, const char *what, const char *file)
{
    char reason[128] = "";
    unsigned long code = ERR_peek_error();
    int number = ERR_GET_LIB(code) == ERR_LIB_SYS ? -ERR_GET_REASON(code) : -EINVAL;

    ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    return err_text(err, number, "%s '%s': %s", what, file, reason);
}

/* offered: names, each behind its length. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char http11[] = "http/1.1";
    const unsigned len = sizeof(http11) - 1;

    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < offered_len; at += offered[at] + 1U) {
        if (offered[at] == len && at + len < offered_len &&
            memcmp(offered + at + 1, http11, len) == 0) {
            *chosen = offered + at + 1;
            *chosen_len = (unsigned char)len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_options(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets need no memory */
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
}

static int load_files(SSL_CTX *context, const struct tls_server *s, struct err *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_PrivateKey_file(context, s->key_file, SSL_FILETYPE_PEM) != 1) {
        return set_error(err, "key", s->key_file);
    }
    if (SSL_CTX_use_certificate_chain_file(context, s->cert_file) != 1) {
        return set_error(err, "certificate", s->cert_file);
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        ERR_clear_error();
        return err_text(err, -EINVAL, "key '%s' is not that of '%s'", s->key_file, s->cert_file);
    }
    return 0;
}

int tls_server_reload(struct tls_server *server, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL) {
        return err_text(err, -ENOMEM, "no TLS context");
    }
    set_options(context);
    server->seen[0] = state_of(server->cert_file);
    server->seen[1] = state_of(server->key_file);
    int r = load_files(context, server, err);
    if (r < 0) {
        SSL_CTX_free(context);
        return r;
    }
    pthread_mutex_lock(&server->lock);
    SSL_CTX *old = server->context;
    server->context = context;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old); /* its connections keep it */
    return 0;
}

int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *err)
{
    struct tls_server *s = xcalloc(1, sizeof(*s));

    s->cert_file = xstrdup(cert_file);
    s->key_file = xstrdup(key_file);
    pthread_mutex_init(&s->lock, NULL);
    int r = tls_server_reload(s, err);
    if (r < 0) {
        tls_server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void tls_server_free(struct tls_server *server)
{
    if (server == NULL) {
        return;
    }
    SSL_CTX_free(server->context);
    pthread_mutex_destroy(&server->lock);
    free(server->cert_file);
    free(server->key_file);
    free(server);
}

bool tls_server_changed(const struct tls_server *server)
{
    struct file_state cert = state_of(server->cert_file);
    struct file_state key = state_of(server->key_file);

    return !same_state(&cert, &server->seen[0]) || !same_state(&key, &server->seen[1]);
}

int64_t tls_server_expiry_s(const struct tls_server *server)
{
    struct tm end;
    const X509 *certificate = SSL_CTX_get0_certificate(server->context);

    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
        return 0;
    }
    return timegm(&end);
}

struct tls *tls_accept(struct tls_server *server, int fd)
{
    pthread_mutex_lock(&server->lock);
    SSL *ssl = SSL_new(server->context);
    pthread_mutex_unlock(&server->lock);
    if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ssl = NULL;
    }
    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
    }
    ERR_clear_error();
    return (struct tls *)ssl;
}

void tls_free(struct tls *tls)
{
    SSL_free((SSL *)tls);
}

int tls_shake_hands(struct tls *tls, const char **why)
{
    SSL *ssl = (SSL *)tls;

    ERR_clear_error();
    int r = SSL_do_handshake(ssl);
    if (r == 1) {
        return 1;
    }
    int error = SSL_get_error(ssl, r);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return 0;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    *why = reason != NULL ? reason : "the client left during the handshake";
    ERR_clear_error();
    return -EPROTO;
}

/* What a call that returned r <= 0 means, as recv(2) would have it. */
static ssize_t result_of(SSL *ssl, int r)
{
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        errno = errno != 0 ? errno : ECONNRESET;
        break;
    default:
        errno = EPROTO;
        break;
    }
    ERR_clear_error();
    return -1;
}

static int as_int(size_t len)
{
    return len < INT32_MAX ? (int)len : INT32_MAX;
}

ssize_t tls_recv(struct tls *tls, void *bytes, size_t size)
{
    ERR_clear_error();
    errno = 0;
    int n = SSL_read((SSL *)tls, bytes, as_int(size));
    return n > 0 ? n : result_of((SSL *)tls, n);
}

ssize_t tls_peek(struct tls *tls, void *bytes, size_t size)
{
    ERR_clear_error();
    errno = 0;
    int n = SSL_peek((SSL *)tls, bytes, as_int(size));
    return n > 0 ? n : result_of((SSL *)tls, n);
}

/* A call writes one record. */
ssize_t tls_send(struct tls *tls, const void *bytes, size_t len)
{
    size_t sent = 0;
    int n = 1;

    ERR_clear_error();
    errno = 0;
    while (sent < len && n > 0) {
        n = SSL_write((SSL *)tls, (const char *)bytes + sent, as_int(len - sent));
        sent += n > 0 ? (size_t)n : 0;
    }
    if (sent > 0 || n > 0) {
        return (ssize_t)sent;
    }
    ssize_t r = result_of((SSL *)tls, n);
    if (r == 0) { /* a write has no end in order */
        errno = EPIPE;
    }
    return -1;
}

int tls_finish(struct tls *tls)
{
    SSL *ssl = (SSL *)tls;

    if ((SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN) != 0) {
        return 0;
    }
    ERR_clear_error();
    errno = 0;
    int r = SSL_shutdown(ssl);
    return r >= 0 || result_of(ssl, r) == 0 ? 0 : -1;
}
