"""What goes wrong on a machine: programs that freeze or are missing, full disks, pool files that are
not what they were, controllers that meet. Each is said clearly, harms nobody who is served, and is
over when its cause is."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from lab.wait import holds, wait_until
from test_drop_in import variables
from test_reload import running


def wait_said(lab, key, text, timeout=30):
    """Until the status says it under that key."""
    wait_until(lambda: text in (lab.pool.status()[key] or ""), timeout, "%s: %s" % (key, text))


def said(lab, text):
    """How often the log says it."""
    return lab.pool.log().count(text)


def ends(lab, *words, env=None, prefix=()):
    """A controller that cannot run. -> status, what it says; nothing runs after it"""
    done = subprocess.run(
        lab.machine.command(*prefix, lab.pool.program, "local", "-f", str(lab.pool.file),
                            "--runtime-dir", str(lab.pool.runtime), "--state-dir",
                            str(lab.pool.state_dir), *words),
        env=env or lab.pool.env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


# --- ports ---

@pytest.mark.parametrize("port,who", [(443, "haproxy"), (3128, "vpn-connect-proxy"),
                                      (8090, "vpn-state"), (10001, "instance 1: OpenVPN"),
                                      (21001, "instance 1: vpn-sidecar")])
def test_status_says_who_has_a_port_until_it_is_free(make_lab, port, who):
    lab = make_lab(ready=False)
    holder = subprocess.Popen(
        lab.machine.command("/usr/bin/python3", "-c", "import socket, sys\n"
                            "s = socket.create_server(('127.0.0.1', %d))\n"
                            "print(flush=True)\nsys.stdin.read()" % port),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    lab.pool.start()
    said = "%s: port %d is taken by python3 (process %d)" % (who, port, holder.pid)
    wait_until(lambda: lab.pool.status()["unavailable"] == said, 30, said)
    status, table = lab.pool.status(), lab.pool.status("table")
    assert status["available"] is False
    assert "NOT available: " + said in table.splitlines()[0]
    holder.communicate()
    wait_until(lambda: lab.pool.status()["available"], 60, "available without it")
    assert lab.pool.status()["unavailable"] is None
    lab.pool.wait_ready()


def test_status_notices_a_program_that_ends(lab):
    wait_until(lambda: lab.pool.status()["available"], 10, "available")
    # As a binary that is gone: its next start fails.
    old = lab.pool.kill9("vpn-state")
    wait_until(lambda: "vpn-state" in lab.pool.log() and "signal 9" in lab.pool.log(), 10, "its end")
    lab.pool.wait_restarted("vpn-state", old)
    wait_until(lambda: lab.pool.status()["available"], 10, "available again")


# --- the log ---

def test_each_line_is_json_where_that_is_wanted(make_lab):
    lab = variables(make_lab(ready=False), LOG_FORMAT="json", VPN_INSTANCE_COUNT="1",
                    VPN_API_PORT="1", LOG_LEVEL="info")
    lab.pool.start().wait_ready(replicas=1)
    device = lab.device(services=False).wait_online()
    device.stop()
    lab.pool.kill9("openvpn")
    lab.pool.wait_ready(replicas=1)
    assert lab.pool.stop() == 0
    lines = [json.loads(line) for line in lab.pool.log().splitlines()]
    assert all(isinstance(line, dict) and line["program"] for line in lines)
    assert {"vpn-controller", "vpn-sidecar", "openvpn"} <= {line["program"] for line in lines}
    assert all(line["index"] == 1 for line in lines if line["program"] == "openvpn")


def test_wrong_settings_are_json_as_well(make_lab):
    lab = variables(make_lab(ready=False), LOG_FORMAT="json", VPN_PORT="x", VPN_BASE_PORT="y")
    done = subprocess.run(lab.pool.command("--runtime-dir", str(lab.pool.runtime)),
                          env=lab.pool.env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stdout == ""
    said = [json.loads(line)["msg"] for line in done.stderr.splitlines()]
    assert "environment: VPN_PORT: 'x' is not a whole number" in said
    assert "environment: VPN_BASE_PORT: 'y' is not a whole number" in said


# --- what haproxy refuses ---

def test_cpu_map_that_haproxy_refuses(make_lab):
    """At the start, and at a reload, which changes nothing."""
    lab = make_lab(ready=False)
    lab.pool.change(haproxy={"cpuMap": '"auto:1/1-2 0-1 zz"'})
    code, said = ends(lab)
    assert code == 2 and "spec.haproxy.cpuMap: haproxy refuses it: " in said and "zz" in said
    assert lab.pool.processes() == [] and not lab.pool.runtime.exists()
    lab.pool.change(haproxy=None)
    lab.pool.start().wait_ready()
    before = running(lab)
    lab.pool.change(replicas=2, haproxy={"cpuMap": '"auto:1/1-2 0-1 zz"'})
    wait_said(lab, "notice", "spec.haproxy.cpuMap: haproxy refuses it")
    holds(lambda: running(lab) == before, 2, "nothing changes")


# --- what stands still ---

def test_frozen_openvpn_is_noticed_and_replaced(lab):
    device = lab.device(services=False).wait_online()
    (pid,) = lab.pool.pids("openvpn")
    os.kill(pid, signal.SIGSTOP)
    why = "OpenVPN does not answer vpn-sidecar"
    wait_until(lambda: not lab.pool.status()["available"], 60, "it is noticed")
    assert lab.pool.status()["instances"][0]["why"] == why
    assert "instance 1         " + why in lab.pool.status("table")
    wait_until(lambda: lab.pool.pids("openvpn") not in ([], [pid]), 120, "another one runs")
    assert said(lab, "signal 9 (Killed): does not answer") == 1
    device.wait_online(120, more_than=1)
    lab.wait_agreed(10)


def test_frozen_sidecar_is_replaced_and_no_device_notices(lab):
    device = lab.device(services=False).wait_online()
    (pid,) = lab.pool.pids("vpn-sidecar")
    os.kill(pid, signal.SIGSTOP)
    lab.pool.wait_restarted("vpn-sidecar", [pid], timeout=60)
    lab.wait_agreed(10)
    assert device.connections == 1


def test_frozen_controller_says_so_and_goes_on(lab):
    (pid,) = lab.pool.pids("vpn-controller")
    os.kill(pid, signal.SIGSTOP)
    try:
        done = subprocess.run(lab.pool.command("status", "--runtime-dir", str(lab.pool.runtime)),
                              env=lab.pool.env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and "does not answer" in done.stderr
        assert "port 80" not in done.stderr
        device = lab.device(services=False).wait_online()  # nobody needs it for that
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: lab.pool.status()["available"], 20, "it goes on")
    assert device.connections == 1


def test_controller_that_stood_still_finds_nobody_silent(lab):
    (pid,) = lab.pool.pids("vpn-controller")
    os.kill(pid, signal.SIGSTOP)
    try:
        holds(lambda: True, 6, "longer than a sidecar may be silent")
    finally:
        os.kill(pid, signal.SIGCONT)
    holds(lambda: said(lab, "the pool is not available") == 0, 3, "it is available all the time")


def test_api_that_was_never_there_is_told_with_its_reason(make_lab):
    lab = make_lab(ready=False)
    lab.pool.env = {**lab.pool.env, "BALENA_API_INTERNAL_HOST": "127.0.0.1:1"}
    lab.pool.start().wait_ready()
    wait_until(lambda: said(lab, "the balena API is ill") == 1, 20, "the log tells")
    wait_said(lab, "apiWhy", "127.0.0.1")
    assert "balena API         ill: " in lab.pool.status("table")
    holds(lambda: said(lab, "the balena API is ill") == 1, 5, "once")


def test_status_without_a_controller(make_lab):
    lab = make_lab(ready=False)
    done = subprocess.run(lab.pool.command("status", "--runtime-dir", str(lab.pool.runtime)),
                          env=lab.pool.env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "vpn-controller: no controller runs in %s\n" % lab.pool.runtime


# --- disks ---

@contextlib.contextmanager
def small_disk(folder):
    """A disk of 256 KiB. -> a function that fills it and one that makes room again"""
    folder.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "none", str(folder)],
                   check=True)
    filler = folder / "filler"

    def fill():
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    try:
        yield fill, filler.unlink
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_state_directory_is_told_until_there_is_room(make_lab):
    lab = make_lab(ready=False)
    with small_disk(lab.pool.state_dir) as (fill, make_room):
        fill()
        lab.pool.start().wait_ready()
        wait_said(lab, "stateDirWhy", "No space left on device")
        assert "No space left on device" in lab.pool.status("table")
        device = lab.device(services=False).wait_online()
        make_room()
        wait_until(lambda: lab.pool.status()["stateDirWhy"] is None, 20, "on disk")
        kept = json.loads((lab.pool.state_dir / "fleet.json").read_text())
        assert str(lab.pool.sidecar(1)["serviceId"]) in json.dumps(kept)
        assert device.connections == 1
        assert lab.pool.stop() == 0


def test_full_runtime_directory_keeps_nothing_from_running(make_lab):
    """What ends is started again, and once told: the state file is behind until there is room."""
    lab = make_lab(ready=False)
    with small_disk(lab.pool.runtime) as (fill, make_room):
        lab.pool.start().wait_ready()
        device = lab.device(services=False).wait_online()
        fill()
        for name in ("vpn-state", "vpn-sidecar", "openvpn"):
            (old,) = lab.pool.kill9(name)
            lab.pool.wait_restarted(name, [old])
        wait_said(lab, "stateFileWhy", "No space left on device")
        assert "No space left on device" in lab.pool.status("table")
        lab.pool.wait_ready()
        device.wait_online(120, more_than=1)
        lab.wait_agreed(10)
        (instance,) = lab.pool.status()["instances"]
        assert (instance["restarts"], instance["sidecarRestarts"]) == (1, 1)
        assert said(lab, "state is not on disk") == 1
        assert said(lab, "sidecar ended") == said(lab, "OpenVPN ended") == 1
        make_room()
        wait_until(lambda: lab.pool.status()["stateFileWhy"] is None, 20, "on disk")
        assert said(lab, "state is on disk again") == 1
        assert device.connections == 2
        assert lab.pool.stop() == 0


def test_what_was_started_on_a_full_disk_is_not_left_to_a_successor_unknown(make_lab):
    """Its state file names none of it."""
    lab = make_lab(ready=False)
    with small_disk(lab.pool.runtime) as (fill, make_room):
        lab.pool.start().wait_ready()
        device = lab.device(services=False).wait_online()
        fill()
        for name in ("haproxy", "vpn-state", "vpn-connect-proxy", "vpn-sidecar", "openvpn"):
            (old,) = lab.pool.kill9(name)
            lab.pool.wait_restarted(name, [old])
        lab.pool.wait_ready()
        before = running(lab)
        lab.pool.kill9("vpn-controller")
        lab.pool.start()
        for name in ("vpn-sidecar", "openvpn"):  # ended and started anew
            lab.pool.wait_restarted(name, before[name])
        lab.pool.wait_ready()
        make_room()
        wait_until(lambda: lab.pool.status()["stateFileWhy"] is None, 20, "on disk")
        device.wait_online(120, more_than=1)
        lab.wait_agreed(10)
        assert len(running(lab)["openvpn"]) == len(running(lab)["vpn-sidecar"]) == 1
        assert lab.pool.stop() == 0


@pytest.mark.parametrize("change", [{}, {"haproxy": {"idleTimeoutSeconds": 77}}])
def test_full_runtime_directory_does_not_keep_a_controller_from_adopting(make_lab, change):
    lab = make_lab(ready=False)
    with small_disk(lab.pool.runtime) as (fill, make_room):
        lab.pool.start().wait_ready()
        device = lab.device(services=False).wait_online()
        before = {name: lab.pool.pids(name) for name in ("haproxy", "openvpn", "vpn-sidecar",
                                                         "vpn-state", "vpn-connect-proxy")}
        fill()
        lab.pool.kill9("vpn-controller")
        lab.pool.change(**change)
        lab.pool.start()
        wait_until(lambda: "No space left on device" in lab.pool.log(), 30, "the log says it")
        wait_said(lab, "stateFileWhy", "No space left on device")
        assert {name: lab.pool.pids(name) for name in before} == before
        make_room()
        wait_until(lambda: lab.pool.status()["stateFileWhy"] is None, 20, "on disk")
        wait_until(lambda: lab.pool.status()["available"], 60, "available")
        if change:  # a successor; the one before finishes the device's connection
            old = set(before.pop("haproxy"))
            wait_until(lambda: set(lab.pool.pids("haproxy")) - old, 10, "haproxy's successor")
        assert device.connections == 1
        assert {name: lab.pool.pids(name) for name in before} == before
        assert lab.pool.stop() == 0


def has_ended(pid):
    """And let go of its files."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def renew(lab):
    """Another text of the server's certificate in its variable."""
    text = (lab.tls / "server.crt").read_bytes() + b"\n"
    lab.pool.env = {**lab.pool.env, "VPN_OPENVPN_SERVER_CRT": base64.b64encode(text).decode()}
    return text


