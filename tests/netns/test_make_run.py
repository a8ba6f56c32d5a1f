"""scripts/demo, which `make run` runs: it works, leaves nothing, and starts again after a kill -9.

It runs in a network namespace as its machine, under a name of its own.
"""

import base64
import fcntl
import os
import pathlib
import pty
import re
import secrets
import signal
import socket
import subprocess
import termios

import pytest
from conftest import BIN
from lab.lab import SERVICE_KEY
from lab.netns import Namespace, end_all
from lab.wait import Hopeless, wait_until

DEMO = pathlib.Path(__file__).resolve().parents[2] / "scripts/demo"


class Run:
    def __init__(self, machine, name, log, prefix=(), **variables):
        self.log_file = log
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("BALENA_", "API_", "VPN_"))}
        self.process = subprocess.Popen(
            machine.command(*prefix, str(DEMO), "--bin", str(BIN), "--name", name),
            env={**environment, **variables}, stdin=subprocess.DEVNULL, stdout=log.open("wb"),
            stderr=subprocess.STDOUT, start_new_session=True)

    def output(self):
        return self.log_file.read_text()

    def wait_command(self):
        """-> the words of the command that it prints to reach a device"""
        def printed():
            if self.process.poll() is not None:
                raise Hopeless(self.output())
            return re.search(r"^\s+(curl .* http://[0-9a-f]{32}\.balena:8080/)$", self.output(),
                             re.M)
        return wait_until(printed, 120, "the command that reaches a device")[1].split()


@pytest.fixture
def machine():
    namespace = Namespace.create("vt-run-" + secrets.token_hex(2))
    yield namespace
    namespace.delete()


@pytest.fixture
def name():
    name = "vtdemo" + secrets.token_hex(1)
    yield name
    for namespace in Namespace.names(name):
        Namespace(namespace).delete()


def stop(demo, machine, name, number=signal.SIGINT):
    """As Ctrl-C does: to all of its group."""
    os.killpg(demo.process.pid, number)
    assert demo.process.wait(90) == 0, demo.output()
    assert "Traceback" not in demo.output()
    assert left(machine, name) == []


def left(machine, name):
    """What a demo must not leave."""
    found = [("namespace", n) for n in Namespace.names(name)]
    found += [("process", p) for p in machine.pids()]
    found += [("link", line) for line in machine.run("ip", "-o", "link").stdout.splitlines()
              if ": lo:" not in line]
    found += [("rules", text) for text in [machine.run("nft", "list", "tables").stdout] if text]
    found += [("folder", f) for f in pathlib.Path("/run").glob(name + "*")]
    sockets = pathlib.Path("/proc/net/unix").read_text()
    found += [("socket", path) for path in re.findall(r"/run/%s\S*" % name, sockets)]
    return found


def reach(machine, command):
    done = machine.run(*command, "-s", "-m", "10", check=False)
    uuid = re.search(r"[0-9a-f]{32}", command[-1])[0]
    assert uuid in done.stdout, (command, done)


def test_runs_and_ctrl_c_leaves_nothing(machine, name, tmp_path):
    demo = Run(machine, name, tmp_path / "demo.out")
    command = demo.wait_command()
    reach(machine, command)
    assert "No API in the environment" in demo.output()
    for index, subnet in ((1, "100.64.0.0/20"), (2, "100.64.16.0/20")):
        assert re.search(r"%d +%s +%d +ready" % (index, subnet, 10000 + index), demo.output())
    assert len(re.findall(r"device \d online", demo.output())) == 3
    stop(demo, machine, name)


def test_ctrl_c_at_the_start_leaves_nothing(machine, name, tmp_path):
    demo = Run(machine, name, tmp_path / "demo.out")
    wait_until(lambda: machine.pids() and "stand-in on" in demo.output(), 30, "it has begun")
    stop(demo, machine, name)


