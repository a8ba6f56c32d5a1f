/* http_tls: whom a client trusts and who it is itself. Private to common/. Source:
 * CURLOPT_CAINFO_BLOB(3), CURLOPT_SSLCERT_BLOB(3), CURLOPT_CONNECT_TO(3). */
#pragma once

#include "common/http_client.h"

#include <curl/curl.h>

struct http_tls {
    char *ca_path; /* NULL: the system's bundle, or only_pem */
    int ca_fd;     /* what ca_path names, if we wrote it; else -1 */
    char *only_pem;
    char *cert_pem, *key_pem; /* both or neither */
    char *name;               /* NULL: the URL's host */
    bool insecure;
};

/* -EINVAL: something is no PEM, or the key is not the certificate's. */
int http_tls_init(struct http_tls *tls, const struct http_client_options *options, struct err *err);
void http_tls_clear(struct http_tls *tls);
/* What it points to must live as long as easy. */
void http_tls_apply(const struct http_tls *tls, CURL *easy);
/* The server is to be called name: *url and *host are the URL and the "Host:" line to use, *to the
 * CURLOPT_CONNECT_TO line. All are the caller's. -EINVAL: no such URL. */
int http_tls_rename(const char *name, const char *original, char **url, char **host, char **to);
