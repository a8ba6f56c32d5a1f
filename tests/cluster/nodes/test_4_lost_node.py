"""A node whose cable is pulled."""

import collections

import pytest

from clusterlab.cluster import NODE_GRACE_SECONDS, TOLERATION_SECONDS
from clusterlab.wait import wait_until
from clusterlab.world import KEEPALIVE_SECONDS, NAMESPACE, condition, is_ready
from test_2_scale import History


def elsewhere(world, node):
    return [p for p in world.instances().values() if p["spec"].get("nodeName") != node.name]


@pytest.mark.own
def test_a_lost_node_is_replaced_and_returns(world):
    by_node = collections.Counter(p["spec"]["nodeName"] for p in world.instances().values())
    node = world.cluster.node(min(by_node, key=by_node.get))
    lost = [p for p in world.instances().values() if p["spec"]["nodeName"] == node.name]
    indices = {p["metadata"]["labels"]["vpn.openbalena.io/index"] for p in lost}
    history = History(world)
    world.cluster.cut_off(node)
    try:
        given = NODE_GRACE_SECONDS + TOLERATION_SECONDS
        wait_until(lambda: sum(map(is_ready, elsewhere(world, node))) == 2, given + 25,
                   "a successor serves")
        new = {p["metadata"]["labels"]["vpn.openbalena.io/index"] for p in elsewhere(world, node)}
        assert not new & indices, "under another index: the lost one may still run"
        for device in world.devices:
            device.wait_online(6 * KEEPALIVE_SECONDS)
        well = next(n for n in world.cluster.nodes if n is not node)
        wait_until(lambda: all(world.reaches(d, node=well) for d in world.devices), 30,
                   "all can be reached")
        world.wait_agreed(45)
    finally:
        world.cluster.reconnect(node)
    wait_until(lambda: condition(world.kubectl.get("node", node.name), "Ready") == "True", 60,
               "the node is back")
    wait_until(lambda: not any(world.kubectl.get("pod", p["metadata"]["name"], NAMESPACE)
                               for p in lost), 90, "what was lost is gone for good")
    world.wait_pool(2)
    world.wait_agreed(15)
    history.check()
    history.close()
