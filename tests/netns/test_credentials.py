"""Credentials that must not get in, and must not get anywhere else either."""

import pathlib
import re
import secrets

import pytest
from lab.device import new_uuid
from lab.tap import Tap
from lab.wait import wait_until

GOOD_TARGET = re.compile(r"/services/vpn/auth/([0-9a-f]{32}|[0-9a-f]{62})")


# What a sidecar says to OpenVPN, with nothing of a device in it but numbers.
COMMAND = re.compile(r'pid|version|status 3|hold release|bytecount \d+|client-auth-nt \d+ \d+'
                     r'|client-kill \d+( [A-Z]+)?|client-deny \d+ \d+( "[A-Za-z ,:\[\]0-9]*"){1,2}')
OWNED = pathlib.Path("/tmp/vpn-owned-" + secrets.token_hex(4))


def attempts(victim):
    """{what: (uuid, key)}"""
    key = victim.key
    return {
        "wrong key": (victim.uuid, "0" * 32),
        "unknown device": (new_uuid(), "0" * 32),
        "another device's key": (new_uuid(), key),
        "service key": (new_uuid(), "service-key-1"),
        "path": ("../../../v7/device", key),
        "path to another": ("../auth/" + victim.uuid, key),
        "300 bytes": ("a" * 300, key),
        "control bytes": ("a\x01b\x1b[31m\x7f" + "0" * 24, key),
        "dots, encoded": ("%2e%2e%2f" + victim.uuid, key),
        "NUL, encoded": (victim.uuid[:-3] + "%00", key),
        "capitals": (victim.uuid.upper(), key),
        "shortened": (victim.uuid[:7], key),
        "quotes": (victim.uuid + "\"' ; reboot", key),
        "shell": ("$(touch %s)`id`" % OWNED, key),
        "shell in the key": (victim.uuid, "`touch %s`;touch %s" % (OWNED, OWNED)),
        "management command": ("END", "client-auth-nt 0 1"),
        "query": (victim.uuid + "?apikey=" + key, "x"),
        "header in the key": (victim.uuid, key + "\tX-Evil: 1"),
        "not ASCII": (victim.uuid, "\u00e9" * 16),
    }


@pytest.fixture
def tap(lab):
    tap = Tap(lab.pool, 1)
    yield tap
    tap.close()


def test_none_gets_in_and_no_byte_gets_anywhere_unchecked(lab, tap):
    victim = lab.device().wait_online()
    since = lab.api.health()["seq"]
    intruders = {what: lab.device(known=False, services=False, start=False, uuid=uuid, key=key)
                 for what, (uuid, key) in attempts(victim).items()}
    lab.api.device(intruders["another device's key"].uuid, "its-own-key")
    for batch in range(0, len(intruders), 6):  # two cores
        started = list(intruders.items())[batch:batch + 6]
        for _, device in started:
            device.start(restart_after=None)
        for what, device in started:
            wait_until(lambda: device.refusals() or device.exits, 90, "refused: " + what)
            device.stop()
    for what, device in intruders.items():
        assert device.connections == 0, what

    assert not OWNED.exists(), "a shell has seen it"
    for entry in lab.api.log(since):
        assert entry["event"] not in ("malformed", "died"), entry
        if entry.get("call") == "auth" or "/auth/" in entry.get("target", ""):
            assert GOOD_TARGET.fullmatch(entry["target"]), entry
    assert lab.api.health()["dead"] is None
    assert victim.online and victim.connections == 1
    assert lab.reaches(victim)
    assert tap.commands()
    for command in tap.commands():
        assert COMMAND.fullmatch(command), command
    log = lab.pool.log()
    for secret in (victim.key, "service-key-1", "its-own-key"):
        assert secret not in log, "a key is in the log"


def test_empty_password(lab):
    device = lab.device(known=False, start=False, services=False, key="")
    lab.api.device(device.uuid, "its-key")
    since = lab.api.health()["seq"]
    device.start(restart_after=None)
    wait_until(lambda: device.exits or device.refusals(), 60, "the client gives up")
    assert device.connections == 0
    assert lab.api.log(since, call="auth") == []


def test_wrong_key_is_told_plainly_and_the_right_one_gets_in_afterwards(lab):
    device = lab.device(known=False, start=False, services=False)
    lab.api.device(device.uuid, "another-key")
    device.start(restart_after=5)
    wait_until(device.refusals, 60, "refused")
    assert not device.refusals()[0].startswith("TEMP")
    lab.api.device(device.uuid, device.key)
    device.wait_online(120)
