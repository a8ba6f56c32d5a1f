import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from stand_ins import GUEST_KEY, SERVICE_KEY, Api, State, eventually

BIN = os.environ["VPN_BIN"]


class Program:
    """One of ours, with its log kept."""

    stop_signal = signal.SIGTERM

    def __init__(self, words, api_port, env=None):
        self.lines = []
        self.process = subprocess.Popen(
            [os.path.join(BIN, words[0]), *map(str, words[1:])],
            env={**os.environ, "VPN_SERVICE_API_KEY": SERVICE_KEY, "VPN_GUEST_API_KEY": GUEST_KEY,
                 "BALENA_API_INTERNAL_HOST": f"127.0.0.1:{api_port}", "LOG_LEVEL": "debug",
                 **(env or {})},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def log(self, *words):
        return [line for line in list(self.lines) if all(word in line for word in words)]

    def wait_log(self, *words):
        def check():
            assert self.process.poll() is None or self.log(*words), "\n".join(self.lines)
            return self.log(*words)
        return eventually(check, what=f"log line with {words}")[-1]

    def end(self):
        """Ends it in order and looks at what it says about itself."""
        if self.process.poll() is None:
            self.process.stdin.close()
            if self.stop_signal:
                self.process.send_signal(self.stop_signal)
        code = self.process.wait(30)
        text = "\n".join(self.lines)
        assert "Sanitizer" not in text and "runtime error" not in text, text
        return code


class ConnectProxy(Program):
    def __init__(self, api, states, *options, listen="127.0.0.1:0", metrics="127.0.0.1:8091"):
        """states: ports on 127.0.0.1, or "host:port"."""
        states = ",".join(s if isinstance(s, str) else f"127.0.0.1:{s}" for s in states)
        super().__init__(["vpn-connect-proxy", "--listen", listen, "--metrics-listen", metrics,
                          "--state", states, "--workers", 2, "--drain-timeout-seconds", 0,
                          *options], api.port)
        self.metrics_at = metrics
        self.port = int(re.search(r" port=(\d+)", self.wait_log("answering CONNECT")).group(1))

    def metrics(self):
        host, _, port = self.metrics_at.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as s:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = b""
            while piece := s.recv(65536):
                text += piece
        return text.decode()


class SidecarProxy(Program):
    stop_signal = None  # it ends with its input

    def __init__(self, api, table):
        self.table = table
        table.write_text("")
        super().__init__(["test_sidecar_proxy", "127.0.0.1:21001", table, 2], api.port)
        self.port = 21001
        eventually(self.answers, what="the sidecar's proxy")

    def answers(self):
        assert self.process.poll() is None, "\n".join(self.lines)
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def add(self, uuid, port, address="127.0.0.1"):
        with self.table.open("a") as f:
            f.write(f"{uuid} {address} {port}\n")


class World:
    """One VPN host: API, state service, a sidecar's proxy, and the connect-proxy before it."""

    def __init__(self, folder):
        self.api = Api()
        self.state = State()
        self.sidecar = SidecarProxy(self.api, folder / "table")
        self.proxy = ConnectProxy(self.api, [self.state.port], "--self-address", "192.0.2.1",
                                  listen="192.0.2.1:3128")

    def device(self, uuid, port):
        """The device's ports are answered by one of ours."""
        self.sidecar.add(uuid, port)
        self.state.where[uuid] = f"127.0.0.1:{self.sidecar.port}"

    def check(self):
        """After each test: nothing was left open, the stand-ins are as they were."""
        self.api.mode = "sane"
        self.api.delay = 0.0
        self.state.mode = "ready"

    def end(self):
        assert self.proxy.end() == 0
        assert self.sidecar.end() == 0


@pytest.fixture(scope="session")
def the_world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("world"))
    yield w
    w.end()


@pytest.fixture
def world(the_world):
    the_world.check()
    yield the_world
    the_world.check()


@pytest.fixture(params=["one hop", "two hops"])
def way(request, world):
    """(address of the proxy that is talked to, World): all must hold for both programs."""
    if request.param == "one hop":
        return ("127.0.0.1", world.sidecar.port), world
    return ("192.0.2.1", world.proxy.port), world


@pytest.fixture
def start(request):
    """start(Class, ...): a program for this test alone; it must end with 0."""
    started = []

    def begin(kind, *args, **kwargs):
        program = kind(*args, **kwargs)
        started.append(program)
        return program

    yield begin
    for program in started:
        assert program.end() == 0
