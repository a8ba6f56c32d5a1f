"""What else runs on the machine: somebody who flushes the firewall, a second controller."""

import subprocess

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
