"""The pool file changes while it runs."""

import os
import signal
from contextlib import ExitStack

from lab.device import LINES_PORT
from lab.wait import holds, wait_until


def running(lab):
    return {name: lab.pool.pids(name) for name in
            ("openvpn", "vpn-sidecar", "vpn-state", "vpn-connect-proxy", "haproxy")}


def test_file_that_does_not_parse_changes_nothing_and_says_why(lab):
    device = lab.device(services=False).wait_online()
    before = running(lab)
    good = lab.pool.file.read_text()
    lab.pool.file.write_text(good.replace("replicas: 1", "replicas: many\n  colour: blue"))
    wait_until(lambda: "pool.yaml:6" in lab.pool.log() or ":6:" in lab.pool.log(), 20,
               "the log names file and line")
    wait_until(lambda: "colour" in lab.pool.log(), 5, "all errors are named")
    holds(lambda: running(lab) == before and device.online, 3, "nothing changes")
    lab.pool.file.write_text(good)
    assert device.connections == 1


def test_sighup_applies_the_file(lab):
    (controller,) = lab.pool.pids("vpn-controller")
    lab.pool.change(replicas=2)
    os.kill(controller, signal.SIGHUP)
    lab.pool.wait_ready(30)
    assert lab.pool.pids("vpn-controller") == [controller]


def test_saving_applies_the_file_and_moves_nobody(lab):
    device = lab.device().wait_online()
    openvpn = lab.pool.pids("openvpn", 1)
    haproxy = lab.pool.pids("haproxy")
    config = (lab.pool.runtime / "haproxy.cfg").read_text()
    lab.pool.change(replicas=3)
    lab.pool.wait_ready(30)
    lab.pool.change(replicas=2)
    wait_until(lambda: len(lab.pool.pids("openvpn")) == 2, 60, "two instances are left")
    assert lab.pool.pids("openvpn", 1) == openvpn
    assert lab.pool.pids("haproxy") == haproxy, "membership changes over the runtime socket"
    assert (lab.pool.runtime / "haproxy.cfg").read_text() == config
    assert device.connections == 1 and lab.reaches(device)


def test_status_as_table_and_json(make_lab):
    lab = make_lab(replicas=2)
    lab.device(services=False).wait_online()
    lab.wait_agreed()
    table = lab.pool.status("table")
    assert "pool fleet: 2 of 2 ready" in table
    assert "100.64.0.0/20" in table and "100.64.16.0/20" in table
    wait_until(lambda: sum(i["sessions"] for i in lab.pool.status()["instances"]) == 1, 10,
               "the device is counted")
    status = lab.pool.status("json")
    assert (status["pool"], status["replicas"], status["ready"]) == ("fleet", 2, 2)
    for instance in status["instances"]:
        assert instance["phase"] == "ready" and instance["serving"]
        assert [instance["pid"]] == lab.pool.pids("openvpn", instance["index"])
        assert instance["serviceId"] == lab.pool.sidecar(instance["index"])["serviceId"]


def proxy_serves(lab, besides):
    """Until another vpn-connect-proxy than those does. -> its pid"""
    def pid():
        program = next(p for p in lab.pool.status()["programs"] if p["name"] == "vpn-connect-proxy")
        return program["serving"] and program["pid"] not in besides and program["pid"]
    return wait_until(pid, 20, "the proxy's successor serves")


def test_change_of_the_proxy_while_a_tunnel_is_open(make_lab):
    """Its successor takes over all ports; the one before finishes."""
    lab = make_lab(drain={"timeoutSeconds": 60})
    device = lab.device().wait_online()
    lab.wait_agreed()
    (old,) = lab.pool.pids("vpn-connect-proxy")
    with lab.connect(device, LINES_PORT) as tunnel:
        assert tunnel.status == 200 and device.uuid.encode() in tunnel.read_line()
        lab.pool.change(connectProxy={"forwardPort": 3200})
        new = proxy_serves(lab, [old])
        wait_until(lambda: lab.reaches(device), 10, "callers get through")
        assert tunnel.say(b"hello") == b"you said: hello\n"
        assert set(lab.pool.pids("vpn-connect-proxy")) == {old, new}
    wait_until(lambda: old not in lab.pool.pids("vpn-connect-proxy"), 20, "it has finished")


def test_of_many_predecessors_the_oldest_ends(make_lab):
    """Sixteen finish their tunnels at a time."""
    lab = make_lab(drain={"timeoutSeconds": 120})
    device = lab.device().wait_online()
    lab.wait_agreed()
    proxies, tunnels = [], []
    with ExitStack() as stack:
        for change in range(1, 18):
            proxies.append(proxy_serves(lab, proxies))
            tunnel = wait_until(lambda: lab.connect(device, LINES_PORT), 10, "a tunnel")
            tunnels.append(stack.enter_context(tunnel))
            assert tunnel.status == 200 and device.uuid.encode() in tunnel.read_line()
            lab.pool.change(connectProxy={"forwardPort": 3200 + change})
        wait_until(lambda: proxies[0] not in lab.pool.pids("vpn-connect-proxy"), 20, "the oldest")
        assert tunnels[0].read_line() == b""
        for tunnel in tunnels[1:]:
            assert tunnel.say(b"hello") == b"you said: hello\n"
        assert set(proxies[1:]) < set(lab.pool.pids("vpn-connect-proxy"))
    wait_until(lambda: len(lab.pool.pids("vpn-connect-proxy")) == 1, 20, "all have finished")
