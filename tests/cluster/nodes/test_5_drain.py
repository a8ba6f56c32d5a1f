"""`kubectl drain` of each node in turn, with the PodDisruptionBudgets on."""

import time

from clusterlab.wait import wait_until
from clusterlab.world import ONE_RECONNECT_SECONDS, aways


def nodes_with_instances(world):
    return {p["spec"].get("nodeName") for p in world.instances().values()}


def drain(world, node):
    """All that is ours; coredns may stay."""
    assert node in nodes_with_instances(world)
    began = time.time()
    world.kubectl.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                      "--timeout=150s", "--pod-selector=app.kubernetes.io/name=openbalena-vpn",
                      timeout=180)
    print("\n  %s drained in %.0f s" % (node, time.time() - began))
    world.wait_agreed(5)
    for device in world.devices:
        device.wait_online(2 * ONE_RECONNECT_SECONDS)
    wait_until(lambda: node not in nodes_with_instances(world), 10, "instances are elsewhere")
    away = {d.number: [round(s, 1) for s in aways(d, began)] for d in world.devices}
    print("  seconds away, by device: %s" % away)
    assert max((s for times in away.values() for s in times), default=0) < ONE_RECONNECT_SECONDS


def test_drain_of_each_node(world):
    first = sorted(nodes_with_instances(world))[0]
    second = next(n.name for n in world.cluster.nodes if n.name != first)
    for node in (first, second):
        try:
            drain(world, node)
        finally:
            world.kubectl.run("uncordon", node)
        world.wait_well()
