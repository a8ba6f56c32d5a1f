"""The API as a caller of a VPN's CONNECT proxy."""

import base64
import socket
import threading

import pytest
from conftest import U1

CONNECT = ("CONNECT {0}.balena:48484 HTTP/1.1\r\nhost: {0}.balena:48484\r\n"
           "Proxy-Authorization: Basic {1}\r\nConnection: close\r\n\r\n").format(
               U1, base64.b64encode(b"resin_api:apikey").decode()).encode()


class Proxy(threading.Thread):
    """Takes one connection, answers the head with reply, then OK to what comes after it."""

    def __init__(self, reply):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reply = reply
        self.head = self.request = b""
        self.start()

    def run(self):
        sock, _ = self.listener.accept()
        with sock, self.listener:
            while b"\r\n\r\n" not in self.head:
                self.head += sock.recv(4096)
            sock.sendall(self.reply)
            self.request = sock.recv(4096)
            if self.request:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")


def dial(api, standin, reply):
    proxy = Proxy(reply)
    api.report("connect", api.register("127.0.0.1"), [U1])
    result = standin.dial(U1, proxy_port=proxy.port)
    proxy.join(10)
    return proxy, result


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n",
                                  b"HTTP/1.1 200 Whatever you say\r\nA: b\r\n\r\n"])
def test_dials_the_registered_address_and_pings(api, standin, head):
    proxy, result = dial(api, standin, head)
    assert proxy.head == CONNECT
    assert proxy.request.startswith(b"GET /ping?apikey=key-1 HTTP/1.1\r\n")
    assert result["status"] == 200 and result["reply"].endswith("OK")


def test_any_other_status_is_a_502(api, standin):
    _, result = dial(api, standin, b"HTTP/1.1 407 No\r\n\r\n")
    assert (result["status"], result["proxy_status"]) == (502, 407)


def test_one_glued_byte_ends_the_process(api, standin):
    _, result = dial(api, standin, b"HTTP/1.1 200 OK\r\n\r\nS")
    assert result["died"] and standin.health()["dead"]


def test_device_that_no_instance_manages(standin):
    assert standin.dial(U1)["status"] == 503
