"""The service key is replaced while everything serves: parts with the old one, with both and with the
new one beside each other, in each order in which they can be started anew."""

import pytest
from lab.lab import SERVICE_KEY
from lab.wait import holds, wait_until

NEW_KEY = "service-key-2"
PROGRAMS = ("vpn-connect-proxy", "vpn-sidecar", "vpn-state")


def give(lab, key, previous=None):
    """A new controller with these keys. It adopts what runs, with the keys that this has."""
    lab.pool.kill9("vpn-controller")
    lab.pool.env = {**lab.pool.env, "VPN_SERVICE_API_KEY": key,
                    "VPN_SERVICE_API_KEY_PREVIOUS": previous or ""}
    lab.pool.start().wait_ready()


def anew(lab, program):
    """All processes of that program, with the controller's keys."""
    lab.pool.wait_restarted(program, lab.pool.kill9(program))
    lab.pool.wait_ready()


@pytest.fixture
def serving(make_lab):
    lab = make_lab(replicas=2)
    lab.api.key("vpn-2", NEW_KEY, "service")
    lab.devices_online(2)
    return lab


@pytest.mark.parametrize("order", [PROGRAMS, PROGRAMS[::-1]])
def test_a_key_is_replaced_while_all_serve(serving, order):
    lab = serving
    for keys in ((NEW_KEY, SERVICE_KEY), (NEW_KEY, None)):
        give(lab, *keys)
        for program in order:
            anew(lab, program)
            for device in lab.devices:
                wait_until(lambda d=device: lab.reaches(d), 10, "the device is reached")
                holds(lambda d=device: lab.reaches(d), 2, "it stays reachable", 0.5)
            lab.wait_agreed(10)
    comer = lab.device().wait_online()
    lab.wait_agreed()
    assert lab.reaches(comer)
    assert all(d.connections == 1 for d in lab.devices), "no device noticed"


def test_without_the_previous_key_there_is_no_trust(serving):
    lab = serving
    give(lab, NEW_KEY)
    lab.pool.wait_restarted("vpn-connect-proxy", lab.pool.kill9("vpn-connect-proxy"))
    wait_until(lambda: lab.machine.connect("127.0.0.1", 3128).close() is None, 10, "listens")
    with lab.connect(lab.devices[0]) as answer:
        assert answer.status == 502
    assert "VPN_SERVICE_API_KEY" in lab.pool.log(), "the log says what to look at"
