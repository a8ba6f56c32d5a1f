"""Whatever is deleted or killed: what is connected stays, what is believed is right 5 s later."""

import os
import signal
import threading

import pytest

from clusterlab.wait import Hopeless, wait_until
from clusterlab.world import NAMESPACE, is_ready, restarts
from lab.device import LINES_PORT


def nobody_noticed(world, before):
    assert all(d.online for d in world.devices)
    assert [d.connections for d in world.devices] == before


def wait_restarted(world, name, container, count):
    wait_until(lambda: restarts(world.kubectl.get("pod", name, NAMESPACE))[container] > count, 30,
               "%s of %s runs again" % (container, name))
    wait_until(lambda: is_ready(world.kubectl.get("pod", name, NAMESPACE)), 40, "it is ready")


def kill(world, pod, container):
    name, count = pod["metadata"]["name"], restarts(pod)[container]
    os.kill(world.pid(pod, container), signal.SIGKILL)
    wait_restarted(world, name, container, count)


@pytest.mark.own
def test_sidecar_is_killed(world):
    before = [d.connections for d in world.devices]
    pod = next(iter(world.instances().values()))
    kill(world, pod, "sidecar")
    world.wait_agreed()
    nobody_noticed(world, before)
    assert all(world.reaches(d) for d in world.devices)


@pytest.mark.own
def test_openvpn_is_killed(world):
    name, pod = next(iter(world.instances().items()))
    index = int(pod["metadata"]["labels"]["vpn.openbalena.io/index"])
    there = [d for d in world.devices if world.on_instance(d) == index]
    before = {d.uuid: d.connections for d in world.devices}
    kill(world, pod, "openvpn")
    for device in there:
        device.wait_online(60, more_than=before[device.uuid])
    world.wait_agreed(10)
    assert all(d.connections == before[d.uuid] for d in world.devices if d not in there)


def test_an_instance_is_deleted_by_hand(world):
    before = {d.uuid: d.connections for d in world.devices}
    name, pod = next(iter(world.instances().items()))
    there = [d for d in world.devices if "%s-%d" % (
        name.rpartition("-")[0], world.on_instance(d)) == name]
    world.kubectl.run("-n", NAMESPACE, "delete", "pod", name, "--wait=true", "--timeout=90s")
    world.wait_pool(2)
    for device in there:
        device.wait_online(60, more_than=before[device.uuid])
    world.wait_agreed()
    for device in world.devices:
        assert device.connections - before[device.uuid] <= 1, "away more than once"


def test_a_state_service_is_deleted(world):
    before = [d.connections for d in world.devices]
    pod = world.component("state")[0]["metadata"]["name"]
    world.kubectl.run("-n", NAMESPACE, "delete", "pod", pod)
    wait_until(lambda: sum(map(is_ready, world.component("state"))) == 2, 60, "two are there again")
    for pod in world.state.pods():
        wait_until(lambda: len(world.state.get_of(pod, "/v1/devices")[1].splitlines())
                   == len(world.devices), 5,
                   "the new one knows all")
    world.wait_agreed()
    nobody_noticed(world, before)


def test_a_connect_proxy_is_deleted_while_it_is_used(world):
    """Its tunnels go on, new ones find another."""
    device = world.devices[0]
    tunnels = [world.connect(device, LINES_PORT) for _ in range(6)]
    for tunnel in tunnels:
        assert device.uuid.encode() in tunnel.read_line()
    name = world.component("connect-proxy")[0]["metadata"]["name"]
    world.kubectl.run("-n", NAMESPACE, "delete", "pod", name, "--wait=false")

    def replaced():
        if not all(t.say(b"%d" % n) == b"you said: %d\n" % n for n, t in enumerate(tunnels)):
            raise Hopeless("a tunnel ended")
        if not world.reaches(device):
            raise Hopeless("no new tunnel")
        return sum(map(is_ready, world.component("connect-proxy"))) == 2
    wait_until(replaced, 60, "another is there")
    for tunnel in tunnels:
        tunnel.close()
    wait_until(lambda: world.kubectl.get("pod", name, NAMESPACE) is None, 60, "it is gone")
    assert world.reaches(device)


@pytest.mark.own
@pytest.mark.parametrize("container", ["haproxy", "balancer"])
def test_what_devices_come_through_is_killed(world, container):
    """Its devices come again by themselves; no instance is touched; a new one gets in."""
    instances = {n: p["metadata"]["uid"] for n, p in world.instances().items()}
    before = [d.connections for d in world.devices]
    pod = world.component("haproxy")[0]
    kill(world, pod, container)
    for device in world.devices:
        device.wait_online(60)
    if container == "balancer":
        nobody_noticed(world, before)
    new = world.device()
    try:
        new.wait_online(60)
        world.wait_agreed(10)
    finally:
        world.remove(new)
    assert {n: p["metadata"]["uid"] for n, p in world.instances().items()} == instances


@pytest.mark.own
def test_both_controllers_are_killed_at_once(world):
    before = [d.connections for d in world.devices]
    threads = [threading.Thread(target=kill, args=(world, pod, "controller"))
               for pod in world.component("controller")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.wait_pool(2)
    world.wait_agreed()
    nobody_noticed(world, before)
