/* pod_view: what the driver has to know of a Pod, taken out of the API server's JSON, so that a
 * cache of thousands of Pods is small. Pure: what is missing or of another type counts as absent.
 * Source: the Pod API (v1), container states and conditions as the kubelet writes them. */
#pragma once

#include "common/json.h"

#define POD_UID_MAX 63
#define POD_NODE_MAX 253
#define POD_REASON_MAX 63
#define POD_WHY_MAX 255

#define POD_LABEL_POOL "vpn.openbalena.io/pool"
#define POD_LABEL_INDEX "vpn.openbalena.io/index"
#define POD_GATE "vpn.openbalena.io/balanced"
#define POD_ANNOTATION_TEMPLATE "vpn.openbalena.io/template"
#define POD_ANNOTATION_PARTS "vpn.openbalena.io/template-parts"
#define POD_ANNOTATION_DELETE_FIRST "vpn.openbalena.io/delete-first"
#define POD_CONTAINER_OPENVPN "openvpn"
#define POD_CONTAINER_SIDECAR "sidecar"

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };

enum container_state {
    CONTAINER_NEW,     /* was never started */
    CONTAINER_RUNNING, /* runs now */
    CONTAINER_ENDED,   /* ran, and does not: it waits for its next start, or for ever */
};

struct pod_view {       /* one allocation; texts are owned */
    char *name;         /* never NULL */
    char *pool;         /* its label; "" if it has none */
    uint32_t index;     /* its label; 0: none, or no number of 1..1024 */
    char *owner_uid;    /* of its controller; "" if it has none */
    char *owner_name;   /* "" */
    bool owner_is_pool; /* its controller is a VPNPool */
    char uid[POD_UID_MAX + 1];
    char node[POD_NODE_MAX + 1]; /* "": not scheduled */
    char ip[46];                 /* "": none yet */
    char template_hash[17];      /* annotation, "" if none */
    char *parts;                 /* annotation, "" if none */
    char *sidecar_image;         /* as in its spec, "" */
    enum pod_phase phase;
    bool deleting;
    int64_t deletion_ms;                 /* Unix: when it is expected to be gone at the latest */
    bool tainted;                        /* ... because its node does not tolerate it any more */
    char disruption[POD_REASON_MAX + 1]; /* why it is to go: "EvictionByEvictionAPI", or "" */
    bool ready, containers_ready;
    bool gate; /* the readiness gate's condition is true */
    enum container_state openvpn, sidecar;
    uint32_t restarts; /* of OpenVPN's container */
    uint32_t sidecar_restarts;
    bool pulling;                    /* a container waits for its image or for being made */
    bool delete_first;               /* a person wants this one gone first */
    char reason[POD_REASON_MAX + 1]; /* why it does not run: "Unschedulable", "ErrImagePull", "" */
    char why[POD_WHY_MAX + 1];       /* the same in somebody's own words, or "" */
};

/* pod: borrowed. NULL: it has no name or no uid. */
struct pod_view *pod_view_new(const cJSON *pod);
void pod_view_free(struct pod_view *v); /* NULL is fine */

bool pod_view_is_terminal(const struct pod_view *v); /* Failed or Succeeded: it never runs again */
/* Has it begun to run? Before, its start is the scheduler's and the node's business. */
bool pod_view_has_begun(const struct pod_view *v);
