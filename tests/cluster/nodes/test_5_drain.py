"""`kubectl drain` of each node in turn, with the PodDisruptionBudgets on."""

import time

import pytest

from clusterlab.wait import wait_until
from clusterlab.world import ONE_RECONNECT_SECONDS, aways


@pytest.mark.parametrize("number", [0, 1])
def test_drain(world, number):
    node = world.cluster.nodes[number].name
    began = time.time()
    try:
        world.kubectl.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                          "--timeout=150s", "--pod-selector=app.kubernetes.io/name=openbalena-vpn",
                          timeout=180)
        print("\n  drained in %.0f s" % (time.time() - began))
        world.wait_agreed(5)
        for device in world.devices:
            device.wait_online(2 * ONE_RECONNECT_SECONDS)
        wait_until(lambda: node not in {p["spec"].get("nodeName")
                                        for p in world.instances().values()}, 10,
                   "instances are elsewhere")
        away = {d.number: [round(s, 1) for s in aways(d, began)] for d in world.devices}
        print("  seconds away, by device: %s" % away)
        assert max((s for times in away.values() for s in times), default=0) < ONE_RECONNECT_SECONDS
    finally:
        world.kubectl.run("uncordon", node)
