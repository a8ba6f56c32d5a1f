"""For tests: starts the stand-in as a process and talks to its control port."""

import http.client
import json
import os
import pathlib
import select
import socket
import subprocess
import time

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "balena_api.py"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class StandIn:
    """process: a running Popen of balena_api.py whose first line of output was not read yet."""

    def __init__(self, process, control_path):
        self.process = process
        self.control_path = str(control_path)
        self.address = json.loads(read_line(process, 60))["api"]  # host:port

    @staticmethod
    def start(folder, keys, listen="127.0.0.1:0", prefix=(), extra=(), **popen):
        """keys: environment variables of main.KEYS. prefix: e.g. ip netns exec NAME."""
        control = str(pathlib.Path(folder) / "api.sock")
        command = [*prefix, "/usr/bin/python3", str(PROGRAM), "--listen", listen,
                   "--control", "unix:" + control, "--log", str(pathlib.Path(folder) / "api.log"),
                   *extra]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **keys},
                                   **popen)
        return StandIn(process, control)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    # --- control ---

    def ask(self, method, path, body=None, timeout=60):
        """The parsed answer, None for an empty one. Raises on anything but 2xx."""
        connection = UnixConnection(self.control_path, timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status // 100 != 2:
            raise RuntimeError("%s %s: %d %s" % (method, path, response.status, text))
        return json.loads(text) if text else None

    def health(self):
        return self.ask("GET", "/health")

    def mode(self, mode, **more):
        return self.ask("PUT", "/mode", {"mode": mode, **more})

    def device(self, uuid, key, api_port=None):
        return self.ask("PUT", "/devices/" + uuid, {"key": key, "api_port": api_port})

    def key(self, name, key, kind="user", tunnel=()):
        self.ask("PUT", "/keys/" + name, {"key": key, "kind": kind, "tunnel": list(tunnel)})

    def delete_service_instance(self, number):
        self.ask("DELETE", "/service_instances/%d" % number)

    def dial(self, uuid, **more):
        return self.ask("POST", "/dial", {"uuid": uuid, **more})

    def view(self):
        return self.ask("GET", "/view")

    def devices(self):
        """{uuid: what the API believes of it}."""
        return {d["uuid"]: d for d in self.view()["devices"]}

    def connected(self):
        return {u for u, d in self.devices().items() if d["is_connected_to_vpn"]}

    def log(self, since=0, wait_ms=0, **match):
        """Entries after number since whose fields are as in match."""
        entries = []
        while True:
            page = self.ask("GET", "/log?since=%d&wait_ms=%d" % (since, wait_ms))
            entries += page
            if len(page) < 10_000:
                break
            since, wait_ms = page[-1]["seq"], 0
        return [e for e in entries if all(e.get(k) == v for k, v in match.items())]


def read_line(process, seconds):
    """The process's first line of output."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError("the stand-in did not say where it listens")
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise RuntimeError("the stand-in ended with %s" % process.wait())
        line += byte
    return line
