"""`helm upgrade`: what changes decides what is touched."""

import collections
import secrets
import threading
import time

from clusterlab.image import load
from clusterlab.wait import wait_until
from clusterlab.world import IMAGE, NAMESPACE, POOL, REGISTRY, REPOSITORY, restarts
from test_2_scale import History

NEXT = IMAGE + "-next"


def sidecar_image(pod):
    return next(c["image"] for c in pod["spec"]["initContainers"] if c["name"] == "sidecar")


def tag_next(world):
    """The same image under another name, on every node."""
    if not world.cluster.own:
        load(world.cluster, NEXT)
        return
    for node in world.cluster.nodes:
        node.ctr("images", "tag", "--force", IMAGE, NEXT)


def uids(world):
    return {n: p["metadata"]["uid"] for n, p in world.instances().items()}


def test_a_sidecar_image_alone_ends_no_openvpn(world):
    tag_next(world)
    before, connections = uids(world), [d.connections for d in world.devices]
    openvpn = {n: restarts(p)["openvpn"] for n, p in world.instances().items()}
    world.install(pool={"sidecarImage": NEXT})
    wait_until(lambda: {sidecar_image(p) for p in world.instances().values()} == {NEXT}, 60,
               "every sidecar is the next one")
    wait_until(lambda: all(restarts(p)["sidecar"] > 0 for p in world.instances().values()), 60,
               "every sidecar was started anew")
    world.wait_pool(2)
    assert uids(world) == before
    assert {n: restarts(p)["openvpn"] for n, p in world.instances().items()} == openvpn
    assert [d.connections for d in world.devices] == connections
    world.wait_agreed(10)
    world.install()


def test_other_openvpn_settings_roll_one_by_one(world):
    before, connections = uids(world), {d.uuid: d.connections for d in world.devices}
    history = History(world)
    world.install(pool={"openvpn": {"handWindowSeconds": 61}})
    try:
        wait_until(lambda: not set(uids(world).values()) & set(before.values())
                   and len(uids(world)) == 2, 180, "every Pod is another one")
        world.wait_pool(2)
        for device in world.devices:
            device.wait_online(60, more_than=connections[device.uuid])
        world.wait_agreed(10)
        history.check()
        moves = {d.number: d.connections - connections[d.uuid] for d in world.devices}
        print("\n  reconnects by device: %s" % moves)
        assert set(moves.values()) == {1}, "each is away once"
        status = world.pool()["status"]
        assert {c["type"]: c["status"] for c in status["conditions"]}["Available"] == "True"
    finally:
        history.close()


def test_an_upgrade_keeps_what_was_scaled(world):
    world.scale(3)
    world.wait_pool(3)
    world.install(pool={"openvpn": {"handWindowSeconds": 61}})
    assert world.pool()["spec"]["replicas"] == 3


def test_an_image_that_does_not_start_stops_the_roll(world):
    before = uids(world)
    connections = [d.connections for d in world.devices]
    world.install(pool={"openvpnImage": "%s/%s:there-is-none" % (REGISTRY, REPOSITORY),
                        "openvpn": {"handWindowSeconds": 61}})

    def told():
        conditions = {c["type"]: c for c in world.pool()["status"]["conditions"]}
        return conditions["Degraded"]["status"] == "True" and conditions["Degraded"]["message"]
    try:
        print("\n  " + wait_until(told, 90, "the pool says why it does not go on"))
        assert set(before.items()) <= set(uids(world).items()), "those that serve still do"
        assert [d.connections for d in world.devices] == connections
    finally:
        world.install(pool={"openvpnImage": IMAGE, "openvpn": {"handWindowSeconds": 61}})


class Callers:
    """One after the other, to each device in turn, until stopped. answers: {status: count}"""

    def __init__(self, world):
        self.world = world
        self.answers = collections.Counter()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            for device in self.world.devices:
                try:
                    with self.world.connect(device, timeout=15) as answer:
                        self.answers[answer.status] += 1
                except (OSError, RuntimeError) as failure:
                    self.answers[str(failure)] += 1
                time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def test_the_service_key_is_replaced(world):
    """Parts with the old key and parts with both talk to each other for a while. All that callers
    may meet is a device that is just being moved. The next test's Pods have the new key alone."""
    before, connections = uids(world), {d.uuid: d.connections for d in world.devices}
    old, new = world.keys["VPN_SERVICE_API_KEY"], secrets.token_hex(16)
    world.api.key("vpn-2", new, "service")
    world.keys.update({"VPN_SERVICE_API_KEY": new, "VPN_SERVICE_API_KEY_PREVIOUS": old})
    with Callers(world) as callers:
        world.install(pool={"openvpnImage": IMAGE, "openvpn": {"handWindowSeconds": 61},
                            "podAnnotations": {"example.com/key": "2"}})
        world.kubectl.run("-n", NAMESPACE, "rollout", "restart", "deployment")
        wait_until(lambda: not set(uids(world).values()) & set(before.values())
                   and len(uids(world)) == 2, 180, "every Pod is another one")
        for name in ("controller", "state", "connect-proxy", "haproxy"):
            world.kubectl.run("-n", NAMESPACE, "rollout", "status", "deployment/vpn-" + name,
                              "--timeout=120s")
        world.wait_pool(2)
        for device in world.devices:
            device.wait_online(60, more_than=connections[device.uuid])
        world.wait_agreed(10)
    print("\n  callers were answered: %s" % dict(callers.answers))
    assert set(callers.answers) <= {200, 503}
    assert callers.answers[200] > 2 * callers.answers[503]
    world.keys["VPN_SERVICE_API_KEY_PREVIOUS"] = ""


def test_the_pool_can_be_deleted(world):
    """Its Pods drain, and go. Then it is made again."""
    world.kubectl.run("-n", NAMESPACE, "delete", "vpnpool", POOL, "--wait=true", "--timeout=90s")
    wait_until(lambda: not world.instances(), 90, "its Pods are gone")
    wait_until(lambda: not world.api.connected(), 30, "the API knows that nobody is connected")
    world.install()
    world.wait_pool(2)
    for device in world.devices:
        device.wait_online(150)
