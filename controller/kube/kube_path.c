#include "common/buf.h"
#include "common/http_client.h"
#include "controller/kube/kube_client.h"

#define PATH_MAX_BYTES 4096

const struct kube_resource kube_pods = {"", "v1", "pods"};
const struct kube_resource kube_nodes = {"", "v1", "nodes"};
const struct kube_resource kube_leases = {"coordination.k8s.io", "v1", "leases"};
const struct kube_resource kube_endpoint_slices = {"discovery.k8s.io", "v1", "endpointslices"};
const struct kube_resource kube_events = {"events.k8s.io", "v1", "events"};

static void add_part(struct buf *path, const char *before, const char *part)
{
    AUTO(str) char *escaped = http_url_escape(part);

    (void)buf_printf(path, "%s/%s", before, escaped);
}

char *kube_path(const struct kube_resource *resource, const char *ns, const char *name,
                const char *subresource)
{
    AUTO(buf) struct buf path;

    buf_init(&path, PATH_MAX_BYTES); /* the API's names are far shorter; a longer one meets a 404 */
    if (resource->group[0] == '\0') {
        (void)buf_append_str(&path, "/api");
    } else {
        add_part(&path, "/apis", resource->group);
    }
    add_part(&path, "", resource->version);
    if (ns != NULL) {
        add_part(&path, "/namespaces", ns);
    }
    add_part(&path, "", resource->plural);
    if (name != NULL) {
        add_part(&path, "", name);
    }
    if (subresource != NULL) {
        add_part(&path, "", subresource);
    }
    return buf_take(&path);
}