def certificates(lab):
    """What is in tls/, and whether it was written anew."""
    return {file.name: (file.read_bytes(), file.stat().st_ino)
            for file in (lab.pool.runtime / "tls").iterdir()}


@pytest.mark.parametrize("renewed", [False, True])
def test_full_runtime_directory_does_not_keep_certificates_from_adopting(make_lab, renewed):
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="1", DEFAULT_SIGTERM_TIMEOUT="10")
    with small_disk(lab.pool.runtime) as (fill, make_room):
        lab.pool.start().wait_ready(replicas=1)
        device = lab.device(services=False).wait_online()
        before, files = running(lab), certificates(lab)
        fill()
        lab.pool.kill9("vpn-controller")
        text = renew(lab) if renewed else files["server.crt"][0]
        lab.pool.start()
        wait_said(lab, "stateFileWhy", "No space left on device")
        if renewed:
            said = "write '%s/tls/server.crt': No space left on device" % lab.pool.runtime
            wait_said(lab, "certificatesWhy", said)
            assert said in lab.pool.log() and said in lab.pool.status("table")
        os.kill(lab.pool.pids("vpn-controller")[0], signal.SIGHUP)
        wait_until(lambda: ("not applied" if renewed else "was applied") in lab.pool.log(), 10,
                   "nothing is written where nothing is new")
        assert running(lab) == before and certificates(lab) == files and device.connections == 1
        make_room()
        wait_until(lambda: lab.pool.status()["stateFileWhy"] is None, 20, "on disk")
        wait_until(lambda: lab.pool.status()["certificatesWhy"] is None, 20, "certified")
        assert certificates(lab)["server.crt"][0] == text
        if renewed:
            wait_until(lambda: not set(before["openvpn"]) & set(lab.pool.pids("openvpn")), 60,
                       "an instance with the new one")
            device.wait_online(60, more_than=1)
        else:
            assert running(lab) == before and device.connections == 1
        assert lab.pool.stop() == 0


