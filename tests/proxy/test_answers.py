"""What a caller is answered, byte for byte: for the sidecar's proxy and for both hops."""

import socket
import time

import pytest

from stand_ins import (GUEST_KEY, Listener, basic, echo, eventually, new_key, new_uuid,
                       reset, silent_port, ticket)


def dial(address):
    return socket.create_connection(address, timeout=15)


def read_answer(s):
    """The answer's head with its blank line, and whatever came in the same reads."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return data, b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def read_head_only(s):
    """The answer's head; what follows stays in the socket, however much has come already."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        if not byte:
            break
        data += byte
    return data


def ask(address, request):
    """Sends request, returns (answer's head, socket)."""
    s = dial(address)
    s.sendall(request if isinstance(request, bytes) else request.encode())
    return read_answer(s)[0].decode(), s


def status_of(head):
    return int(head.split(" ")[1]) if head else 0


def connect(uuid, port=22, key=None, version="1.1", tld="balena", extra=""):
    target = f"{uuid}.{tld}:{port}"
    lines = f"CONNECT {target} HTTP/{version}\r\n"
    if version == "1.1":
        lines += f"Host: {target}\r\n"
    if key is not None:
        lines += f"Proxy-Authorization: {basic('root:' + key)}\r\n"
    return lines + extra + "\r\n"


@pytest.fixture
def allowed(way):
    """A device that echoes, and a key that may reach it."""
    address, world = way
    uuid, key = new_uuid(), new_key()
    device = Listener(echo)
    world.device(uuid, device.port)
    world.api.allow(key, uuid)
    yield address, world, uuid, key
    device.close()


def expect_echo(s, text=b"hello"):
    s.sendall(text)
    got = b""
    while len(got) < len(text):
        piece = s.recv(65536)
        assert piece, "closed early"
        got += piece
    assert got == text


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("tld", ["balena", "resin", "vpn"])
def test_a_tunnel_opens_with_exactly_this_head(allowed, version, tld):
    address, _, uuid, key = allowed
    head, s = ask(address, connect(uuid, key=key, version=version, tld=tld))
    assert head == f"HTTP/{version} 200 Connection Established\r\n\r\n"
    expect_echo(s)


def test_hex_digits_in_capitals_are_the_same_device(allowed):
    address, _, uuid, key = allowed
    head, s = ask(address, connect(uuid.upper(), key=key))
    assert status_of(head) == 200
    expect_echo(s)


def test_bytes_sent_with_the_head_reach_the_device(allowed):
    address, _, uuid, key = allowed
    s = dial(address)
    s.sendall(connect(uuid, key=key).encode() + b"early bytes")
    head, rest = read_answer(s)
    assert status_of(head.decode()) == 200
    while len(rest) < 11:
        rest += s.recv(100)
    assert rest == b"early bytes"


def test_a_body_of_a_connect_is_bytes_of_the_tunnel(allowed):
    address, _, uuid, key = allowed
    s = dial(address)
    s.sendall(connect(uuid, key=key, extra="Content-Length: 1\r\n").encode() + b"x")
    head, rest = read_answer(s)
    assert status_of(head.decode()) == 200
    assert rest or s.recv(10) == b"x"


@pytest.mark.parametrize("field", [
    "Proxy-Authorization: {basic_user}", "proxy-authorization: {basic_lower}",
    "Proxy-Authorization: {basic_bare}", "Proxy-Authorization: Bearer {key}",
    "Proxy-Authorization: bearer {key}",
])
def test_each_form_of_credentials_is_understood(allowed, field):
    address, _, uuid, key = allowed
    text = field.format(key=key, basic_user=basic("someone:" + key), basic_bare=basic(key),
                        basic_lower="basic" + basic(":" + key)[5:])
    head, s = ask(address, connect(uuid, extra=text + "\r\n"))
    assert status_of(head) == 200
    expect_echo(s)


@pytest.mark.parametrize("field", ["", "Proxy-Authorization:\r\n", "Proxy-Authorization: Basic\r\n",
                                   "Proxy-Authorization: Digest x\r\n"])
def test_who_shows_nothing_is_a_guest(allowed, field):
    address, world, uuid, _ = allowed
    world.api.allow(GUEST_KEY, uuid, 80)
    head, s = ask(address, connect(uuid, 80, extra=field))
    assert status_of(head) == 200
    s.close()
    head, s = ask(address, connect(uuid, 22, extra=field))
    assert status_of(head) == 407


@pytest.mark.parametrize("version,close", [("1.0", "Connection: close\r\n"), ("1.1", "")])
def test_a_refusal_is_exactly_this_head(allowed, version, close):
    address, _, uuid, _ = allowed
    head, _ = ask(address, connect(uuid, key=new_key(), version=version))
    assert head == (f"HTTP/{version} 407 Proxy Authorization Required\r\n"
                    'Proxy-Authenticate: Basic realm="open-balena-vpn"\r\n'
                    f"{close}Content-Length: 0\r\n\r\n")


