"""Devices connect, get addresses of their instance, and are reached, by those who may."""

import pytest
from lab.connect import connect
from lab.device import HTTP_PORT, LINES_PORT, new_uuid
from lab.lab import LIMITED_TOKEN, USER_TOKEN
from lab.subnets import Block
from lab.wait import wait_until


@pytest.fixture
def fleet(make_lab):
    lab = make_lab(replicas=2)
    lab.devices_online(3)
    return lab


def test_devices_are_known_and_reached(fleet):
    addresses_are_of_the_right_instances(fleet)
    pages_and_lines_are_reached(fleet)
    who_may_not_is_told_407(fleet)
    offline_device_is_503(fleet)
    closed_port_is_502(fleet)
    api_reaches_the_supervisor(fleet)
    all_tlds_are_answered_and_other_names_refused(fleet)


def addresses_are_of_the_right_instances(lab):
    offsets = {}
    for device in lab.devices:
        known = lab.pool.state.device(device.uuid)
        assert known["address"] == device.vpn_address
        index = known["instance"]["index"]
        offsets.setdefault(index, []).append(Block(index).offset(device.vpn_address))
    assert set(offsets) == {1, 2}, "haproxy spreads by least connections"
    for index, used in offsets.items():
        assert sorted(used) == list(range(3, 3 + len(used))), (
            "addresses of instance %d start at the third usable one" % index)


def pages_and_lines_are_reached(lab):
    for device in lab.devices:
        assert lab.reaches(device)
        with lab.connect(device, LINES_PORT) as tunnel:
            assert tunnel.status == 200
            assert tunnel.read_line() == b"device %s\r\n" % device.uuid.encode()
            assert tunnel.say(b"hello") == b"you said: hello\n"


def who_may_not_is_told_407(lab):
    device = lab.devices[0]
    with lab.connect(device, HTTP_PORT, LIMITED_TOKEN) as allowed:
        assert allowed.status == 200
    for port, token in ((LINES_PORT, LIMITED_TOKEN), (HTTP_PORT, "nobody's"), (HTTP_PORT, None)):
        with lab.connect(device, port, token) as answer:
            assert (answer.status, answer.reason) == (407, "Proxy Authorization Required")
            assert answer.headers["proxy-authenticate"].startswith("Basic ")
    with connect(lab.machine, new_uuid() + ".balena:80", USER_TOKEN) as unknown:
        assert unknown.status == 407, "the API says 401 for a device that it does not know"


def offline_device_is_503(lab):
    absent = lab.device(start=False, services=False)
    with lab.connect(absent) as answer:
        assert (answer.status, answer.reason) == (503, "Service Unavailable")
    lab.devices[2].stop()
    wait_until(lambda: lab.pool.state.device(lab.devices[2].uuid) is None, 5, "it is offline")
    lab.wait_agreed()
    with lab.connect(lab.devices[2]) as answer:
        assert answer.status == 503


def closed_port_is_502(lab):
    with lab.connect(lab.devices[0], 9) as answer:
        assert answer.status == 502
        assert answer.seconds < 8


def api_reaches_the_supervisor(lab):
    result = lab.api.dial(lab.devices[0].uuid)
    assert result["status"] == 200, result
    assert lab.devices[0].uuid in result["reply"]


def all_tlds_are_answered_and_other_names_refused(lab):
    uuid = lab.devices[0].uuid
    for name, status in (("%s.vpn", 200), ("%s.resin", 200), ("%s.balena", 200),
                         ("%s.example", 403), ("x%s.balena", 403)):
        with connect(lab.machine, name % uuid + ":8080", USER_TOKEN) as answer:
            assert answer.status == status, name
