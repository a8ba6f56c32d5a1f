"""The controller's end, and the API server's silence: no device notices."""

import os
import pathlib
import signal
import time

import pytest

from clusterlab.wait import holds, wait_until
from clusterlab.world import NAMESPACE, is_ready

OUTAGE_SECONDS = float(os.environ.get("VPN_OUTAGE_SECONDS", 60))


def resident_kib(pid):
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.own
@pytest.mark.parametrize("number, seconds", [(signal.SIGTERM, 3), (signal.SIGKILL, 18)])
def test_a_leader_that_dies(world, number, seconds):
    before = [d.connections for d in world.devices]
    leader = world.leader()
    wait_until(lambda: sum(map(is_ready, world.component("controller"))) == 2, 60, "both are ready")
    os.kill(world.pid(leader, "controller"), number)
    began = time.monotonic()
    world.scale(3)
    wait_until(lambda: len(world.instances()) == 3, seconds, "another has made the third Pod")
    print("\n  acted after %.1f s" % (time.monotonic() - began))
    world.wait_pool(3)
    assert [d.connections for d in world.devices] == before
    assert all(d.online for d in world.devices)


@pytest.mark.own
def test_the_api_server_is_silent(world):
    """Frozen, so that connections hang rather than break."""
    before = [d.connections for d in world.devices]
    pids = [world.pid(p, "controller") for p in world.component("controller")]
    memory = {pid: resident_kib(pid) for pid in pids}
    processes = world.cluster.processes
    processes.freeze("kube-apiserver")
    try:
        frozen = time.monotonic()
        new = world.device()
        new.wait_online(30)
        left = OUTAGE_SECONDS - (time.monotonic() - frozen)
        holds(lambda: all(d.online for d in world.devices), max(left, 1), "all stay online", 1)
        assert world.connect(new).status == 200
        grown = {pid: resident_kib(pid) - memory[pid] for pid in pids if alive(pid)}
    finally:
        processes.thaw("kube-apiserver")
    began = time.monotonic()
    wait_until(lambda: world.scale(3) is None, 30, "the API server takes orders again")
    wait_until(lambda: len(world.instances()) == 3, 30 - (time.monotonic() - began),
               "a change is acted on 30 s after it is back")
    print("\n  acted %.1f s after it was back; memory grew by %s KiB" % (
        time.monotonic() - began, sorted(grown.values())))
    assert all(kib < 4096 for kib in grown.values())
    assert [d.connections for d in world.devices[:-1]] == before
    world.remove(new)


def alive(pid):
    return pathlib.Path("/proc/%d" % pid).exists()


def test_its_events_are_there(world):
    events = world.kubectl.get("events", namespace=NAMESPACE)
    kinds = {e["involvedObject"]["kind"] for e in events}
    assert "VPNPool" in kinds
