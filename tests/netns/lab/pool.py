"""`vpn-controller local` with a pool file, and what it started."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

from lab.netns import run
from lab.state import State
from lab.wait import Hopeless, wait_until
from standin.client import UnixConnection

PROGRAMS = ("vpn-controller", "vpn-sidecar", "vpn-state", "vpn-connect-proxy", "openvpn", "haproxy")


def yaml(value, indent=0):
    """Enough YAML for a pool file, as a person would write it."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines.append("%s%s:" % (" " * indent, key))
            lines.append(yaml(item, indent + 2))
        else:
            text = json.dumps(item) if isinstance(item, (bool, list)) else str(item)
            lines.append("%s%s: %s" % (" " * indent, key, text))
    return "\n".join(lines)


def merge(base, change):
    """Deep: {"drain": {"timeoutSeconds": 5}} changes that one field. None takes a field away."""
    merged = dict(base)
    for key, value in change.items():
        if isinstance(value, dict):
            merged[key] = merge(base.get(key, {}), value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


class Pool:
    """env: the controller's variables, all of them. folder: short (unix sockets) and readable.
    file: a pool file to run as it stands, instead of one made of spec. Set to None before the
    start, the controller makes the pool of its variables."""

    def __init__(self, machine, bin_dir, folder, tls, env, spec=None, name="fleet", file=None):
        self.machine = machine
        self.program = str(pathlib.Path(bin_dir).resolve() / "vpn-controller")
        self.folder = pathlib.Path(folder)
        self.runtime = self.folder / "run"
        self.state_dir = self.folder / "state"
        self.file = self.folder / "pool.yaml"
        self.log_file = self.folder / "pool.log"
        self.env = env
        self.name = name
        self.spec = merge({
            "replicas": 1,
            "openvpn": {"tls": {"caFile": "%s/ca.crt" % tls, "certFile": "%s/server.crt" % tls,
                                "keyFile": "%s/server.key" % tls}},
            "drain": {"timeoutSeconds": 10},
        }, spec or {})
        self.process = None
        self.state = State(machine)
        if file is None:
            self.write()
        else:
            self.file = pathlib.Path(file)

    # --- the file ---

    def write(self):
        """Saved as editors do: written beside, renamed."""
        beside = self.folder / "pool.yaml.new"
        beside.write_text(yaml({"apiVersion": "vpn.openbalena.io/v1alpha1", "kind": "VPNPool",
                                "metadata": {"name": self.name}, "spec": self.spec}) + "\n")
        beside.rename(self.file)

    def change(self, **spec):
        self.spec = merge(self.spec, spec)
        self.write()

    # --- the controller ---

    def command(self, *words):
        return self.machine.command(self.program, "local", *words)

    def start(self):
        file = ["-f", str(self.file)] if self.file else []
        self.process = subprocess.Popen(
            self.command(*file, "--runtime-dir", str(self.runtime), "--state-dir",
                         str(self.state_dir)),
            stdin=subprocess.DEVNULL, stdout=self.log_file.open("ab"), stderr=subprocess.STDOUT,
            env=self.env, cwd=self.folder, start_new_session=True)
        return self

    def wait_ready(self, timeout=60, replicas=None):
        """All instances take devices and the state service knows them."""
        wanted = self.spec["replicas"] if replicas is None else replicas

        def ready():
            if self.process is not None and self.process.poll() is not None:
                raise Hopeless("the controller ended with %s:\n%s" % (
                    self.process.returncode, self.log()[-3000:]))
            found = [i for i in self.state.instances() if i["connected"] and i["phase"] == "ready"]
            return self.state.ready() and len(found) == wanted

        wait_until(ready, timeout, "%d instances are ready" % wanted)
        wait_until(lambda: len(self.in_haproxy()) == wanted, 20, "haproxy has %d servers" % wanted)
        return self

    def stop(self, timeout=60):
        """SIGTERM: drains and stops in order. -> exit status"""
        self.process.terminate()
        return self.process.wait(timeout)

    def status(self, form="json"):
        done = run(*self.command("status", "-o", form, "--runtime-dir", str(self.runtime)),
                   env=self.env)
        return json.loads(done.stdout) if form == "json" else done.stdout

    # --- its processes ---

    def processes(self, name=None):
        """[(pid, name, command line)] of ours in the machine."""
        found = []
        for pid in self.machine.pids():
            with contextlib.suppress(OSError):
                words = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")[:-1]
                words = [w.decode("utf-8", "replace") for w in words]
                program = os.path.basename(words[0]) if words else ""
                if (program == "haproxy" and "-c" in words) or (
                        program == "openvpn" and "--management" not in words):
                    continue  # it is only asked for its opinion, for a moment
                if program in PROGRAMS and (name is None or program == name):
                    found.append((pid, program, words))
        return found

    def pids(self, name, index=None):
        return sorted(pid for pid, _, words in self.processes(name)
                      if index is None or index_of(words) == index)

    def kill9(self, name, index=None):
        """SIGKILL to all of that name (and index). -> their pids"""
        pids = self.pids(name, index)
        assert pids, "no %s runs" % name
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if name == "vpn-controller" and self.process is not None:
            self.process.wait(10)
            self.process = None
        return pids

    def wait_restarted(self, name, old, index=None, timeout=30):
        """Until as many new ones run as old ones did."""
        return wait_until(
            lambda: (lambda new: new if len(new) == len(old) and not set(new) & set(old) else None)(
                self.pids(name, index)), timeout, "%s runs again" % name)

    # --- what it says ---

    def sidecar(self, index, path="/v1/status"):
        """-> parsed answer of a sidecar's control socket"""
        connection = UnixConnection(str(self.runtime / ("sidecar-%d.sock" % index)), timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError("%s: %d %r" % (path, response.status, text))
        return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()

    def haproxy(self, command):
        import socket
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.runtime / "haproxy.sock"))
            sock.sendall(command.encode() + b"\n")
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
        return data.decode()

    def in_haproxy(self):
        """Names of the servers that take new devices."""
        found = []
        for line in self.haproxy("show stat instances 4 -1").splitlines()[1:]:
            fields = line.split(",")
            if len(fields) > 17 and fields[1] not in ("BACKEND", "FRONTEND") and (
                    fields[17].startswith(("UP", "no check"))):
                found.append(fields[1])
        return found

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def index_of(words):
    """The instance a command line belongs to: --index of a sidecar, dev tunN of an OpenVPN."""
    for name, value in zip(words, words[1:]):
        if name == "--index":
            return int(value)
        if name == "--dev" and value.startswith("tun"):
            return int(value[3:])
    return None