def test_fresh_start_without_room_for_certificates_is_refused(make_lab):
    """In an empty directory, and in that of a pool that was killed with all that it ran."""
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="1")

    def is_refused(file):
        done = subprocess.run(
            lab.pool.command("--runtime-dir", str(lab.pool.runtime), "--state-dir",
                             str(lab.pool.state_dir)),
            env=lab.pool.env, capture_output=True, text=True, timeout=30)
        said = "write '%s/tls/%s': No space left on device" % (lab.pool.runtime, file)
        assert done.returncode == 1 and said in done.stdout + done.stderr, done
        assert lab.pool.processes() == []

    with small_disk(lab.pool.runtime) as (fill, make_room):
        fill()
        is_refused("ca.crt")
        assert [file.name for file in lab.pool.runtime.iterdir()] == ["filler"]
        make_room()
        lab.pool.start().wait_ready(replicas=1)
        names = ("vpn-controller", *running(lab))
        killed = [pid for name in names for pid in lab.pool.kill9(name)]
        wait_until(lambda: all(map(has_ended, killed)), 10, "all have ended")
        for file in lab.pool.runtime.glob("s*-1.*"):  # the next start's first deed, and room
            file.unlink()
        files = certificates(lab)
        fill()
        text = renew(lab)
        is_refused("server.crt")
        assert certificates(lab) == files
        make_room()
        lab.pool.start().wait_ready(replicas=1)
        assert certificates(lab)["server.crt"][0] == text
        assert lab.pool.stop() == 0


