"""Network namespaces by name, and this machine's own as one without a name."""

import contextlib
import ctypes
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def run(*command, check=True, **more):
    return subprocess.run(command, check=check, capture_output=True, text=True, **more)


class Namespace:
    """name None: where we are. Everything in it is ended by pid when it is deleted."""

    def __init__(self, name=None):
        self.name = name

    @staticmethod
    def create(name):
        run("ip", "netns", "add", name)
        namespace = Namespace(name)
        run(*namespace.command("ip", "link", "set", "lo", "up"))
        return namespace

    @staticmethod
    def names(prefix):
        folder = pathlib.Path("/run/netns")
        return sorted(p.name for p in folder.glob(prefix + "*")) if folder.exists() else []

    def command(self, *command):
        """The command as one that runs in here."""
        if self.name is None:
            return list(command)
        return ["nsenter", "--net=/run/netns/" + self.name, "--", *command]

    def run(self, *command, **more):
        return run(*self.command(*command), **more)

    def pids(self):
        return [int(p) for p in run("ip", "netns", "pids", self.name, check=False).stdout.split()]

    def delete(self):
        """Ends what runs in it (SIGKILL), then the namespace with its links."""
        end_all(self.pids)
        run("ip", "netns", "del", self.name, check=False)

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace: sockets made now belong to it, also later."""
        if self.name is None:
            yield
            return
        with open("/proc/thread-self/ns/net") as here, open("/run/netns/" + self.name) as there:
            _setns(there)
            try:
                yield
            finally:
                _setns(here)

    def connect(self, host, port, timeout=10):
        """A TCP connection from in here."""
        with self.entered():
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.settimeout(timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def http(self, host, port, timeout=10):
        return _Http(self, host, port, timeout)


class _Http(http.client.HTTPConnection):
    def __init__(self, namespace, host, port, timeout):
        super().__init__(host, port, timeout=timeout)
        self.namespace = namespace

    def connect(self):
        self.sock = self.namespace.connect(self.host, self.port, self.timeout)


def _setns(file):
    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def end_all(pids):
    """SIGKILL to what pids() lists until it lists none."""
    for _ in range(100):
        left = pids()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def join(machine, inside, device, number, name, prefix="10.77"):
    """A veth pair between machine and device with a /30 of its own. -> (machine's, device's IP)."""
    base = number * 4
    ours = "%s.%d.%d" % (prefix, base >> 8, (base & 255) + 1)
    theirs = "%s.%d.%d" % (prefix, base >> 8, (base & 255) + 2)
    peer = ["netns", device.name]
    machine.run("ip", "link", "add", name, "type", "veth", "peer", "name", inside, *peer)
    machine.run("ip", "addr", "add", ours + "/30", "dev", name)
    machine.run("ip", "link", "set", name, "up")
    device.run("ip", "addr", "add", theirs + "/30", "dev", inside)
    device.run("ip", "link", "set", inside, "up")
    return ours, theirs


def why_unable():
    """What is missing for namespaces with OpenVPN in them, None: nothing."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    name = "vt-probe-%d" % os.getpid()
    try:
        probe = Namespace.create(name)
    except (OSError, subprocess.CalledProcessError) as failure:
        return "no network namespaces: %s" % getattr(failure, "stderr", failure)
    try:
        probe.run("ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
        probe.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        probe.run("nft", "add", "table", "inet", "probe")
    except (OSError, subprocess.CalledProcessError) as failure:
        return "no tun, veth or nftables: %s" % getattr(failure, "stderr", failure)
    finally:
        probe.delete()
    return None
