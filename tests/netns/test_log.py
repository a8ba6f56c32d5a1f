"""What the programs write: JSON lines if that is wanted, and debug lines from SIGUSR2 to the next."""

import json
import os
import signal

import pytest
from lab.wait import wait_until

PROGRAMS = ("vpn-controller", "vpn-sidecar", "vpn-state", "vpn-connect-proxy")


@pytest.fixture
def talking(make_lab):
    lab = make_lab(ready=False)
    lab.pool.env = {**lab.pool.env, "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
    lab.pool.start().wait_ready()
    return lab


def lines(lab):
    """All of it; the words of OpenVPN and haproxy are wrapped."""
    return [json.loads(line) for line in lab.pool.log().splitlines()]


def toggle(lab, program):
    for pid in lab.pool.pids(program):
        os.kill(pid, signal.SIGUSR2)


def test_json_lines_and_debug_at_run_time(talking):
    lab = talking
    device = lab.device().wait_online()
    lab.wait_agreed()
    assert lab.reaches(device)
    for line in lines(lab):
        assert {"ts", "level", "program", "msg"} <= set(line), line
        assert line["level"] != "debug", line
    assert {line["program"] for line in lines(lab)} >= set(PROGRAMS)

    toggle(lab, "vpn-sidecar")
    another = lab.device(services=False).wait_online()
    wait_until(lambda: any(line["level"] == "debug" and line["program"] == "vpn-sidecar"
                           and line.get("uuid") == another.uuid for line in lines(lab)), 10,
               "debug lines about a device")
    toggle(lab, "vpn-sidecar")
    wait_until(lambda: lab.pool.sidecar(1)["link"] == "live", 5, "it lives")
    before = len(lines(lab))
    third = lab.device(services=False).wait_online()
    wait_until(lambda: any(line.get("uuid") == third.uuid for line in lines(lab)), 10, "told of")
    assert all(line["level"] != "debug" for line in lines(lab)[before:])


@pytest.mark.parametrize("program", PROGRAMS)
def test_debug_on_and_off_ends_nobody(lab, program):
    device = lab.device().wait_online()
    before = lab.pool.pids(program)
    for _ in range(2):
        toggle(lab, program)
    assert lab.reaches(device)
    assert lab.pool.pids(program) == before
