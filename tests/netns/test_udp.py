"""One instance over UDP: devices talk to OpenVPN itself, there is no haproxy."""

import os
import signal

from lab.subnets import Block
from lab.wait import holds, wait_until
from test_drop_in import variables
from test_faults import nothing_is_left, wait_said

UDP = {"protocol": "udp", "explicitExitNotify": 1}


def udp_lab(make_lab, **spec):
    lab = make_lab(ready=False, openvpn=UDP, **spec)
    return start(lab)


def start(lab):
    lab.pool.start()
    wait_until(lambda: lab.pool.status()["available"], 60, "available")
    return lab


def wait_gone(lab, device, timeout):
    wait_until(lambda: lab.pool.state.device(device.uuid) is None, timeout, "its end is noticed")


def test_device_is_known_and_reached(make_lab):
    lab = udp_lab(make_lab)
    devices = [lab.device(proto="udp") for _ in range(2)]
    for device in devices:
        device.wait_online()
    lab.wait_agreed()
    assert [Block(1, "100.64.0.0/10", 20).offset(d.vpn_address) for d in devices] in ([3, 4], [4, 3])
    assert all(lab.reaches(d) for d in devices)
    with lab.connect(devices[0], port=2222) as answer:
        assert answer.status == 502  # refused by the device itself
    assert lab.pool.pids("haproxy") == []
    table = lab.pool.status("table")
    assert "NOT available" not in table and "443" in table
    assert lab.pool.stop() == 0
    assert nothing_is_left(lab)


def test_wrong_key_is_refused(make_lab):
    lab = udp_lab(make_lab)
    device = lab.device(known=False, proto="udp", services=False)
    wait_until(lambda: device.refusals(), 60, "refused")
    assert lab.pool.state.devices() == {} and lab.api.connected() == set()


def test_no_device_notices_a_killed_sidecar_or_controller(make_lab):
    lab = udp_lab(make_lab)
    device = lab.device(proto="udp").wait_online()
    lab.wait_agreed()
    old = lab.pool.kill9("vpn-sidecar")
    lab.pool.wait_restarted("vpn-sidecar", old)
    openvpn = lab.pool.pids("openvpn")
    lab.pool.kill9("vpn-controller")
    start(lab)
    assert lab.pool.pids("openvpn") == openvpn
    lab.wait_agreed(10)
    assert device.connections == 1 and lab.reaches(device)


def test_device_returns_after_the_end_of_openvpn(make_lab):
    """SIGKILL tells no device anything: it notices by its ping-exit, and its OS starts it again."""
    lab = make_lab(ready=False, openvpn={
        **UDP, "keepalive": {"intervalSeconds": 1, "timeoutSeconds": 5}})
    start(lab)
    device = lab.device(proto="udp").wait_online()
    lab.wait_agreed()
    old = lab.pool.kill9("openvpn")
    wait_gone(lab, device, 10)
    lab.pool.wait_restarted("openvpn", old)
    device.wait_online(60, more_than=1)
    lab.wait_agreed(10)
    device.stop(kill=True)
    wait_gone(lab, device, 30)
    lab.wait_agreed()


def test_settings_of_openvpn_are_taken_over_on_the_same_port(make_lab):
    """There can be no second instance beside it: the old one ends first, and tells its devices."""
    lab = udp_lab(make_lab)
    device = lab.device(proto="udp").wait_online()
    old = lab.pool.pids("openvpn")
    lab.pool.change(openvpn={"handWindowSeconds": 30})
    wait_until(lambda: len(lab.pool.pids("openvpn")) == 1 and lab.pool.pids("openvpn") != old, 60,
               "another OpenVPN")
    device.wait_online(60, more_than=1)
    lab.wait_agreed(10)
    assert lab.reaches(device)


def test_it_cannot_be_scaled_nor_become_tcp(make_lab):
    lab = udp_lab(make_lab)
    before = lab.pool.pids("openvpn")
    lab.pool.change(replicas=2)
    wait_said(lab, "notice", "udp cannot be balanced: it takes 1 replica, not 2")
    lab.pool.change(replicas=1, openvpn={"protocol": "tcp", "explicitExitNotify": 0})
    wait_said(lab, "notice", "spec.openvpn.protocol: cannot change while the pool runs")
    holds(lambda: lab.pool.pids("openvpn") == before, 2, "nothing changes")


def test_variables_make_it(make_lab):
    lab = variables(make_lab(ready=False), VPN_OPENVPN_PROTO="udp", VPN_PORT="1194",
                    VPN_UDP_SERVER_EXPLICIT_EXIT_NOTIFY="1")
    start(lab)
    device = lab.device(proto="udp", port=1194).wait_online()
    lab.wait_agreed()
    assert lab.reaches(device)


def test_port_that_is_taken_is_said(make_lab):
    import socket
    lab = make_lab(ready=False, openvpn=UDP)
    with lab.machine.entered():
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("", 443))
    with holder:
        lab.pool.start()
        wait_said(lab, "unavailable", "UDP port 443 is taken by python3 (process %d)" % os.getpid())
    wait_until(lambda: lab.pool.status()["available"], 60, "available without it")


def test_frozen_openvpn_is_noticed(make_lab):
    lab = udp_lab(make_lab)
    (pid,) = lab.pool.pids("openvpn")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: lab.pool.pids("openvpn") not in ([], [pid]), 120, "another one runs")
