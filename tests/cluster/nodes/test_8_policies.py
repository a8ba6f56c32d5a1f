"""Who may talk to whom, as the chart's README says, where something enforces NetworkPolicies."""

import os

import pytest

from clusterlab.wait import wait_until
from clusterlab.world import IMAGE, NAMESPACE, RELEASE, is_ready

pytestmark = pytest.mark.skipif(not os.environ.get("VPN_CLUSTER_ENFORCER"),
                                reason="nothing enforces NetworkPolicies: VPN_CLUSTER_ENFORCER")

PORTS = {"instance": (1194, 3128, 8080), "state": (8090,), "connect-proxy": (3128, 8091),
         "controller": (8081,), "haproxy": (1194, 8404, 8082)}
EVERYBODY = {"connect-proxy:3128", "haproxy:1194"}
MONITORING = {"instance:8080", "state:8090", "connect-proxy:8091", "controller:8081", "haproxy:8404",
              "haproxy:8082"}
# One line for each that answers; with a shell, because that is what the image has.
ASK = 'for at; do (timeout 2 bash -c "</dev/tcp/${at%:*}/${at##*:}" && echo "$at") 2>/dev/null & done; wait'


class Pods:
    """On every node one that only sleeps."""

    def __init__(self, world, space, labels=None):
        self.world, self.space = world, space
        world.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        self.names = {node.name: "asks-" + node.name for node in world.cluster.nodes}
        world.kubectl.apply(*(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
             "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [
                 {"name": "asks", "image": IMAGE, "imagePullPolicy": "Never",
                  "command": ["sleep", "infinity"]}]}}
            for node, name in self.names.items()), namespace=space)
        wait_until(lambda: all(is_ready(world.kubectl.get("pod", name, space))
                               for name in self.names.values()), 60, "they run")

    def reach(self, targets):
        """Names of {name: addresses} of which an address answers on any node's Pod."""
        addresses = {a: name for name, found in targets.items() for a in found}
        return {addresses[line] for name in self.names.values() for line in self.world.kubectl.run(
            "-n", self.space, "exec", name, "--", "bash", "-c", ASK, "asks", *addresses).split()}

    def delete(self):
        self.world.kubectl.run("-n", self.space, "delete", "pod", *self.names.values())
        if self.space != NAMESPACE:
            self.world.kubectl.run("delete", "namespace", self.space)


@pytest.fixture
def pods(world):
    made = []

    def make(*args):
        made.append(Pods(world, *args))
        return made[-1]
    yield make
    for each in made:
        each.delete()


def ours(world):
    """{"haproxy:1194": addresses of the Pods that are ready}"""
    return {"%s:%d" % (part, port): ["%s:%d" % (p["status"]["podIP"], port)
                                     for p in world.component(part) if is_ready(p)]
            for part, ports in PORTS.items() for port in ports}


@pytest.mark.parametrize("space, may", [(NAMESPACE, EVERYBODY), ("other", EVERYBODY),
                                        ("monitoring", EVERYBODY | MONITORING)])
def test_who_gets_in(world, pods, space, may):
    asking, targets = pods(space), ours(world)
    wait_until(lambda: asking.reach(targets) == may, 20, "just these are reached", 1)


def test_it_is_the_policies_that_refuse(world, pods):
    asking, targets = pods("other"), ours(world)
    kept = world.kubectl.get("networkpolicies", namespace=NAMESPACE)
    world.kubectl.run("-n", NAMESPACE, "delete", "networkpolicies", "--all")
    try:
        wait_until(lambda: asking.reach(targets) == set(targets), 20, "everything is reached", 1)
    finally:
        for policy in kept:
            policy["metadata"] = {key: policy["metadata"][key] for key in ("name", "labels", "annotations")}
        world.kubectl.apply(*kept, namespace=NAMESPACE)
    wait_until(lambda: asking.reach(targets) == EVERYBODY, 20, "it is refused again", 1)


@pytest.mark.parametrize("part, may", [
    ("instance", {"dns", "api", "state"}), ("setup", {"dns", "kubernetes"}), ("test", {"dns"}),
    ("none of ours", {"dns", "api", "kubernetes"})])
def test_who_gets_out(world, pods, part, may):
    """Pods with the labels of a part."""
    asking = pods(NAMESPACE, {"app.kubernetes.io/name": "openbalena-vpn",
                              "app.kubernetes.io/instance": RELEASE,
                              "app.kubernetes.io/component": part.replace(" ", "-")})
    targets = {"dns": ["10.96.0.10:53"], "api": [world.api_address],
               "kubernetes": [world.cluster.api_host + ":6443"], "state": ours(world)["state:8090"]}
    wait_until(lambda: asking.reach(targets) == may, 20, "just these are reached", 1)
