"""The API is down, ill, or silent for a minute: who is in stays in, who was in lately may return,
a new one is told to come again, callers are told 502; afterwards the API's view is right."""

import os
import time

import pytest
from lab.device import HTTP_PORT, LINES_PORT
from lab.lab import USER_TOKEN
from lab.wait import holds, wait_until

SECONDS = float(os.environ.get("VPN_OUTAGE_SECONDS", "60"))


@pytest.mark.parametrize("mode", ["down", "ill", "silent"])
def test_outage(make_lab, mode):
    lab = make_lab(replicas=2)
    steady, returning, leaving = lab.device(), lab.device(), lab.device(services=False)
    for device in lab.devices:
        device.wait_online()
    lab.wait_agreed()
    for port in (HTTP_PORT, LINES_PORT):
        lab.connect(steady, port).close()

    lab.api.mode(mode)
    ends = time.monotonic() + SECONDS
    newcomer = lab.device(services=False)
    returning.stop(kill=True)
    leaving.stop(kill=True)
    returning.start()
    returning.wait_online(SECONDS, more_than=1)
    wait_until(newcomer.refusals, 45, "the newcomer has its answer")
    with lab.connect(steady, 4711, USER_TOKEN) as answer:  # a question not asked before
        assert answer.status == 502, answer.line
        assert answer.seconds < 8.5
    state = lab.pool.state
    holds(lambda: steady.online and steady.connections == 1 and returning.online
          and state.device(steady.uuid), ends - time.monotonic(), "who is in stays in", step=1)
    with lab.connect(steady, 4712, USER_TOKEN) as answer:
        assert answer.status == 502, answer.line
    assert newcomer.connections == 0
    for told in newcomer.refusals():
        assert told.startswith("TEMP"), "never that its key is bad: " + told
    assert newcomer.exits == []

    lab.api.mode("ok")
    believed = {steady.uuid, returning.uuid}
    wait_until(lambda: lab.api.connected() - {newcomer.uuid} == believed, 5, "the API is right")
    newcomer.wait_online(150)
    lab.wait_agreed(5)
    assert lab.reaches(steady) and lab.reaches(returning)
    assert steady.connections == 1
    assert "disconnect" not in lab.reports(steady.uuid)


def test_flapping_api_and_slow_api(lab):
    """Errors of a proxy before it, rubbish, delays below the time-out: nothing is believed, and
    nobody is thrown out."""
    device = lab.device().wait_online()
    lab.wait_agreed()
    for mode, more in (("5xx", {"status": 503}), ("garbage", {}), ("html", {}), ("reset", {}),
                       ("slow", {"ms": 1500})):
        lab.api.mode(mode, **more)
        with lab.connect(device, 4713, USER_TOKEN) as answer:
            assert answer.status == 502, (mode, answer.line)
        assert device.online and device.connections == 1
    lab.api.mode("slow", ms=1000)
    late = lab.device(services=False).wait_online()
    wait_until(lambda: late.uuid in lab.api.connected(), 10, "reported all the same")
    lab.api.mode("ok")
    lab.wait_agreed(5)


def test_deleted_service_instance_is_registered_anew_once(lab):
    lab.devices_online(3, services=False)
    old = lab.pool.sidecar(1)["serviceId"]
    since = lab.api.health()["seq"]
    lab.api.delete_service_instance(old)
    fourth = lab.device(services=False).wait_online()

    def moved():
        view = lab.api.devices()
        ids = {view[d.uuid]["is_managed_by__service_instance"] for d in lab.devices}
        return len(ids) == 1 and None not in ids and old not in ids

    wait_until(moved, 10, "all sessions are reported under a new id")
    lab.wait_agreed(5)
    entries = lab.api.log(since)
    assert len([e for e in entries if e.get("status") == 409]) == 1
    assert len([e for e in entries if e.get("call") == "register"]) == 1
    assert lab.pool.sidecar(1)["serviceId"] != old
    assert fourth.online and all(d.connections == 1 for d in lab.devices)
