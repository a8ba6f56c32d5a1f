"""What is the same for every answer: framing, connections, bad requests."""

import socket
import time

from conftest import U1


def request(key="key-1", extra=""):
    return ("GET /services/vpn/auth/%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n%s\r\n"
            % (U1, key, extra)).encode()


def test_empty_answer_is_chunked_with_a_last_chunk(api):
    answer = api.raw(request(extra="Connection: close\r\n"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert body == b"0\r\n\r\n"


def test_connection_is_kept_and_closed_when_idle_for_five_seconds(api):
    with socket.create_connection(api.where, 20) as sock:
        for _ in range(2):
            sock.sendall(request())
            assert b"Keep-Alive: timeout=5\r\n" in sock.recv(65536)
        began = time.monotonic()
        assert sock.recv(1) == b""
        assert time.monotonic() - began > 4


def test_requests_in_one_segment_are_answered_in_order(api):
    with socket.create_connection(api.where, 10) as sock:
        sock.sendall(request() + request("svc") + request(extra="Connection: close\r\n"))
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert lines == [b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 200 OK"]


def test_request_in_single_bytes(api):
    with socket.create_connection(api.where, 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(extra="Connection: close\r\n"):
            sock.sendall(bytes([byte]))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_malformed_request_is_told_so_and_logged(api, standin):
    assert api.raw(b"GET /a b HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert standin.log(event="malformed")


def test_unknown_call_is_404(api):
    assert api("GET", "/v6/device", "svc").status == 404
    assert api("PUT", "/v7/service_instance", "svc").status == 404