def test_broken_state_file_is_set_aside(lab):
    device = lab.device(services=False).wait_online()
    lab.pool.kill9("vpn-controller")
    (lab.pool.runtime / "controller.json").write_text('{"version":1,"pool":')
    lab.pool.start()
    wait_until((lab.pool.runtime / "controller.json.bad").exists, 20, "it is kept for a person")
    lab.pool.wait_ready()
    device.wait_online(90, more_than=1)  # what no file knows is ended and started anew
    lab.wait_agreed(10)


# --- the pool file ---

def test_pool_file_that_is_none_changes_nothing(lab):
    device = lab.device(services=False).wait_online()
    before, file = running(lab), lab.pool.file
    good = file.read_text()
    # Saved by a program that ran out of room: empty.
    file.write_text("")
    wait_said(lab, "notice", "the file holds no object")
    # A folder in its place.
    file.unlink()
    file.mkdir()
    wait_said(lab, "notice", "Is a directory")
    file.rmdir()
    # A link to nothing, then to a good file, as a ConfigMap is swapped.
    other = file.with_name("other.yaml")
    file.symlink_to(other)
    wait_said(lab, "notice", "No such file")
    other.write_text("\ufeff" + good.replace("replicas: 1", "replicas: 2"))
    beside = file.with_name("link.new")
    beside.symlink_to(other)
    beside.rename(file)
    lab.pool.wait_ready(30, replicas=2)
    assert lab.pool.status()["notice"] is None
    after = running(lab)
    assert set(before["openvpn"]) < set(after["openvpn"]) and before["haproxy"] == after["haproxy"]
    assert device.connections == 1


