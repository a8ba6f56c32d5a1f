"""What the proxies meet in these tests: an API, a state service, devices, next hops. Each runs on
threads of this process; the proxies are the real programs."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import socket
import struct
import threading
import time
from urllib.parse import unquote

SERVICE_KEY = "service-key-1"
GUEST_KEY = "guest-key-1"


def new_uuid():
    return secrets.token_hex(16)


def new_key():
    return "key" + secrets.token_hex(14)


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def ticket(uuid, port, expiry, service_key=SERVICE_KEY):
    key = hmac.new(service_key.encode(), b"vpn-ticket", hashlib.sha256).digest()
    mac = hmac.new(key, f"v1\n{uuid}\n{port}\n{expiry}".encode(), hashlib.sha256).hexdigest()
    return f"v1.{expiry}.{mac}"


def eventually(check, seconds=10, what="it"):
    """Waits for a condition; the time is a bound, not an expectation."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Listener:
    """Accepts on a port of its own and serves each connection on a thread."""

    def __init__(self, serve, address="127.0.0.1", port=0):
        self.serve = serve
        self.sock = socket.create_server((address, port), backlog=1024)
        self.address, self.port = self.sock.getsockname()[:2]
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.run, args=(conn,), daemon=True).start()

    def run(self, conn):
        try:
            self.serve(conn)
        except OSError:
            pass
        finally:
            conn.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def read_head(conn, rest=b""):
    """(head, what came behind it); head is b'' at the end."""
    while b"\r\n\r\n" not in rest:
        piece = conn.recv(65536)
        if not piece:
            return b"", rest
        rest += piece
    head, _, rest = rest.partition(b"\r\n\r\n")
    return head, rest


class Request:
    def __init__(self, head):
        lines = head.decode().split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.at = time.monotonic()
        self.body = b""

    @property
    def bearer(self):
        value = self.headers.get("authorization", "")
        return value[7:] if value.startswith("Bearer ") else None


class HttpStandIn:
    def __init__(self, address="127.0.0.1", port=0):
        self.requests = []
        self.gone = 0  # connections that were closed while their request was being thought about
        self.listener = Listener(self.serve, address, port)
        self.port = self.listener.port

    def serve(self, conn):
        rest = b""
        while True:
            head, rest = read_head(conn, rest)
            if not head:
                return
            request = Request(head)
            length = int(request.headers.get("content-length", 0))
            while len(rest) < length:
                rest += conn.recv(65536)
            request.body, rest = rest[:length], rest[length:]
            self.requests.append(request)
            answer = self.answer(request, conn)
            if answer is None:  # never; until the caller goes
                while conn.recv(65536):
                    pass
                self.gone += 1
                return
            status, body = answer
            text = json.dumps(body).encode() if body is not None else b""
            conn.sendall(
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % (status, len(text)) + text)


class Api(HttpStandIn):
    """Answers as the balena API does: 401 for no, and for everything while it is ill."""

    def __init__(self):
        self.mode = "sane"
        self.delay = 0.0
        self.ids = {}
        self.rights = set()  # (key, uuid, port or None for any)
        self.connected = set()  # uuids
        self.hosts = {}  # uuid -> address
        super().__init__()

    def allow(self, key, uuid, port=None):
        self.ids.setdefault(uuid, len(self.ids) + 1)
        self.rights.add((key, uuid, port))

    def answer(self, request, conn):
        if self.mode == "silent":
            return None
        if self.delay:
            time.sleep(self.delay)
        if self.mode == "ill":
            return 401, None
        if self.mode == "broken":
            return 500, None
        target = unquote(request.target)
        access = re.match(r"/v7/device\(uuid=@uuid\)/canAccess\?@uuid='([0-9a-f]+)'$", target)
        if access:
            return self.can_access(request, access.group(1))
        connected = re.search(r"/v7/device\(@id\)\?.*is_connected_to_vpn&@id=(\d+)$", target)
        if connected:
            return self.is_connected(request, int(connected.group(1)))
        host = re.search(r"/v7/service_instance\?.*d/uuid eq '([0-9a-f]+)'", target)
        if host:
            return self.find_host(request, host.group(1))
        return 400, None

    def can_access(self, request, uuid):
        actions = json.loads(request.body)["action"]["or"]
        port = int(next(a for a in actions if a != "tunnel-any").removeprefix("tunnel-"))
        if {(request.bearer, uuid, None), (request.bearer, uuid, port)} & self.rights:
            return 200, {"d": [{"id": self.ids[uuid]}]}
        return 401, None

    def is_connected(self, request, device):
        if request.bearer != SERVICE_KEY:
            return 401, None
        found = any(self.ids.get(uuid) == device for uuid in self.connected)
        return 200, {"d": [{"id": device}] if found else []}

    def find_host(self, request, uuid):
        if not any(key == request.bearer for key, _, _ in self.rights):
            return 401, None
        address = self.hosts.get(uuid)
        return 200, {"d": [{"id": 1, "ip_address": address}] if address else []}

    def asked(self, word, uuid=""):
        return [r for r in list(self.requests) if word in r.target and uuid in unquote(r.target)]


class State(HttpStandIn):
    def __init__(self, address="127.0.0.1", port=0):
        self.mode = "ready"
        self.where = {}  # uuid -> "host:port" of a proxy
        super().__init__(address, port)

    def answer(self, request, conn):
        uuid = request.target.removeprefix("/v1/devices/")
        if self.mode == "starting":
            return 503, {"error": "starting"}
        if uuid not in self.where:
            return 404, {"error": "offline"}
        return 200, {
            "uuid": uuid, "address": "100.64.0.3", "session": "1.1", "since": 1,
            "instance": {"pool": "p", "index": 1, "epoch": "1", "serviceId": 1,
                         "proxy": self.where[uuid]},
        }


class Hop(Listener):
    """A next hop that is played by a function: hop(conn, Request, rest)."""

    def __init__(self, play, address="127.0.0.1", port=0):
        self.requests = []
        self.play = play
        super().__init__(self.take, address, port)

    def take(self, conn):
        head, rest = read_head(conn)
        if head:
            request = Request(head)
            self.requests.append(request)
            self.play(conn, request, rest)


def echo(conn):
    while piece := conn.recv(65536):
        conn.sendall(piece)


def reset(conn):
    """Closes with an RST instead of a FIN."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def silent_port():
    """A port whose SYNs get no answer: its queue is full. Keep what is returned."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
        fill.append(s)
    return listener.getsockname()[1], (listener, fill)
