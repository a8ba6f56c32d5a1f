"""The CONNECT proxy of a pool file that asks for TLS, behind a balancer, and changed while it runs."""

import os
import shutil
import socket
import ssl
import tempfile

import pytest
from lab import connect as proxy
from lab.device import HTTP_PORT
from lab.lab import USER_TOKEN
from lab.wait import wait_until


def through(lab, device, preface=b"", secure=False):
    """A GET of the device's page. -> the whole reply"""
    sock = lab.machine.connect("127.0.0.1", 3128, 15)
    sock.sendall(preface)
    if secure:
        context = ssl.create_default_context(cafile=str(lab.tls / "ca.crt"))
        context.check_hostname = False
        sock = context.wrap_socket(sock)
    target = "%s.balena:%d" % (device.uuid, HTTP_PORT)
    sock.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n"
                  % (target, target, proxy.basic(USER_TOKEN))).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(1)
        assert piece, head
        head += piece
    assert head.startswith(b"HTTP/1.1 200 "), head
    sock.sendall(b"GET / HTTP/1.1\r\nHost: device\r\nConnection: close\r\n\r\n")
    reply = b""
    while piece := sock.recv(65536):
        reply += piece
    sock.close()
    return reply


@pytest.fixture
def files():
    """put(lab): copies of the lab's certificate and key where the proxy, which is nobody, may read."""
    folder = tempfile.mkdtemp(prefix="vt-proxy-")
    os.chmod(folder, 0o755)

    def put(lab):
        for name in ("server.crt", "server.key"):
            shutil.copy(lab.tls / name, folder)
            os.chmod(os.path.join(folder, name), 0o644)
        return {"certFile": folder + "/server.crt", "keyFile": folder + "/server.key"}

    yield put
    shutil.rmtree(folder)


def answers(call):
    """call() once the proxy has been started with what it needs; until then it may be refused."""
    def try_it():
        try:
            return call()
        except (OSError, AssertionError, socket.timeout):
            return None
    return wait_until(try_it, 20, "the page")


def test_tls_and_a_balancer_before_the_proxy(make_lab, files):
    lab = make_lab()
    device = lab.device()
    device.wait_online()
    lab.wait_agreed()
    assert lab.reaches(device)
    lab.pool.change(connectProxy={"proxyProtocol": True, "tls": files(lab)})
    preface = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"
    answers(lambda: device.uuid.encode() in through(lab, device, preface, secure=True))
    assert device.online, "OpenVPN is not touched by it"
