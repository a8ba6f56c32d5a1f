"""CoreDNS in the cluster, as objects."""

from clusterlab.control_plane import DNS_IP

IMAGE = "localhost/coredns:1"
NAMESPACE = "kube-system"
LABELS = {"k8s-app": "kube-dns"}

COREFILE = """.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        ttl 2
    }
}
"""


def meta(name, **more):
    return {"name": name, "namespace": NAMESPACE, **more}


def probe(path, port):
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 60}


def objects(replicas):
    """One for each node: a lost node does not take names away."""
    container = {
        "name": "coredns", "image": IMAGE, "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "startupProbe": probe("/ready", 8181),
        "readinessProbe": {**probe("/ready", 8181), "failureThreshold": 3}}
    spec = {"serviceAccountName": "coredns", "dnsPolicy": "Default", "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
            "tolerations": [{"operator": "Exists"}],
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": LABELS}}]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("coredns")},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
         "metadata": {"name": "coredns"}, "rules": [
             {"apiGroups": [""], "resources": ["services", "pods", "namespaces"],
              "verbs": ["list", "watch"]},
             {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
              "verbs": ["list", "watch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
         "metadata": {"name": "coredns"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                     "name": "coredns"},
         "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("coredns"),
         "data": {"Corefile": COREFILE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta("kube-dns", labels=LABELS),
         "spec": {"clusterIP": DNS_IP, "selector": LABELS, "ports": [
             {"name": "dns", "port": 53, "protocol": "UDP"},
             {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("coredns", labels=LABELS),
         "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS},
                  "template": {"metadata": {"labels": LABELS}, "spec": spec}}},
    ]
