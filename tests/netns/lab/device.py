"""A device: a namespace with a stock OpenVPN client in it, configured as balenaOS does, and with
services to be reached."""

import pathlib
import re
import secrets
import subprocess
import threading

from lab.netns import Namespace, join
from lab.wait import wait_until

SERVICES = pathlib.Path(__file__).resolve().parent / "services.py"
HTTP_PORT, LINES_PORT, SUPERVISOR_PORT = 8080, 2323, 48484

# As the API hands it out. `comp-lzo` is old, and what makes compatibility interesting.
CONFIG = """client
remote {host} {port}
resolv-retry infinite
remote-cert-tls server
tls-version-min 1.2
ca {ca}
auth-user-pass {credentials}
auth-retry none
comp-lzo
dev resin-vpn
dev-type tun
proto {proto}
nobind
persist-key
persist-tun
reneg-bytes 0
reneg-pkts 0
reneg-sec 0
connect-retry 5 120
verb 3
script-security 0
machine-readable-output
log-append {log}
"""

_LINE = re.compile(r"^([0-9]+\.[0-9]+) [0-9a-f]+ (.*)$")
_UP = "Initialization Sequence Completed"
_DOWN = ("process restarting", "SIGTERM", "SIGUSR1[", "process exiting", "AUTH_FAILED")


def new_uuid():
    return secrets.token_hex(16)


class Device:
    """number: 1-based, unique at the machine: names its links and addresses."""

    def __init__(self, machine, folder, number, ca, prefix, port=443, uuid=None, key=None,
                 network="10.77", services=True, proto="tcp"):
        self.machine = machine
        self.number = number
        self.uuid = uuid or new_uuid()
        self.key = key if key is not None else secrets.token_hex(16)
        self.folder = pathlib.Path(folder) / ("d%d" % number)
        self.folder.mkdir()
        self.log_file = self.folder / "openvpn.log"
        self.namespace = Namespace.create("%s-d%d" % (prefix, number))
        self.gateway, self.address = join(machine, "eth0", self.namespace, number,
                                          "%s-d%d" % (prefix, number), network)
        self.proto = proto
        self.config(port, ca)
        self.openvpn = None
        self.service = None
        self.keeper = None
        self.exits = []  # return codes of clients that ended by themselves
        if services:
            self.start_services()

    def config(self, port, ca, host=None):
        credentials = self.folder / "credentials"
        credentials.write_text("%s\n%s\n" % (self.uuid, self.key))
        credentials.chmod(0o600)
        (self.folder / "client.conf").write_text(CONFIG.format(
            host=host or self.gateway, port=port, proto=self.proto, ca=ca,
            credentials=credentials, log=self.log_file))

    # --- life ---

    def start_services(self):
        self.service = subprocess.Popen(
            self.namespace.command("/usr/bin/python3", str(SERVICES), self.uuid,
                                   "%d,%d" % (HTTP_PORT, SUPERVISOR_PORT), str(LINES_PORT)),
            stdout=subprocess.PIPE, stderr=(self.folder / "services.stderr").open("wb"),
            start_new_session=True)
        self.service.stdout.readline()

    def start(self, restart_after=10):
        """restart_after: seconds after which the OS starts a client that ended; None: never."""
        stopping = threading.Event()
        self.openvpn = self.spawn()
        self.keeper = (threading.Thread(target=self.keep, args=(stopping, restart_after),
                                        daemon=True), stopping)
        self.keeper[0].start()
        return self

    def spawn(self):
        return subprocess.Popen(self.namespace.command(
            "openvpn", "--config", str(self.folder / "client.conf")),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def keep(self, stopping, restart_after):
        """systemd's part on a device."""
        while True:
            code = self.openvpn.wait()
            if stopping.is_set():
                return
            self.exits.append(code)
            if restart_after is None or stopping.wait(restart_after):
                return
            self.openvpn = self.spawn()

    def stop(self, kill=False):
        """Ends the client, by SIGTERM or as a lost device would."""
        if self.keeper is None:
            return
        thread, stopping = self.keeper
        stopping.set()
        (self.openvpn.kill if kill else self.openvpn.terminate)()
        thread.join(20)
        self.keeper = None

    def delete(self):
        self.stop(kill=True)
        if self.service is not None:
            self.service.kill()
            self.service.wait()
            self.service.stdout.close()
        self.namespace.delete()

    # --- what it sees ---

    def log(self):
        """[(Unix s, text)] of its OpenVPN."""
        if not self.log_file.exists():
            return []
        matches = map(_LINE.match, self.log_file.read_text(errors="replace").splitlines())
        return [(float(m[1]), m[2]) for m in matches if m]

    def times(self, text):
        return [at for at, line in self.log() if text in line]

    @property
    def connections(self):
        """How often it came online."""
        return len(self.times(_UP))

    @property
    def online(self):
        """Its OpenVPN runs, and the last that it said of its connection is that it is up."""
        if self.keeper is None or self.openvpn.poll() is not None:
            return False
        state = False
        for _, line in self.log():
            if _UP in line:
                state = True
            elif any(down in line for down in _DOWN):
                state = False
        return state

    @property
    def vpn_address(self):
        text = self.namespace.run("ip", "-4", "-o", "addr", "show", "dev", "resin-vpn",
                                  check=False).stdout
        match = re.search(r"inet ([0-9.]+)", text)
        return match[1] if match else None

    def wait_online(self, timeout=60, more_than=0):
        wait_until(lambda: self.connections > more_than and self.online, timeout,
                   "device %d (%s) is online" % (self.number, self.uuid[:7]))
        return self

    def wait_offline(self, timeout=60):
        wait_until(lambda: not self.online, timeout, "device %d is offline" % self.number)

    def refusals(self):
        """What it was told when it was turned away: "" for a plain AUTH_FAILED."""
        found = []
        for _, line in self.log():
            match = re.search(r"AUTH_FAILED,?([^']*)", line)
            if match and "control message" in line:
                found.append(match[1])
        return found

    def last_online(self):
        times = self.times(_UP)
        return times[-1] if times else None