def test_storm_of_sighups_is_survived(lab):
    before = running(lab)
    (pid,) = lab.pool.pids("vpn-controller")
    for _ in range(300):
        os.kill(pid, signal.SIGHUP)
    lab.pool.change(replicas=2)
    os.kill(pid, signal.SIGHUP)
    lab.pool.wait_ready(60)
    assert set(before["openvpn"]) < set(running(lab)["openvpn"])


# --- controllers ---

def test_second_controller_is_turned_away_and_touches_nothing(make_lab):
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="1")
    lab.pool.start().wait_ready(replicas=1)
    before = running(lab)
    key = (lab.pool.runtime / "tls/server.key").read_bytes()
    # The same folder with other certificates, and another folder in the same network.
    other = {**lab.pool.env, "VPN_OPENVPN_SERVER_CRT": lab.pool.env["VPN_OPENVPN_CA_CRT"]}
    for env, folder in ((other, lab.pool.runtime), (lab.pool.env, lab.folder / "run2")):
        done = subprocess.run(
            lab.pool.command("--runtime-dir", str(folder), "--state-dir", str(lab.pool.state_dir)),
            env=env, capture_output=True, text=True, timeout=30)
        assert done.returncode in (1, 2), done
        assert "another vpn-controller" in done.stderr or "does not belong" in done.stderr
    assert running(lab) == before
    assert (lab.pool.runtime / "tls/server.key").read_bytes() == key


