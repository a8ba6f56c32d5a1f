"""One test's world: a machine with the stand-in API and a pool, devices around it."""

import os
import pathlib
import re
import secrets
import shutil
import sys
import tempfile

from lab import connect as proxy
from lab import tls
from lab.device import HTTP_PORT, SUPERVISOR_PORT, Device
from lab.netns import Namespace
from lab.pool import Pool
from lab.wait import wait_until
from standin.client import StandIn

SERVICE_KEY, GUEST_KEY, API_KEY = "service-key-1", "guest-key-1", "api-key-1"
USER_TOKEN, LIMITED_TOKEN = "user-token-1", "limited-token-1"
# Of a process that was killed while leaks were looked for at its end: no report.
KILLED_AT_ITS_END = re.compile(r"(?m)^==\d+==Unable to get registers from thread \d+[.]\n")
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:")


class Lab:
    """With a user who may open any port of any device (USER_TOKEN) and one who may open HTTP_PORT
    (LIMITED_TOKEN). Guests may nothing."""

    def __init__(self, bin_dir, **spec):
        self.id = "vt-" + secrets.token_hex(2)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.id + "-", dir="/tmp"))
        self.folder.chmod(0o755)  # OpenVPN and the sidecars are not root
        (self.folder / "san").mkdir()
        (self.folder / "san").chmod(0o1777)
        self.machine = Namespace.create(self.id)
        self.devices = []
        self.api = None
        self.pool = None
        try:
            self.tls = tls.make(self.folder / "tls")
            self.api = StandIn.start(
                self.folder, {"VPN_SERVICE_API_KEY": SERVICE_KEY, "VPN_GUEST_API_KEY": GUEST_KEY,
                              "VPN_API_API_KEY": API_KEY},
                listen="127.0.0.1:8000", prefix=self.machine.command())
            self.api.key("user", USER_TOKEN, tunnel=[{"uuid": "*", "ports": ["any"]}])
            self.api.key("limited", LIMITED_TOKEN, tunnel=[{"uuid": "*", "ports": [HTTP_PORT]}])
            self.pool = Pool(self.machine, bin_dir, self.folder, self.tls, self.env(), spec)
        except BaseException:
            self.close(keep=False)
            raise

    def env(self):
        sanitizers = "log_path=%s/san/log:" % self.folder
        return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                "BALENA_API_INTERNAL_HOST": "127.0.0.1:8000", "VPN_SERVICE_API_KEY": SERVICE_KEY,
                "VPN_GUEST_API_KEY": GUEST_KEY, "LOG_LEVEL": "debug", "LOG_FORMAT": "human",
                "ASAN_OPTIONS": sanitizers, "LSAN_OPTIONS": sanitizers,
                "UBSAN_OPTIONS": sanitizers + "print_stacktrace=1"}

    def device(self, known=True, start=True, **more):
        """A new device, which the API knows, unless not."""
        device = Device(self.machine, self.folder, len(self.devices) + 1, self.tls / "ca.crt",
                        self.id, **more)
        self.devices.append(device)
        if known:
            self.api.device(device.uuid, device.key, api_port=SUPERVISOR_PORT)
        return device.start() if start else device

    def devices_online(self, count, **more):
        """So many new ones at once; all are online, and that is known."""
        for _ in range(count):
            self.device(**more)
        for device in self.devices:
            device.wait_online()
        self.wait_agreed()

    def connect(self, device, port=HTTP_PORT, token=USER_TOKEN, **more):
        return proxy.connect(self.machine, "%s.balena:%d" % (device.uuid, port), token, **more)

    def reaches(self, device):
        """Does a GET through the proxy end at that very device?"""
        with self.connect(device) as answer:
            return answer.status == 200 and device.uuid.encode() in answer.get()

    # --- truth against what is believed ---

    def truth(self):
        return {d.uuid for d in self.devices if d.online}

    def agreed(self):
        """Do the API and the state service both believe the truth?"""
        truth = self.truth()
        return self.api.connected() == truth and set(self.pool.state.devices()) == truth

    def wait_agreed(self, timeout=5):
        wait_until(self.agreed, timeout, "the API, the state service and the truth agree")

    def reports(self, uuid, since=0):
        """What the API was told and took in about a device: ["connect", "disconnect", ...]"""
        return [e["call"].removeprefix("client-") for e in self.api.log(since)
                if e.get("call") in ("client-connect", "client-disconnect")
                and uuid in e.get("changed", ())]

    # --- end ---

    def sanitizer_reports(self):
        found = [KILLED_AT_ITS_END.sub("", f.read_text(errors="replace"))
                 for f in sorted((self.folder / "san").iterdir())]
        log = self.pool.log() if self.pool else ""
        if any(word in log for word in SANITIZER_WORDS):
            found.append(log)
        return [f for f in found if f.strip()]

    def print_logs(self, tail=150):
        for file in sorted(self.folder.rglob("*.log")):
            lines = file.read_text(errors="replace").splitlines()
            print("--- %s (%d lines, last %d)" % (file, len(lines), tail), file=sys.stderr)
            print("\n".join(lines[-tail:]), file=sys.stderr)

    def stop_pool(self):
        """In order, so that programs run to their ends and leaks show. False: it did not stop."""
        if self.pool is None or self.pool.process is None or self.pool.process.poll() is not None:
            return True
        try:
            return self.pool.stop(60) == 0
        except Exception:  # a controller that hangs is reported, the rest still ends
            return False

    def close(self, keep):
        """keep: leave the logs where they are."""
        for device in self.devices:
            device.delete()
        self.machine.delete()
        if self.pool is not None and self.pool.process is not None:
            self.pool.process.wait()
        if self.api is not None:
            self.api.process.wait()
            self.api.process.stdout.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
