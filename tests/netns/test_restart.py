"""SIGKILL of our programs: no device notices, and what happened meanwhile is known afterwards."""

import contextlib
import os
import signal

import pytest
from lab.wait import wait_until


@contextlib.contextmanager
def controller_held(lab):
    """While this lasts nothing is restarted."""
    pids = lab.pool.pids("vpn-controller")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def nobody_noticed(lab, steady, openvpn):
    assert lab.pool.pids("openvpn") == openvpn
    for device in steady:
        assert device.connections == 1 and device.online


@pytest.mark.parametrize("program", ["vpn-sidecar", "vpn-state", "vpn-connect-proxy"])
def test_killed_program_is_back_and_right(make_lab, program):
    lab = make_lab(replicas=2)
    for _ in range(4):
        lab.device()
    leaver = lab.device()
    for device in lab.devices:
        device.wait_online()
    steady = lab.devices[:4]
    lab.wait_agreed()
    openvpn = lab.pool.pids("openvpn")

    with controller_held(lab):
        old = lab.pool.kill9(program)
        leaver.stop(kill=True)
        comer = lab.device()
        wait_until(lambda: comer.log(), 10, "the newcomer has begun")
        if program == "vpn-connect-proxy":
            comer.wait_online()
    lab.pool.wait_restarted(program, old)
    if program == "vpn-sidecar":
        wait_until(lambda: all(lab.pool.sidecar(i)["link"] == "live" for i in (1, 2)), 10, "live")
    if program == "vpn-state":
        wait_until(lab.pool.state.ready, 15, "the state service is ready")
    if program == "vpn-connect-proxy":
        wait_until(lambda: lab.machine.connect("127.0.0.1", 3128).close() is None, 10, "listens")
    lab.wait_agreed(5)
    nobody_noticed(lab, steady, openvpn)
    comer.wait_online()
    lab.wait_agreed(5)
    for device in [*steady, comer]:
        assert lab.reaches(device)
    assert lab.reports(leaver.uuid) == ["connect", "disconnect"]
    nobody_noticed(lab, steady, openvpn)


def test_sidecar_goes_on_with_its_service_instance(lab):
    device = lab.device().wait_online()
    lab.wait_agreed()
    before = lab.pool.sidecar(1)
    lab.pool.wait_restarted("vpn-sidecar", lab.pool.kill9("vpn-sidecar"))
    after = wait_until(
        lambda: (lambda s: s if s["link"] == "live" else None)(lab.pool.sidecar(1)), 10, "live")
    assert (after["serviceId"], after["epoch"]) == (before["serviceId"], before["epoch"])
    assert lab.reports(device.uuid)[0] == "connect"
    assert "disconnect" not in lab.reports(device.uuid)


def test_killed_controller_adopts_what_runs(make_lab):
    lab = make_lab(replicas=2)
    lab.devices_online(3)
    before = {name: lab.pool.pids(name) for name in
              ("openvpn", "vpn-sidecar", "vpn-state", "vpn-connect-proxy", "haproxy")}

    lab.pool.kill9("vpn-controller")
    comer = lab.device().wait_online()
    lab.wait_agreed()
    assert lab.reaches(comer), "all works without the controller"
    lab.devices[0].stop(kill=True)

    lab.pool.start().wait_ready()
    lab.wait_agreed(5)
    assert {name: lab.pool.pids(name) for name in before} == before
    for device in lab.devices[1:]:
        assert device.connections == 1
        assert lab.reaches(device)

    old = lab.pool.kill9("vpn-sidecar", 1)
    lab.pool.wait_restarted("vpn-sidecar", old, 1)
    lab.wait_agreed(10)


def test_all_of_ours_killed_at_once(make_lab):
    """What only OpenVPN and haproxy survive."""
    lab = make_lab(replicas=2)
    for _ in range(3):
        lab.device().wait_online()
    lab.wait_agreed()
    openvpn = lab.pool.pids("openvpn")
    for name in ("vpn-controller", "vpn-sidecar", "vpn-state", "vpn-connect-proxy"):
        lab.pool.kill9(name)
    leaver = lab.devices[0]
    leaver.stop(kill=True)
    lab.pool.start().wait_ready()
    lab.wait_agreed(5)
    nobody_noticed(lab, lab.devices[1:], openvpn)
