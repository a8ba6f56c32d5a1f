#include "controller/balancer/haproxy_config.h"

#include <errno.h>
#include <string.h>

#define OWN_CONNECTIONS 100 /* runtime socket, /ping and metrics beside the devices */
#define OWN_DESCRIPTORS 200 /* listeners, pollers, pipes between threads */

uint32_t haproxy_config_connections(uint64_t descriptors)
{
    uint64_t least = 2 * OWN_CONNECTIONS + OWN_DESCRIPTORS;
    uint64_t most = descriptors > least ? (descriptors - least) / 2 : 1;

    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static bool plain(const char *path)
{
    for (const char *p = path; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"'\\#$", *p) != NULL) {
            return false;
        }
    }
    return true;
}

static int render_global(const struct haproxy_config *c, struct buf *ret)
{
    int r = buf_printf(ret,
                       "global\n"
                       "    maxconn %u\n"
                       "    nbthread %u\n"
                       "    stats socket %s level admin mode 600 expose-fd listeners\n"
                       "    stats timeout 30s\n",
                       c->max_connections + OWN_CONNECTIONS, c->threads, c->runtime_socket);

    if (r == 0 && c->cpu_map != NULL) {
        r = buf_printf(ret, "    cpu-map %s\n", c->cpu_map);
    }
    if (r == 0 && c->user != NULL) {
        r = buf_printf(ret, "    user %s\n", c->user);
    }
    if (r == 0 && c->group != NULL) {
        r = buf_printf(ret, "    group %s\n", c->group);
    }
    return r;
}

/* redispatch: a device that meets an instance which has just died is passed on to another. */
static int render_devices(const struct haproxy_config *c, struct buf *ret)
{
    return buf_printf(ret,
                      "\n"
                      "defaults\n"
                      "    mode tcp\n"
                      "    timeout connect 5s\n"
                      "    timeout queue 5s\n"
                      "    timeout client %us\n"
                      "    timeout server %us\n"
                      "    retries 3\n"
                      "    option redispatch 1\n"
                      "\n"
                      "frontend devices\n"
                      "    bind %s:%u%s%s\n"
                      "    maxconn %u\n"
                      "    default_backend " HAPROXY_BACKEND "\n"
                      "\n"
                      "# Servers come and go over the runtime socket.\n"
                      "backend " HAPROXY_BACKEND "\n"
                      "    balance leastconn\n",
                      c->idle_timeout_s, c->idle_timeout_s, c->ipv6 ? "::" : "*", c->port,
                      c->ipv6 ? " v4v6" : "", c->proxy_protocol ? " accept-proxy" : "",
                      c->max_connections);
}

static int render_http(const struct haproxy_config *c, struct buf *ret)
{
    return buf_printf(
        ret,
        "\n"
        "frontend http\n"
        "    mode http\n"
        "    bind %s:%u%s\n"
        "    maxconn %u\n"
        "    timeout client 30s\n"
        "    acl serving nbsrv(" HAPROXY_BACKEND ") ge 1\n"
        "    http-request return status 200 content-type text/plain string OK if "
        "{ path /ping } serving\n"
        "    http-request return status 503 content-type text/plain string \"no instance\" if "
        "{ path /ping }\n",
        c->ipv6 ? "::" : "*", c->http_port, c->ipv6 ? " v4v6" : "", OWN_CONNECTIONS);
}

static int render_metrics(const struct haproxy_config *c, struct buf *ret)
{
    int r = buf_printf(
        ret,
        "    http-request auth realm metrics unless { http_auth(monitors) }\n"
        "    http-request use-service prometheus-exporter if { path /metrics/haproxy }\n"
        "    http-request return status 404 content-type text/plain string \"not here\" unless "
        "{ path /metrics/state /metrics/connect-proxy /metrics/controller /metrics/sidecars "
        "/cluster_metrics }\n"
        "    use_backend metrics_state if { path /metrics/state }\n"
        "    use_backend metrics_connect_proxy if { path /metrics/connect-proxy }\n"
        "    use_backend metrics_controller if { path /metrics/controller }\n"
        "    use_backend metrics_sidecars if { path /metrics/sidecars /cluster_metrics }\n"
        "\n"
        "userlist monitors\n"
        "    user monitor insecure-password \"${MONITOR_SECRET_TOKEN}\"\n");
    const struct {
        const char *name, *path;
        char *address;
    } backends[] = {
        {"state", "/metrics", xasprintf("127.0.0.1:%u", c->state_port)},
        {"connect_proxy", "/metrics", xasprintf("127.0.0.1:%u", c->connect_proxy_metrics_port)},
        {"controller", "/metrics", xasprintf("unix@%s", c->controller_socket)},
        {"sidecars", "/metrics/sidecars", xasprintf("unix@%s", c->controller_socket)},
    };

    for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
        if (r == 0) {
            r = buf_printf(ret,
                           "\n"
                           "backend metrics_%s\n"
                           "    mode http\n"
                           "    http-request set-path %s\n"
                           "    server %s %s\n",
                           backends[i].name, backends[i].path, backends[i].name,
                           backends[i].address);
        }
        free(backends[i].address);
    }
    return r;
}

int haproxy_config_render(const struct haproxy_config *c, struct buf *ret, struct err *err)
{
    if (!plain(c->runtime_socket) || (c->metrics && !plain(c->controller_socket))) {
        return err_text(err, -EINVAL, "haproxy: a path with blanks or quotes: '%s'",
                        c->runtime_socket);
    }
    int r = buf_append_str(ret, "# Written by vpn-controller; a change here is lost.\n");
    if (r == 0) {
        r = render_global(c, ret);
    }
    if (r == 0) {
        r = render_devices(c, ret);
    }
    if (r == 0 && c->http_port != 0) {
        r = render_http(c, ret);
    }
    if (r == 0 && c->http_port != 0) {
        r = c->metrics ? render_metrics(c, ret)
                       : buf_append_str(ret, "    http-request return status 404 content-type "
                                             "text/plain string \"not here\"\n");
    }
    return r < 0 ? err_set(err, r, "haproxy's configuration") : 0;
}
