"""`kubectl scale`, and what must never be seen on the way."""

import ipaddress
import json
import time

from clusterlab.wait import wait_until
from clusterlab.world import NAMESPACE, ONE_RECONNECT_SECONDS, POOL, aways
from lab.subnets import Block

SCALE = "/apis/vpn.openbalena.io/v1alpha1/namespaces/%s/vpnpools/%s/scale" % (NAMESPACE, POOL)


def subnet_of(pod):
    sidecar = next(c for c in pod["spec"]["initContainers"] if c["name"] == "sidecar")
    words = sidecar.get("command", []) + sidecar.get("args", [])
    return ipaddress.ip_network(words[words.index("--subnet") + 1])


def index_of(pod):
    return int(pod["metadata"]["labels"]["vpn.openbalena.io/index"])


class History:
    """Which Pods there were at once, from a watch over the whole run."""

    def __init__(self, world):
        self.watch = world.kubectl.watch("pods", NAMESPACE,
                                         selector="vpn.openbalena.io/pool=" + POOL)

    def check(self):
        """No two Pods at any time with one index or overlapping subnets; each the subnet of its
        index. -> {name: Unix s at which it was gone}"""
        alive, gone = {}, {}
        assert self.watch.events, "nothing was seen"
        for at, kind, pod in self.watch.events:
            uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
            if kind == "DELETED":
                alive.pop(uid, None)
                gone[name] = at
                continue
            assert subnet_of(pod) == Block(index_of(pod)).network
            alive[uid] = pod
            others = [p for u, p in alive.items() if u != uid]
            for other in others:
                assert index_of(other) != index_of(pod), (name, other["metadata"]["name"])
                assert not subnet_of(other).overlaps(subnet_of(pod))
        return gone

    def close(self):
        self.watch.close()


def scale_view(world):
    return json.loads(world.kubectl.raw(SCALE))


def test_up_and_down(world):
    history = History(world)
    began = time.time()
    try:
        world.scale(5)
        wait_until(lambda: scale_view(world)["status"]["replicas"] == 5, 2, "the scale says 5")
        world.wait_pool(5)
        print("\n  three more instances serve after %.1f s" % (time.time() - began))
        more = [world.device() for _ in range(6)]
        for device in more:
            device.wait_online()
        assert len({world.on_instance(d) for d in world.devices}) >= 4
        before = {d.uuid: (world.on_instance(d), d.connections) for d in world.devices}

        began, late = time.time(), []
        world.scale(1)
        wait_until(lambda: scale_view(world)["status"]["replicas"] == 1, 2, "the scale says 1")
        assert scale_view(world)["status"]["selector"] == "vpn.openbalena.io/pool=" + POOL
        world.wait_pool(1, 120)
        names = {"%s-%d" % (POOL, index) for index in range(1, 6)} - set(world.instances())
        gone = wait_until(lambda: (lambda g: g if names <= set(g) else None)(history.check()), 10,
                          "the watch has seen them go")
        left = index_of(next(iter(world.instances().values())))
        for device in world.devices:
            was, connections = before[device.uuid]
            if was == left:
                assert device.connections == connections, "a device that need not move moved"
                continue
            device.wait_online(ONE_RECONNECT_SECONDS)
            assert device.connections == connections + 1, "it was away more than once"
            assert max(aways(device, began)) < ONE_RECONNECT_SECONDS
            late.append(device.last_online() - gone["%s-%d" % (POOL, was)])
        print("\n  back, in seconds before the end of their Pods: %s" % sorted(
            round(-s, 1) for s in late))
        assert late and max(late) < 0, "a Pod was gone before its devices were back"
        world.wait_agreed()
    finally:
        history.close()
        world.remove(*world.devices[4:])


def test_nothing_is_left_under_the_instances_that_are_gone(world):
    """Burials: the API lists no device under an id that nobody serves any more."""
    serving = {i["serviceId"] for i in world.state.instances()}
    devices = [d for d in world.api.view()["devices"] if d["is_connected_to_vpn"]]
    assert {d["is_managed_by__service_instance"] for d in devices} <= serving


def test_an_autoscaler_reads_and_writes_it(world):
    world.kubectl.apply({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "fleet"}, "spec": {
            "scaleTargetRef": {"apiVersion": "vpn.openbalena.io/v1alpha1", "kind": "VPNPool",
                               "name": POOL},
            "minReplicas": 3, "maxReplicas": 4}}, namespace=NAMESPACE)
    try:
        wait_until(lambda: world.pool()["spec"]["replicas"] == 3, 60, "it has scaled the pool")
        world.wait_pool(3)

        def able():
            status = world.kubectl.get("hpa", "fleet", NAMESPACE)["status"]
            return {c["type"]: c["status"] for c in status.get("conditions", [])}.get(
                "AbleToScale") == "True" and status["currentReplicas"] == 3
        wait_until(able, 40, "it sees the pool's scale")
    finally:
        world.kubectl.run("-n", NAMESPACE, "delete", "hpa", "fleet")
