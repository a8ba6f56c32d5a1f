"""The cluster itself: what the other tests rely on is there."""

import json

import pytest

from clusterlab.kubectl import Failed
from clusterlab.wait import wait_until
from clusterlab.world import condition, is_ready
from lab.netns import Namespace, join

SPACE = "harness"

OPENVPN = {
    "name": "openvpn", "imagePullPolicy": "Never", "command": ["vpn-openvpn"],
    "args": ["--dev", "tun1", "--dev-type", "tun", "--ifconfig", "100.64.0.1", "100.64.0.2",
             "--proto", "tcp-server", "--port", "1194"],
    "env": [{"name": "VPN_NFT_RULES", "value": "table inet harness {\n}"}],
    "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
    "volumeMounts": [{"name": "tun", "mountPath": "/dev/net/tun"},
                     {"name": "run", "mountPath": "/run/openvpn"}]}

SIDECAR = {
    "name": "sidecar", "imagePullPolicy": "Never", "restartPolicy": "Always",
    "command": ["vpn-state", "--listen", "0.0.0.0:8090"],
    "env": [{"name": "VPN_SERVICE_API_KEY", "value": "key"}],
    "securityContext": {"runAsUser": 65532, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]}}}


def pod_spec(image, **openvpn):
    return {"terminationGracePeriodSeconds": 5,
            "initContainers": [{**SIDECAR, "image": image}],
            "containers": [{**OPENVPN, "image": image, **openvpn}],
            "volumes": [{"name": "run", "emptyDir": {}},
                        {"name": "tun", "hostPath": {"path": "/dev/net/tun",
                                                     "type": "CharDevice"}}]}


@pytest.fixture(scope="module")
def kubectl(cluster):
    kubectl = cluster.kubectl()
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield kubectl
    kubectl.run("delete", "namespace", SPACE, "--timeout=60s")


@pytest.fixture(scope="module")
def deployment(kubectl, image):
    """Two Pods, one a node, behind a node port."""
    labels = {"app": "pair"}
    spec = pod_spec(image)
    spec["topologySpreadConstraints"] = [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels}}]
    kubectl.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pair"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pair"}, "spec": {
            "type": "NodePort", "selector": labels,
            "ports": [{"name": "http", "port": 8090, "nodePort": 30090}]}}, namespace=SPACE)
    kubectl.run("-n", SPACE, "rollout", "status", "deployment/pair", "--timeout=60s")
    return lambda: kubectl.get("pods", namespace=SPACE, selector="app=pair")


def test_a_pod_has_its_tun_its_rules_and_names(cluster, deployment, kubectl):
    pods = deployment()
    assert {p["spec"]["nodeName"] for p in pods} == {n.name for n in cluster.nodes}
    inside = kubectl.run("-n", SPACE, "exec", "deployment/pair", "-c", "openvpn", "--", "sh", "-c",
                         "ip -o link show tun1; nft list tables; getent hosts kubernetes.default")
    assert "tun1" in inside and "table inet harness" in inside and "10.96.0.1" in inside


def test_the_image_is_small_and_has_every_program(deployment, kubectl):
    words = kubectl.run("-n", SPACE, "exec", "deployment/pair", "-c", "openvpn", "--", "sh", "-c",
                        "du -xsk / 2>/dev/null; ls /usr/bin /usr/lib/*/libnss_openvpn.so.2").split()
    megabytes = int(words[0]) * 1024 / 1e6
    print("\n  %.0f MB" % megabytes)
    assert megabytes < 120
    for program in ("controller", "sidecar", "state", "connect-proxy", "balancer", "openvpn"):
        assert "vpn-" + program in words
    assert any(word.endswith("libnss_openvpn.so.2") for word in words)


def test_openvpn_does_not_start_without_its_wall(kubectl, image):
    for name, rules in (("wrong", "no rules"), ("empty", "")):
        spec = pod_spec(image, env=[{"name": "VPN_NFT_RULES", "value": rules}])
        spec["restartPolicy"] = "Never"
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec},
                      namespace=SPACE)

        def ended():
            status = kubectl.get("pod", name, SPACE)["status"]
            return status.get("containerStatuses", [{}])[0].get("state", {}).get("terminated")
        assert wait_until(ended, 30, "openvpn ended")["exitCode"] != 0
        kubectl.run("-n", SPACE, "delete", "pod", name)


@pytest.mark.own
def test_from_outside_through_the_front(cluster, deployment):
    outside = Namespace.create(cluster.name + "-d1")
    try:
        gateway, _ = join(cluster.lan, "eth0", outside, 1, cluster.name + "-d1", cluster.network)
        outside.run("ip", "route", "add", "default", "via", gateway)

        def answers():
            connection = outside.http(cluster.front.address, 30090, 3)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        for _ in range(4):  # both nodes in turn
            wait_until(answers, 10, "the front answers")
    finally:
        outside.delete()


@pytest.mark.own
def test_a_node_that_is_cut_off_and_comes_back(cluster, deployment, kubectl):
    node = cluster.nodes[1]
    lost = next(p for p in deployment() if p["spec"]["nodeName"] == node.name)
    ready = lambda: condition(kubectl.get("node", node.name), "Ready")  # noqa: E731
    cluster.cut_off(node)
    try:
        wait_until(lambda: ready() != "True", 40, "the node is known to be lost")
        wait_until(lambda: "deletionTimestamp" in kubectl.get(
            "pod", lost["metadata"]["name"], SPACE)["metadata"], 30, "its Pod is given up")
        wait_until(lambda: sum(map(is_ready, deployment())) == 2, 30, "another Pod serves")
    finally:
        cluster.reconnect(node)
    wait_until(lambda: ready() == "True", 40, "the node is back")
    wait_until(lambda: kubectl.get("pod", lost["metadata"]["name"], SPACE) is None, 40,
               "its old Pod is gone")
    wait_until(lambda: sum(map(is_ready, deployment())) == 2, 30, "two Pods serve")


def test_drain_and_uncordon(cluster, deployment, kubectl):
    node, *others = [n.name for n in cluster.nodes]
    kubectl.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s",
                "--pod-selector=app=pair")
    wait_until(lambda: {p["spec"]["nodeName"] for p in deployment() if is_ready(p)} == set(others), 30,
               "all are on the other node")
    kubectl.run("uncordon", node)


@pytest.mark.own
def test_the_audit_log_tells_who_was_refused(cluster, kubectl):
    with pytest.raises(Failed, match="forbidden"):
        kubectl.run("--as=system:serviceaccount:harness:default", "-n", SPACE, "get", "secrets")
    events = map(json.loads, cluster.control_plane.audit_log.read_text().splitlines())
    refused = [e for e in events if e["annotations"].get("authorization.k8s.io/decision") == "forbid"
               and e.get("impersonatedUser", {}).get("username", "").endswith(":harness:default")]
    assert refused and refused[-1]["objectRef"]["resource"] == "secrets"