def test_a_closed_terminal_ends_it(machine, name):
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items()
                   if not k.startswith(("BALENA_", "API_", "VPN_"))}
    demo = subprocess.Popen(
        machine.command(str(DEMO), "--bin", str(BIN), "--name", name), env=environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    shown = b""
    while b".balena:8080/" not in shown:
        shown += os.read(ours, 4096)
    again = subprocess.run(machine.command(str(DEMO), "--bin", str(BIN), "--name", name),
                           env=environment, capture_output=True, text=True, timeout=30)
    assert again.returncode == 1 and "it runs already (kill %d ends it)" % demo.pid in again.stdout
    os.close(ours)
    assert demo.wait(90) == 0
    assert left(machine, name) == []


def test_starts_again_after_kill_9_of_everything(machine, name, tmp_path):
    first = Run(machine, name, tmp_path / "first.out")
    first.wait_command()
    first.process.kill()
    first.process.wait()
    end_all(machine.pids)
    assert left(machine, name), "the kill did leave things"
    second = Run(machine, name, tmp_path / "second.out")
    reach(machine, second.wait_command())
    stop(second, machine, name, signal.SIGTERM)


def test_starts_again_beside_what_lives_on(machine, name, tmp_path):
    """Only the script was killed: the second ends what the first had started."""
    first = Run(machine, name, tmp_path / "first.out")
    first.wait_command()
    first.process.kill()
    first.process.wait()
    second = Run(machine, name, tmp_path / "second.out")
    reach(machine, second.wait_command())
    stop(second, machine, name)


def test_a_port_that_somebody_has_is_said_and_nothing_is_left(machine, name, tmp_path):
    with machine.entered():
        taken = socket.create_server(("0.0.0.0", 3128))
    with taken:
        demo = Run(machine, name, tmp_path / "demo.out")
        assert demo.process.wait(90) == 1
        assert re.search(r"cannot run here: .*3128.* is taken", demo.output()), demo.output()
        assert "Traceback" not in demo.output()
        assert left(machine, name) == []


# --- with an API ---

# The controller's own folders are the machine's; here, this run's only.
OWN_FOLDERS = ("unshare", "-m", "sh", "-c", """
for folder in /run/openvpn /var/lib/openbalena-vpn; do
    mkdir -p $folder && mount -t tmpfs none $folder
done
exec "$@" """, "sh")


def variables_of(lab):
    encoded = {name: base64.b64encode((lab.tls / file).read_bytes()).decode() for name, file in (
        ("VPN_OPENVPN_CA_CRT", "ca.crt"), ("VPN_OPENVPN_SERVER_CRT", "server.crt"),
        ("VPN_OPENVPN_SERVER_KEY", "server.key"))}
    return {"BALENA_API_INTERNAL_HOST": lab.api.address, "VPN_SERVICE_API_KEY": SERVICE_KEY,
            **encoded}


def test_serves_the_devices_of_the_api_in_the_environment(make_lab, name):
    lab = make_lab(ready=False)
    run = Run(lab.machine, name, lab.folder / "run.out", OWN_FOLDERS, **variables_of(lab))
    try:
        wait_until(lambda: lab.pool.state.ready() and len(lab.pool.state.instances()) == 2, 60,
                   "two instances")
        device = lab.device().wait_online(90)
        assert lab.reaches(device)
        device.stop()
    finally:
        os.killpg(run.process.pid, signal.SIGINT)
        code = run.process.wait(90)
    assert code == 0 and "Traceback" not in run.output(), run.output()
    assert lab.pool.processes() == []
    assert lab.machine.run("nft", "list", "tables").stdout == ""
    assert list(pathlib.Path("/run").glob(name + "*")) == []


def test_says_what_is_missing(make_lab, name):
    lab = make_lab(ready=False)
    everything = variables_of(lab)
    for missing in ("VPN_SERVICE_API_KEY", "VPN_OPENVPN_SERVER_KEY"):
        some = {k: v for k, v in everything.items() if k != missing}
        run = Run(lab.machine, name, lab.folder / "run.out", OWN_FOLDERS, **some)
        assert run.process.wait(30) == 1
        assert missing in run.output()
