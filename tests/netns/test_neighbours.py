"""What else happens on a machine: somebody flushes the firewall, a second controller is started, a
program is frozen, a controller finds what it does not know."""

import contextlib
import os
import signal
import subprocess

import pytest

from lab.device import LINES_PORT
from lab.pool import Pool
from lab.wait import wait_until
from test_reload import running


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


# --- another runtime directory ---

@contextlib.contextmanager
def second_pool(lab):
    """Another pool of another controller on the same machine, as started by somebody who does not
    know of the first."""
    folder = lab.folder / "second"
    folder.mkdir()
    other = Pool(lab.machine, os.path.dirname(lab.pool.program), folder, lab.tls, lab.env(),
                 name="other")
    other.start()
    try:
        yield other
    finally:
        if other.process.poll() is None:
            other.stop()


@pytest.mark.parametrize("left", ["everything", "no sidecar", "programs"])
def test_a_pool_whose_controller_is_gone_is_left_alone_by_another(make_lab, left):
    """One of another runtime directory; what is left of the first is still looked after later."""
    lab = make_lab(replicas=0 if left == "programs" else 1)
    device = None if left == "programs" else lab.device().wait_online()
    lab.pool.kill9("vpn-controller")
    if left == "no sidecar":
        lab.pool.kill9("vpn-sidecar")
    before, rules = running(lab), ruleset(lab)
    with second_pool(lab) as other:
        wait_until(lambda: other.process.poll() is not None or running(lab) != before, 30,
                   "the second controller has done something")
        assert running(lab) == before
        assert other.process.wait(10) == 1
    assert "another pool's" in other.log() and str(lab.pool.runtime) in other.log()
    assert ruleset(lab) == rules
    lab.pool.start().wait_ready()
    assert all(set(pids) <= set(running(lab)[name]) for name, pids in before.items())
    if device:
        lab.wait_agreed()
        assert device.connections == 1 and lab.reaches(device)


def test_a_stranger_with_files_in_our_folder_lives_on(make_lab):
    """As Debian's openvpn@.service, which keeps its status and pid in /run/openvpn."""
    lab = make_lab(ready=False)
    lab.pool.runtime.mkdir()
    secret = lab.folder / "stranger"
    secret.write_text("a\nb\n")
    stranger = subprocess.Popen(
        lab.machine.command("openvpn", "--client", "--dev", "stranger0", "--dev-type", "tun",
                            "--proto", "udp", "--remote", "192.0.2.1", "1194", "--nobind",
                            "--ca", str(lab.tls / "ca.crt"), "--auth-user-pass", str(secret),
                            "--status", str(lab.pool.runtime / "stranger.status")),
        stdin=subprocess.DEVNULL, stdout=(lab.folder / "stranger.log").open("wb"))
    try:
        wait_until((lab.pool.runtime / "stranger.status").exists, 10, "it runs")
        lab.pool.start().wait_ready()
        assert lab.pool.stop() == 0
        assert stranger.poll() is None
        assert [f.name for f in lab.pool.runtime.iterdir()] == ["stranger.status"]
    finally:
        stranger.kill()
        stranger.wait()


# --- what no state file knows ---

def lose(lab, how):
    """SIGKILL to the controller, and its state file is not what it was."""
    lab.pool.kill9("vpn-controller")
    state = lab.pool.runtime / "controller.json"
    state.unlink()
    if how == "garbage":
        state.write_bytes(b"\0" * 4096)
    elif how == "folder":
        state.mkdir()


def without_tracing(lab):
    """Its controllers may not look into other users' processes, as in a container."""
    beside, program = lab.folder / "vpn-controller", lab.pool.program
    beside.write_text("#!/bin/sh\nexec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace"
                      ' %s "$@"\n' % program)
    beside.chmod(0o755)
    lab.pool.program = str(beside)
    return lab


@pytest.mark.parametrize("how", ["lost", "garbage", "folder"])
def test_all_that_is_left_is_ended_without_a_state_file(make_lab, how):
    """Of three instances, with other ports than now, and two programs that stand still."""
    lab = make_lab(replicas=3, connectProxy={"listen": '"::1"'})
    device = lab.device().wait_online()
    lab.wait_agreed()
    before = running(lab)
    lose(lab, how)
    for name in ("haproxy", "vpn-state"):
        os.kill(before[name][0], signal.SIGSTOP)
    lab.pool.change(replicas=1, state={"port": 8190}, connectProxy={
        "listen": "127.0.0.1", "port": 3228, "metricsPort": 8191})
    lab.pool.state.port = 8190
    lab.pool.start().wait_ready(90)
    wait_until(lambda: not any(set(before[name]) & set(pids)
                               for name, pids in running(lab).items()), 30, "none is left")
    device.wait_online(90, more_than=1)
    lab.wait_agreed(10)
    with lab.connect(device, proxy_port=3228) as answer:
        assert answer.status == 200 and device.uuid.encode() in answer.get()
    kept = {file.name for file in lab.pool.runtime.iterdir()}
    assert not {name for name in kept if "-2." in name or "-3." in name}
    assert lab.pool.stop() == 0
    assert {f.name for f in lab.pool.runtime.iterdir()} <= {"controller.json.bad"}
    assert lab.api.connected() == set()


def test_what_is_left_is_found_without_the_right_to_trace(make_lab):
    lab = without_tracing(make_lab(ready=False))
    lab.pool.start().wait_ready()
    before = running(lab)
    lose(lab, "lost")
    lab.pool.start().wait_ready(90)
    wait_until(lambda: not any(set(before[name]) & set(pids)
                               for name, pids in running(lab).items()), 30, "none is left")


def test_devices_of_lost_instances_are_reported_by_what_sidecars_left(make_lab):
    """Both directories' files are lost, but for the sidecars' own."""
    lab = make_lab(replicas=1)
    device = lab.device(services=False).wait_online()
    lab.wait_agreed()
    lose(lab, "lost")
    (lab.pool.state_dir / "fleet.json").unlink()
    lab.pool.kill9("vpn-sidecar")
    device.stop(kill=True)
    lab.pool.change(replicas=0)
    lab.pool.start()
    wait_until(lambda: lab.api.connected() == set(), 30, "the API knows that it is gone")


def test_tunnels_outlive_a_controller_while_their_proxy_finishes(make_lab):
    """The one before gets no second SIGTERM, which would end it at once."""
    lab = make_lab(drain={"timeoutSeconds": 60})
    device = lab.device().wait_online()
    lab.wait_agreed()
    (old,) = lab.pool.pids("vpn-connect-proxy")
    with lab.connect(device, LINES_PORT) as tunnel:
        assert tunnel.status == 200 and device.uuid.encode() in tunnel.read_line()
        lab.pool.change(connectProxy={"forwardPort": 3200})
        wait_until(lambda: len(lab.pool.pids("vpn-connect-proxy")) == 2, 20, "its successor")
        wait_until(lambda: "draining" in lab.pool.log(), 10, "the one before finishes")
        lab.pool.kill9("vpn-controller")
        lab.pool.start()
        wait_until(lambda: next(p["finishing"] for p in lab.pool.status()["programs"]
                                if p["name"] == "vpn-connect-proxy") == 1, 20, "it is known")
        assert tunnel.say(b"hello") == b"you said: hello\n"
        assert old in lab.pool.pids("vpn-connect-proxy")
    wait_until(lambda: old not in lab.pool.pids("vpn-connect-proxy"), 20, "it has finished")
