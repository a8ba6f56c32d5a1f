"""The pool file changes while it runs."""

import os
import signal

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
