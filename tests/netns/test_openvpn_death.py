"""OpenVPN dies: its devices are reported gone, and return. An instance that is gone for good is
buried: the API lists no device under its id."""

import contextlib
import os
import signal

from lab.wait import wait_until


def instance_of(lab, device):
    return lab.pool.state.device(device.uuid)["instance"]


def listed(lab, service_id):
    return [d["uuid"] for d in lab.api.view()["devices"]
            if d["is_connected_to_vpn"] and d["is_managed_by__service_instance"] == service_id]


def test_devices_of_a_killed_openvpn_are_reported_and_return(make_lab):
    lab = make_lab(replicas=2)
    lab.devices_online(4)
    hit = [d for d in lab.devices if instance_of(lab, d)["index"] == 1]
    spared = [d for d in lab.devices if d not in hit]
    assert hit and spared
    since = lab.api.health()["seq"]

    old = lab.pool.kill9("openvpn", 1)
    for device in hit:
        wait_until(lambda: lab.reports(device.uuid, since)[:1] == ["disconnect"], 10,
                   "reported disconnected")
    lab.pool.wait_restarted("openvpn", old, 1)
    for device in hit:
        device.wait_online(60, more_than=1)
    lab.wait_agreed(5)
    for device in spared:
        assert device.connections == 1 and lab.reports(device.uuid, since) == []
    for device in lab.devices:
        assert lab.reaches(device)


def test_instance_lost_while_nobody_looked_is_buried(make_lab):
    """Controller, OpenVPN and sidecar of index 2 die; meanwhile the pool shrinks."""
    lab = make_lab(replicas=2)
    lab.devices_online(4, services=False)
    service_id = lab.pool.sidecar(2)["serviceId"]
    assert listed(lab, service_id)

    lab.pool.kill9("vpn-controller")
    lab.pool.kill9("vpn-sidecar", 2)
    lab.pool.kill9("openvpn", 2)
    for device in lab.devices:
        device.stop(kill=True)
    assert listed(lab, service_id), "nobody has told the API"

    lab.pool.change(replicas=1)
    lab.pool.start()
    wait_until(lambda: not listed(lab, service_id), 60, "buried")
    wait_until(lambda: len(lab.pool.pids("openvpn")) == 1, 60, "one instance is left")
    lab.wait_agreed(15)


def test_instance_given_up_after_crashes_is_buried_and_replaced(lab):
    """Its OpenVPN is killed as soon as it runs, until another index is taken."""
    device = lab.device(services=False).wait_online()
    lab.wait_agreed()
    service_id = lab.pool.sidecar(1)["serviceId"]

    def given_up():
        for pid in lab.pool.pids("openvpn", 1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return lab.pool.pids("openvpn", 2)

    wait_until(given_up, 240, "another index is taken")
    wait_until(lambda: not lab.pool.pids("vpn-sidecar", 1), 60, "nothing of the first is left")
    wait_until(lambda: not listed(lab, service_id), 30, "buried")
    device.wait_online(150, more_than=1)
    lab.wait_agreed(5)
    assert instance_of(lab, device)["index"] == 2


def test_what_a_sidecar_could_not_report_before_its_end_is_buried(make_lab):
    """Scaled away while the API is down: nobody but the controller is left to tell it."""
    lab = make_lab(replicas=2, drain={"timeoutSeconds": 5})
    lab.devices_online(4, services=False)
    ids = {i: lab.pool.sidecar(i)["serviceId"] for i in (1, 2)}
    lab.api.mode("down")
    for device in lab.devices:
        device.stop(kill=True)
    lab.pool.change(replicas=1)
    wait_until(lambda: len(lab.pool.pids("vpn-sidecar")) == 1, 60, "one instance is left")
    (gone,) = [i for i in ids if not lab.pool.pids("vpn-sidecar", i)]
    assert listed(lab, ids[gone]), "nobody has told the API"
    lab.api.mode("ok")
    wait_until(lambda: not listed(lab, ids[gone]), 60, "buried")
    lab.wait_agreed(15)


def test_burial_waits_for_an_api_that_is_down(make_lab):
    lab = make_lab(replicas=2)
    lab.devices_online(2, services=False)
    index = instance_of(lab, lab.devices[0])["index"]
    service_id = lab.pool.sidecar(index)["serviceId"]
    lab.api.mode("down")
    lab.pool.kill9("vpn-controller")
    lab.pool.kill9("vpn-sidecar", index)
    lab.pool.kill9("openvpn", index)
    for device in lab.devices:
        device.stop(kill=True)
    lab.pool.change(replicas=0)
    lab.pool.start()
    wait_until(lambda: lab.pool.pids("openvpn") == [], 60, "no instance runs")
    lab.pool.kill9("vpn-controller")  # what is to be buried is on disk
    lab.pool.start()
    assert listed(lab, service_id)
    lab.api.mode("ok")
    wait_until(lambda: lab.api.connected() == set(), 60, "buried")


def test_crashing_openvpn_is_restarted_again_and_again(lab):
    device = lab.device(services=False).wait_online()
    for number in range(1, 4):
        old = lab.pool.kill9("openvpn", 1)
        lab.pool.wait_restarted("openvpn", old, 1, timeout=60)
        device.wait_online(120, more_than=number)
    lab.wait_agreed(5)