def test_starts_again_after_a_kill_of_everything(lab):
    device = lab.device(services=False).wait_online()
    for name in ("vpn-controller", "vpn-sidecar", "openvpn", "haproxy", "vpn-state",
                 "vpn-connect-proxy"):
        lab.pool.kill9(name)
    lab.pool.start().wait_ready()
    device.wait_online(120, more_than=1)
    lab.wait_agreed(10)


def nothing_is_left(lab):
    return (lab.pool.processes() == [] and lab.machine.run("nft", "list", "tables").stdout == ""
            and (not lab.pool.runtime.exists() or list(lab.pool.runtime.iterdir()) == []))


@pytest.mark.parametrize("after", ["reading", "started", "sidecar", "goes into haproxy"])
def test_stops_while_it_is_starting(make_lab, after):
    lab = make_lab(ready=False)
    lab.pool.start()
    if after != "reading":
        wait_until(lambda: after in lab.pool.log() or lab.pool.in_haproxy(), 30, after)
    else:
        wait_until(lambda: lab.pool.runtime.exists(), 10, "its folder")
    assert lab.pool.stop() == 0
    assert nothing_is_left(lab), list(lab.pool.runtime.iterdir())


def test_from_nothing_to_three(make_lab):
    lab = make_lab(replicas=0)
    wait_until(lambda: lab.pool.status()["available"], 20, "available, as nothing is wanted")
    lab.pool.change(replicas=3)
    lab.pool.wait_ready(60)
    lab.pool.change(replicas=0)
    wait_until(lambda: lab.pool.pids("openvpn") == [], 60, "no instance is left")
    assert lab.pool.stop() == 0 and nothing_is_left(lab)


# --- programs ---

@pytest.mark.parametrize("name", ["haproxy", "openvpn", "nft"])
def test_missing_program_is_named(make_lab, name):
    lab = make_lab(ready=False)
    empty = lab.folder / "sbin"
    empty.mkdir()
    for other in {"haproxy", "openvpn", "nft"} - {name}:
        shutil.copy(shutil.which(other), empty)
    hide = ("unshare", "-m", "sh", "-c", "for d in /usr/sbin /sbin; do mount --bind %s $d; done;"
            ' exec "$@"' % empty, "sh")
    code, said = ends(lab, prefix=hide)
    assert code == 1 and "program '%s' is not installed" % name in said, said
    assert nothing_is_left(lab)


def test_missing_tun_is_said(make_lab):
    lab = make_lab(ready=False)
    code, said = ends(lab, prefix=("unshare", "-m", "sh", "-c",
                                   'mount -t tmpfs none /dev/net; exec "$@"', "sh"))
    assert code == 1 and "/dev/net/tun is needed" in said
    assert nothing_is_left(lab)


def test_openvpn_that_is_none_is_quoted(make_lab):
    """A program that prints rubbish and ends: its last words are in the status."""
    lab = make_lab(ready=False)
    folder = lab.folder / "bin"
    folder.mkdir()
    fake = folder / "openvpn"
    fake.write_text("#!/bin/sh\nprintf 'rubbish \\377\\001\\n'\n"
                    "echo 'ERROR: Cannot do anything'\nexit 3\n")
    fake.chmod(0o755)
    lab.pool.env = {**lab.pool.env, "PATH": "%s:%s" % (folder, lab.pool.env["PATH"])}
    lab.pool.start()
    wait_said(lab, "unavailable", "instance 1: OpenVPN: exit status 3: ERROR: Cannot do anything")
    assert pathlib.Path(lab.pool.runtime / "controller.sock").exists()
    assert lab.pool.stop() == 0 and nothing_is_left(lab)
