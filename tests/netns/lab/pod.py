"""One instance as a Pod has it, without a cluster: two containers that share a network namespace and
one directory, OpenVPN as root with nothing but NET_ADMIN, the sidecar as nobody in particular on a
root file system that is read-only. What the kubelet does to an emptyDir for fsGroup is done here."""

import contextlib
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

from lab import connect as proxy
from lab import tls
from lab.device import HTTP_PORT, SUPERVISOR_PORT, Device
from lab.lab import API_KEY, GUEST_KEY, SANITIZER_WORDS, SERVICE_KEY, USER_TOKEN
from lab.netns import Namespace
from lab.state import State
from lab.wait import wait_until
from standin.client import StandIn

USER = 65532
ROOT = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all", "--groups", str(USER),
        "--no-new-privs", "--"]
NONROOT = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--groups", str(USER),
           "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--"]

# The sidecar's container: only the shared directory can be written; names are those of `hosts`.
# The sanitizers' reports need a place as well.
CONTAINER = """
set -e
mount --make-rprivate /
for writable in "$RUN" "$SAN"; do mount --bind "$writable" "$writable"; done
mount --bind "$HOSTS" /etc/hosts
mount -o remount,bind,ro /
exec "$@"
"""


class PodLab:
    """machine: the Pod's network namespace, in which the stand-in API and the state services are,
    too. epoch: of the Pod, as long as this lives."""

    def __init__(self, bin_dir):
        self.id = "vp-" + secrets.token_hex(2)
        self.bin = pathlib.Path(bin_dir).resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.id + "-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.run_dir = self.folder / "run"
        self.run_dir.mkdir()
        os.chown(self.run_dir, 0, USER)
        self.run_dir.chmod(0o2777)
        self.san = self.folder / "san"
        self.san.mkdir()
        self.san.chmod(0o1777)
        self.hosts = self.folder / "hosts"
        self.name("127.0.0.11")
        self.epoch = secrets.token_hex(8)
        self.machine = Namespace.create(self.id)
        self.devices = []
        self.processes = {}
        self.api = None
        try:
            self.tls = tls.make(self.folder / "tls")
            self.api = StandIn.start(
                self.folder, {"VPN_SERVICE_API_KEY": SERVICE_KEY, "VPN_GUEST_API_KEY": GUEST_KEY,
                              "VPN_API_API_KEY": API_KEY},
                listen="127.0.0.1:8000", prefix=self.machine.command())
            self.api.key("user", USER_TOKEN, tunnel=[{"uuid": "*", "ports": ["any"]}])
        except BaseException:
            self.close(keep=False)
            raise

    # --- what runs ---

    def env(self):
        sanitizers = "log_path=%s/log:" % self.san
        return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                "BALENA_API_INTERNAL_HOST": "127.0.0.1:8000", "VPN_SERVICE_API_KEY": SERVICE_KEY,
                "VPN_GUEST_API_KEY": GUEST_KEY, "LOG_LEVEL": "debug",
                "ASAN_OPTIONS": sanitizers, "LSAN_OPTIONS": sanitizers,
                "UBSAN_OPTIONS": sanitizers + "print_stacktrace=1"}

    def spawn(self, name, command, **env):
        """Starts it (again); its log is name.log."""
        self.processes[name] = subprocess.Popen(
            self.machine.command(*command), stdin=subprocess.DEVNULL,
            stdout=(self.folder / (name + ".log")).open("ab"), stderr=subprocess.STDOUT,
            env={**self.env(), **env}, start_new_session=True)
        return self.processes[name]

    def kill9(self, name):
        self.processes[name].kill()
        self.processes[name].wait(10)

    def start_openvpn(self):
        return self.spawn("openvpn", [
            *ROOT, "openvpn", "--mode", "server", "--proto", "tcp-server", "--port", "1194",
            "--tcp-nodelay", "--dev", "tun1", "--dev-type", "tun", "--topology", "p2p",
            "--ifconfig", "100.64.0.1", "100.64.0.2", "--ifconfig-pool", "100.64.0.3",
            "100.64.15.254", "--route", "100.64.0.0", "255.255.240.0", "--push",
            "route 100.64.0.1", "--ping", "10", "--ping-exit", "120", "--push", "ping 10",
            "--push", "ping-exit 60", "--tls-server", "--dh", "none", "--ca", self.tls / "ca.crt",
            "--cert", self.tls / "server.crt", "--key", self.tls / "server.key",
            "--verify-client-cert", "none", "--username-as-common-name", "--compress", "migrate",
            "--data-ciphers", "AES-128-GCM:AES-256-GCM", "--hand-window", "60",
            "--management", self.socket("management"), "unix", "--management-hold",
            "--management-client-auth", "--persist-key", "--persist-tun", "--verb", "1"])

    def start_sidecar(self, *more, state="state.test:8090"):
        return self.spawn("sidecar", [
            "unshare", "--mount", "sh", "-c", CONTAINER, "sh", *NONROOT, self.bin / "vpn-sidecar",
            "--pool", "fleet", "--index", "1", "--epoch", self.epoch,
            "--management", self.socket("management"), "--subnet", "100.64.0.0/20",
            "--control", "unix:" + self.socket("control"), "--control", "127.0.0.1:8080",
            "--nss", "unix:" + self.socket("nss-1"), "--record", self.run_dir / "sidecar-1.json",
            "--proxy-listen", ":3128", "--proxy-advertise", "127.0.0.1:3128", "--state", state,
            *more], RUN=str(self.run_dir), SAN=str(self.san), HOSTS=str(self.hosts))

    def start_state(self, address, *more):
        return self.spawn("state-" + address, [
            self.bin / "vpn-state", "--listen", address + ":8090", *more])

    def drain_command(self, *more):
        """As OpenVPN's preStop. -> the finished process"""
        return subprocess.run(self.machine.command(
            *ROOT, self.bin / "vpn-sidecar", "drain", "--control",
            "unix:" + self.socket("control"), *more),
            env=self.env(), capture_output=True, text=True, timeout=120)

    # --- what is there ---

    def socket(self, name):
        return str(self.run_dir / (name + ".sock"))

    def name(self, *addresses):
        """state.test has these from now on. In place: the sidecar sees the file, not the name."""
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(
            "%s state.test\n" % address for address in addresses))

    def http(self, method, path, port=8080, host="127.0.0.1", body=None, token=None):
        """-> status, body"""
        connection = self.machine.http(host, port)
        try:
            connection.request(method, path, body=body, headers={
                "Authorization": "Bearer " + token} if token else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ready(self):
        return self.http("GET", "/readyz")[0] == 200

    def wait_ready(self):
        wait_until(self.ready, 30, "the sidecar is ready")
        return self

    def state(self, address):
        return State(self.machine, host=address)

    def device(self, **more):
        device = Device(self.machine, self.folder, len(self.devices) + 1, self.tls / "ca.crt",
                        self.id, port=1194, **more)
        self.devices.append(device)
        self.api.device(device.uuid, device.key, api_port=SUPERVISOR_PORT)
        return device.start()

    def reaches(self, device):
        with proxy.connect(self.machine, "%s.balena:%d" % (device.uuid, HTTP_PORT),
                           USER_TOKEN) as answer:
            return answer.status == 200 and device.uuid.encode() in answer.get()

    def reports(self, uuid, since=0):
        return [e["call"].removeprefix("client-") for e in self.api.log(since)
                if e.get("call") in ("client-connect", "client-disconnect")
                and uuid in e.get("changed", ())]

    def log(self, name):
        return (self.folder / (name + ".log")).read_text(errors="replace")

    # --- end ---

    def stop(self):
        """In order, so that leaks show. -> what went wrong"""
        wrong = []
        for name in [n for n in self.processes if n != "openvpn"] + ["openvpn"]:
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                if process.wait(30) != 0:
                    wrong.append("%s ended with %d" % (name, process.returncode))
            except subprocess.TimeoutExpired:
                wrong.append(name + " does not end")
        found = [f.read_text(errors="replace") for f in sorted(self.san.iterdir())]
        found += [f.read_text(errors="replace") for f in self.folder.glob("*.log")
                  if any(word in f.read_text(errors="replace") for word in SANITIZER_WORDS)]
        return wrong + found

    def print_logs(self, tail=150):
        for file in sorted(self.folder.rglob("*.log")):
            lines = file.read_text(errors="replace").splitlines()
            print("--- %s\n%s" % (file, "\n".join(lines[-tail:])), file=sys.stderr)

    def close(self, keep):
        for device in self.devices:
            device.delete()
        self.machine.delete()
        for process in self.processes.values():
            process.wait()
        if self.api is not None:
            self.api.process.wait()
            self.api.process.stdout.close()
        if not keep:
            with contextlib.suppress(OSError):
                shutil.rmtree(self.folder)
