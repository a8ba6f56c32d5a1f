import base64
import http.client
import json
import pathlib
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from standin.client import StandIn  # noqa: E402

U1, U2, U3 = "a1" * 16, "b2" * 16, "c3" * 31
ABSENT = "d4" * 16
KEYS = {"VPN_SERVICE_API_KEY": "svc", "VPN_GUEST_API_KEY": "guest", "VPN_API_API_KEY": "apikey"}


class Reply:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


class Caller:
    """Sends what a test says to the API, each request on a connection of its own."""

    def __init__(self, standin):
        self.standin = standin
        host, _, port = standin.address.rpartition(":")
        self.where = (host, int(port))

    def __call__(self, method, target, key=None, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.where, timeout=10)
        headers = dict(headers or {})
        if key is not None:
            headers["Authorization"] = "Bearer " + key
        if isinstance(body, (dict, list)):
            body = json.dumps(body, separators=(",", ":"))
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        reply = Reply(response, response.read())
        connection.close()
        return reply

    def raw(self, data):
        with socket.create_connection(self.where, 10) as sock:
            sock.sendall(data)
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
            return answer

    def auth(self, uuid, key=None, **more):
        return self("GET", "/services/vpn/auth/" + uuid, key, **more)

    def report(self, what, service_id, uuids, key="svc"):
        body = {"serviceId": service_id, "uuids": uuids, "connected": what == "connect"}
        return self("POST", "/services/vpn/client-" + what, key, body)

    def register(self, address="192.0.2.1"):
        return self("POST", "/v7/service_instance", "svc", {"ip_address": address}).json["id"]

    def can_access(self, uuid, key, port=22):
        return self("POST", "/v7/device(uuid=@uuid)/canAccess?@uuid='%s'" % uuid, key,
                    {"action": {"or": ["tunnel-any", "tunnel-%d" % port]}})


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    standin = StandIn.start(tmp_path_factory.mktemp("api"), KEYS)
    yield standin
    standin.stop()


@pytest.fixture
def standin(process):
    """Well, with two devices and a user who may do everything but nothing on U3."""
    process.mode("ok")
    for uuid, key in ((U1, "key-1"), (U2, "key-2")):
        process.ask("DELETE", "/devices/" + uuid) if uuid in process.devices() else None
        process.device(uuid, key, api_port=48484)
    process.key("ann", "user-1", tunnel=[{"uuid": "*", "ports": ["any"]}])
    process.key("bob", "user-2", tunnel=[{"uuid": U1, "ports": [22]}])
    process.key("prov", "prov", kind="provisioning")
    process.key("session", "session", kind="session")
    return process


@pytest.fixture
def api(standin):
    return Caller(standin)


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