def test_malformed_credentials_are_refused_without_asking(allowed):
    address, world, uuid, _ = allowed
    head, _ = ask(address, connect(uuid, extra="Proxy-Authorization: Basic !!!\r\n"))
    assert status_of(head) == 407
    assert not world.api.asked("canAccess", uuid)


def test_a_port_that_is_not_allowed_is_refused(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    world.device(uuid, 1)
    world.api.allow(key, uuid, 22)
    head, _ = ask(address, connect(uuid, 23, key))
    assert status_of(head) == 407


def test_a_device_that_is_offline_is_503(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    world.api.allow(key, uuid)
    head, _ = ask(address, connect(uuid, key=key, version="1.0"))
    assert head.startswith("HTTP/1.0 503 Service Unavailable\r\n")
    assert "Retry-After:" in head


@pytest.mark.parametrize("target", [
    "{uuid}.com:22", "{uuid}:22", "{uuid}.BALENA:22", "0{uuid}.balena:22", "x.balena:22",
    "127.0.0.1:22", "[::1]:22", "{uuid}.balena.:22", "gggggggggggggggggggggggggggggggg.balena:22",
    "..%2f..%2f.balena:22", "x" * 255 + ":22",
])
def test_what_is_no_device_is_403(way, target):
    address, world = way
    before = len(world.api.requests)
    head, _ = ask(address, f"CONNECT {target.format(uuid=new_uuid())} HTTP/1.0\r\n\r\n")
    assert head.startswith("HTTP/1.0 403 Forbidden\r\n")
    assert len(world.api.requests) == before


@pytest.mark.parametrize("bytes_sent,head_line", [
    (b"CONNECT {u}.balena:0 HTTP/1.0\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"CONNECT {u}.balena:99999 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    (b"CONNECT {u}.balena: HTTP/1.0\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"CONNECT {u}.balena:22 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    (b"CONNECT {u}.balena:22 HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    (b"CONNECT {u}.balena:22 HTTP/1.0\n\n", "HTTP/1.1 400 Bad Request"),
    (b"CONNECT {u}.balena:22 HTTP/1.0\r\nA: b\r\n c\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"CONNECT {u}.balena:22 HTTP/1.0\r\nA : b\r\n\r\n", "HTTP/1.0 400 Bad Request"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
    (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
    (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
    (b"HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.0 405 Method Not Allowed"),
    (b"POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 405 Method Not Allowed"),
    (b"CONNECT {u}.balena:22 HTTP/1.0\r\nA: " + b"a" * 9000,
     "HTTP/1.1 431 Request Header Fields Too Large"),
    (b"a" * 9000, "HTTP/1.1 431 Request Header Fields Too Large"),
])
def test_what_is_no_request_is_answered_and_closed(way, bytes_sent, head_line):
    address, _ = way
    head, s = ask(address, bytes_sent.replace(b"{u}", new_uuid().encode()))
    assert head.split("\r\n")[0] == head_line
    assert "Connection: close\r\n" in head
    assert ("Allow: CONNECT\r\n" in head) == ("405" in head_line)
    assert s.recv(10) == b"", "closed by FIN, not by an RST that overtakes the answer"


def test_no_port_is_port_80(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    device = Listener(echo)
    world.device(uuid, device.port)
    world.api.allow(key, uuid, 80)
    head, s = ask(address, f"CONNECT {uuid}.balena HTTP/1.0\r\n"
                           f"Proxy-Authorization: {basic('u:' + key)}\r\n\r\n")
    assert status_of(head) == 200
    expect_echo(s)


def test_three_attempts_on_one_connection_the_third_is_a_tunnel(allowed):
    address, _, uuid, key = allowed
    s = dial(address)
    for attempt in [connect(uuid, key=new_key()), connect(uuid)]:
        s.sendall(attempt.encode())
        head, _ = read_answer(s)
        assert status_of(head.decode()) == 407
    s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)


def test_requests_that_were_sent_ahead_are_answered_in_turn(allowed):
    address, _, uuid, key = allowed
    s = dial(address)
    s.sendall((connect(uuid, key=new_key()) + connect(uuid, key=key)).encode() + b"early")
    data = b""
    while not data.endswith(b"early"):
        piece = s.recv(65536)
        assert piece, data
        data += piece
    assert data.count(b"HTTP/1.1 407 ") == 1 and data.count(b"HTTP/1.1 200 ") == 1


def test_a_client_that_wants_it_closed_gets_it_closed(allowed):
    address, _, uuid, _ = allowed
    head, s = ask(address, connect(uuid, key=new_key(), extra="Connection: close\r\n"))
    assert status_of(head) == 407
    assert s.recv(10) == b""


def test_a_head_in_single_bytes_is_understood(allowed):
    address, _, uuid, key = allowed
    s = dial(address)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in connect(uuid, key=key).encode():
        s.sendall(bytes([byte]))
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)


# --- the API is not well ---

@pytest.mark.parametrize("mode", ["ill", "broken", "silent"])
def test_an_outage_is_no_refusal_and_is_not_remembered(allowed, mode):
    address, world, uuid, key = allowed
    world.api.mode = mode
    begun = time.monotonic()
    head, s = ask(address, connect(uuid, key=key))
    assert status_of(head) == 502
    assert time.monotonic() - begun < 8, "callers give up at 10 s"
    assert "Retry-After:" in head
    world.api.mode = "sane"
    s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200, "on the next request"


def test_a_decision_is_remembered(allowed):
    address, world, uuid, key = allowed
    for _ in range(5):
        assert status_of(ask(address, connect(uuid, key=key))[0]) == 200
        assert status_of(ask(address, connect(uuid, key="bad" + key))[0]) == 407
    asked = [r.bearer for r in world.api.asked("canAccess", uuid)]
    assert sorted(asked) == sorted([key, "bad" + key])


def test_a_thousand_equal_requests_at_once_are_one_call(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    device = Listener(echo)
    world.device(uuid, device.port)
    world.api.allow(key, uuid)
    world.api.delay = 1.0
    sockets = [dial(address) for _ in range(1000)]
    for s in sockets:
        s.sendall(connect(uuid, key=key).encode())
    answers = [status_of(read_answer(s)[0].decode()) for s in sockets]
    assert answers == [200] * 1000
    assert len(world.api.asked("canAccess", uuid)) == 1
    for s in sockets:
        s.close()


@pytest.mark.parametrize("early", [b"", b"early bytes"])
def test_a_client_that_goes_takes_its_question_along(way, early):
    address, world = way
    uuid, key = new_uuid(), new_key()
    world.api.mode = "silent"
    gone = world.api.gone
    s = dial(address)
    s.sendall(connect(uuid, key=key).encode() + early)
    eventually(lambda: world.api.asked("canAccess", uuid), what="the call")
    reset(s) if early else s.close()
    eventually(lambda: world.api.gone > gone, what="the end of the call")


# --- the device is not well ---

def test_a_port_that_is_closed_is_502(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    device = Listener(echo)
    device.close()
    world.device(uuid, device.port)
    world.api.allow(key, uuid)
    assert status_of(ask(address, connect(uuid, key=key))[0]) == 502


def test_a_port_that_is_filtered_is_504(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    port, kept = silent_port()
    world.device(uuid, port)
    world.api.allow(key, uuid)
    begun = time.monotonic()
    assert status_of(ask(address, connect(uuid, key=key))[0]) == 504
    assert time.monotonic() - begun < 8
    del kept


# --- tickets, to a sidecar ---

def test_a_ticket_opens_without_the_api(world):
    uuid = new_uuid()
    device = Listener(echo)
    world.device(uuid, device.port)
    shown = ticket(uuid, 22, int(time.time()) + 30)
    for _ in range(2):  # it may be used again
        head, s = ask(("127.0.0.1", world.sidecar.port),
                      connect(uuid, extra=f"Proxy-Authorization: Vpn-Ticket {shown}\r\n"))
        assert status_of(head) == 200
        expect_echo(s)
    assert not world.api.asked("canAccess", uuid)


@pytest.mark.parametrize("wrong", ["expired", "port", "device", "key", "rubbish"])
def test_a_wrong_ticket_makes_a_guest(world, wrong):
    uuid = new_uuid()
    world.device(uuid, 1)
    soon = int(time.time()) + 30
    shown = {
        "expired": ticket(uuid, 22, soon - 60), "port": ticket(uuid, 23, soon),
        "device": ticket(new_uuid(), 22, soon), "key": ticket(uuid, 22, soon, "other"),
        "rubbish": "v1.x",
    }[wrong]
    head, _ = ask(("127.0.0.1", world.sidecar.port),
                  connect(uuid, extra=f"Proxy-Authorization: Vpn-Ticket {shown}\r\n"))
    assert status_of(head) == 407
    assert [r.bearer for r in world.api.asked("canAccess", uuid)] == [GUEST_KEY]


def test_no_key_and_no_ticket_is_ever_logged(world):
    text = "\n".join(world.proxy.lines + world.sidecar.lines)
    assert "uuid=" in text
    for request in world.api.requests:
        assert request.bearer is None or request.bearer not in text
