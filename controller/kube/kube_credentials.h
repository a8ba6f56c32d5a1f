/* kube_credentials: who we are to the server and whom we trust, as it is now. Files are read anew
 * when they are used and what was read is reread_ms old; what can not be read any more stays as it
 * was. A plugin's answer is used until 10 s before it expires, or until the server refuses it.
 * Private to kube/. */
#pragma once

#include "common/loop.h"
#include "controller/kube/kube_config.h"

struct kube_credentials;

struct kube_tls {         /* borrowed: until the next call of kube_credentials_refresh() */
    const char *ca_pem;   /* NULL: the system's */
    const char *cert_pem; /* NULL: none, as is key_pem */
    const char *key_pem;
    unsigned generation; /* another one: something of it is new */
};

#define KUBE_REREAD_MS (50 * 1000) /* client-go's 60 s less its 10 s of leeway */

/* config is borrowed for its life. Reads all files once. reread_ms: 0: KUBE_REREAD_MS.
 * on_ready(arg): a plugin has answered, or failed: kube_credentials_refresh() says which. */
int kube_credentials_new(struct loop *loop, const struct kube_config *config, uint32_t reread_ms,
                         void (*on_ready)(void *arg), void *arg, struct kube_credentials **ret,
                         struct err *err);
void kube_credentials_free(struct kube_credentials *c); /* NULL is fine */

/* Before each use. 0: what the two below say is good. -EAGAIN: a plugin is being asked, on_ready
 * follows. Else: the plugin failed, and is not asked again for a few seconds. */
int kube_credentials_refresh(struct kube_credentials *c, struct err *err);
const char *kube_credentials_token(const struct kube_credentials *c); /* NULL: none */
struct kube_tls kube_credentials_tls(const struct kube_credentials *c);

/* The server answered 401 to a request that was sent with generation and token (NULL: none).
 * Returns whether others may be had: if so, refresh, and try again. */
bool kube_credentials_refused(struct kube_credentials *c, const char *token, unsigned generation);
