"""What else happens on a machine: somebody flushes the firewall, a second controller is started, a
program is frozen."""

import os
import signal
import subprocess

import pytest

from lab.wait import wait_until


def ruleset(lab):
    return lab.machine.run("nft", "list", "ruleset").stdout


def test_a_flushed_ruleset_gets_the_wall_back(lab):
    device = lab.device().wait_online()
    assert "openvpn-fleet" in ruleset(lab)
    lab.machine.run("nft", "flush", "ruleset")
    wait_until(lambda: "openvpn-fleet" in ruleset(lab), 30, "the wall stands again")
    assert '"tun1"' in ruleset(lab)
    assert device.connections == 1 and lab.reaches(device)


def test_a_second_controller_touches_nothing(lab):
    device = lab.device().wait_online()
    before = lab.pool.processes()
    other = subprocess.run(
        lab.pool.command("-f", str(lab.pool.file), "--runtime-dir", str(lab.folder / "run2"),
                         "--state-dir", str(lab.folder / "state2")),
        env=lab.pool.env, capture_output=True, text=True, timeout=30)
    assert other.returncode != 0
    assert "another vpn-controller runs in this network namespace" in other.stdout + other.stderr
    assert lab.pool.processes() == before
    assert "openvpn-fleet" in ruleset(lab)
    assert device.connections == 1 and lab.reaches(device)


@pytest.mark.parametrize("program", ["vpn-state", "vpn-connect-proxy", "haproxy"])
def test_a_program_that_hangs_is_started_again(lab, program):
    device = lab.device().wait_online()
    lab.wait_agreed()
    frozen = lab.pool.pids(program)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    lab.pool.wait_restarted(program, frozen, timeout=60)
    wait_until(lambda: lab.reaches(device), 60, "the device is reached again")
    lab.wait_agreed(30)
