"""From `helm install` to a device's answer."""

import pytest

from clusterlab.wait import wait_until
from clusterlab.world import RELEASE
from lab.device import LINES_PORT
from lab.subnets import Block


def test_every_device_answers_through_both_nodes(world):
    for device in world.devices:
        for node in world.cluster.nodes:
            assert world.reaches(device, node=node)
        with world.connect(device, LINES_PORT) as tunnel:
            assert device.uuid.encode() in tunnel.read_line()
            assert tunnel.say(b"hello") == b"you said: hello\n"


def test_addresses_are_in_the_subnet_of_their_instance(world):
    for device in world.devices:
        block = Block(world.on_instance(device))
        assert block.offset(device.vpn_address) >= 3


def test_both_instances_get_devices(world):
    assert {world.on_instance(d) for d in world.devices} == {1, 2}


def test_callers_are_refused_as_on_one_machine(world):
    device = world.devices[0]
    with world.connect(device, token="wrong") as answer:
        assert answer.status == 407
    offline = world.device(start=False)
    try:
        with world.connect(offline) as answer:
            assert answer.status == 503
    finally:
        world.remove(offline)


@pytest.mark.own
def test_the_api_itself_reaches_a_device(world):
    """It dials the service instance's address: a Pod's."""
    device = world.devices[0]
    assert wait_until(lambda: world.api.dial(device.uuid), 10, "the API dials")["status"] == 200


def test_a_wrong_key_is_refused(world):
    device = world.device(known=False)
    try:
        wait_until(device.refusals, 30, "it is told")
        assert device.connections == 0
    finally:
        world.remove(device)


def test_helm_test(world):
    assert "Succeeded" in world.helm("test", RELEASE)
