"""What comes before a request: a balancer's PROXY protocol, and TLS."""

import hashlib
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from conftest import BIN, ConnectProxy
from stand_ins import Hop, Listener, echo, eventually, new_key, new_uuid, reset
from test_answers import (connect, dial, expect_echo, read_answer, read_head_only,
                          status_of)
from test_tunnels import read_all

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(source, command=0x21, extra=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    address = socket.inet_pton(family, source)
    body = address + address + struct.pack(">HH", 4711, 443) + extra
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return V2 + bytes([command, kind]) + struct.pack(">H", len(body)) + body


@pytest.fixture
def device(world):
    uuid, key = new_uuid(), new_key()
    listener = Listener(echo)
    world.device(uuid, listener.port)
    world.api.allow(key, uuid)
    yield uuid, key
    listener.close()


@pytest.fixture
def own(world, start):
    """own(options...): a connect-proxy for this test alone; (address, program)."""
    def begin(*options):
        proxy = start(ConnectProxy, world.api, [world.state.port], *options,
                      metrics="127.0.0.1:8092")
        return ("127.0.0.1", proxy.port), proxy
    return begin


# --- the PROXY protocol ---

@pytest.mark.parametrize("preface,client", [
    (b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n", "198.51.100.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (v2("198.51.100.7"), "198.51.100.7"),
    (v2("2001:db8::7", extra=b"\x04\0\x03abc"), "2001:db8::7"),
    (v2("198.51.100.7", command=0x20), "127.0.0.1"),
])
@pytest.mark.parametrize("pieces", ["whole", "single bytes"])
def test_the_balancer_says_who_the_client_is(own, device, preface, client, pieces):
    uuid, key = device
    address, proxy = own("--proxy-protocol")
    s = dial(address)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if pieces == "whole":
        s.sendall(preface + connect(uuid, key=key).encode())
    else:
        for byte in preface:
            s.sendall(bytes([byte]))
        s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)
    s.close()
    proxy.wait_log("tunnel ended", uuid, f"client={client} ")


@pytest.mark.parametrize("preface", [
    b"CONNECT x.balena:22 HTTP/1.0\r\n\r\n", b"PROXY TCP4 x y 1 2\r\n", V2 + b"\x21\x12\0\0",
    b"PROXY " + b"x" * 200, b"\x16\x03\x01\x02\x00", V2 + b"\x21\x11\xff\xff",
])
def test_what_is_no_preface_is_closed_and_counted(own, preface):
    address, proxy = own("--proxy-protocol")
    s = dial(address)
    s.sendall(preface)
    try:
        assert s.recv(100) == b""
    except ConnectionResetError:
        pass
    assert 'vpn_proxy_preface_errors_total{kind="proxy-protocol"} 1\n' in proxy.metrics()


def test_a_preface_that_does_not_come_is_not_waited_for_longer_than_a_head(own):
    address, proxy = own("--proxy-protocol", "--head-timeout-seconds", 1)
    silent, half, late = dial(address), dial(address), dial(address)
    half.sendall(V2)
    late.sendall(b"PROXY UNKNOWN\r\n")
    for s in (silent, half, late):
        try:
            assert s.recv(10) == b""
        except ConnectionResetError:
            pass


def test_others_than_balancers_speak_for_themselves(own, device):
    uuid, key = device
    address, proxy = own("--proxy-protocol", "--proxy-protocol-from", "127.0.0.9,10.0.0.0/8")
    s = dial(address)
    s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200
    s.close()
    proxy.wait_log("tunnel ended", uuid, "client=127.0.0.1 ")
    liar = dial(address)
    liar.sendall(b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n\r\n")
    assert status_of(read_answer(liar)[0].decode()) == 400
    with socket.create_connection(address, 10, source_address=("127.0.0.9", 0)) as balancer:
        balancer.sendall(v2("198.51.100.7") + connect(uuid, key=key).encode())
        assert status_of(read_answer(balancer)[0].decode()) == 200
    proxy.wait_log("tunnel ended", uuid, "client=198.51.100.7 ")


def test_limits_and_the_next_hop_go_by_the_client_behind_the_balancer(own, world, device):
    uuid, key = device
    hop = Hop(lambda conn, request, rest: (
        conn.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n"), echo(conn)))
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    address, proxy = own("--proxy-protocol", "--max-tunnels-per-source", 1)
    statuses = []
    kept = []
    for source in ("198.51.100.7", "198.51.100.7", "2001:db8::8"):
        s = dial(address)
        s.sendall(v2(source) + connect(uuid, key=key).encode())
        statuses.append(status_of(read_answer(s)[0].decode()))
        kept.append(s)
    assert statuses == [200, 429, 200]
    assert [r.headers["forwarded"].partition(";")[0] for r in hop.requests] == \
        ["for=198.51.100.7", 'for="[2001:db8::8]"']
    for s in kept:
        s.close()
    hop.close()


# --- TLS ---

def make_certificate(folder, name, common_name="proxy.test"):
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={common_name}",
         "-addext", "subjectAltName=DNS:proxy.test"], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return [make_certificate(folder, name, name) for name in ("first", "second")]


@pytest.fixture
def files(certificates, tmp_path):
    """The files that the proxy is told; install(n) puts the nth certificate there."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def install(n):
        for target, source in ((cert, certificates[n][0]), (key, certificates[n][1])):
            new = target.with_suffix(".new")
            new.write_bytes(source.read_bytes())
            os.replace(new, target)

    install(0)
    return cert, key, install


def trusting(certificates, **settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the system's authorities take long to read
    for cert, _ in certificates:
        context.load_verify_locations(cert)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.fixture
def secure(own, files, certificates):
    """secure(options...): (call(), program); call() is a verified TLS connection to it."""
    def begin(*options, **settings):
        address, proxy = own("--tls-cert", files[0], "--tls-key", files[1], *options)

        def call(context=None):
            context = context or trusting(certificates, **settings)
            return context.wrap_socket(dial(address), server_hostname="proxy.test")
        return call, proxy, address
    return begin


def name_of(s):
    return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_tunnel_through_tls(secure, device, version):
    uuid, key = device
    call, _, _ = secure(minimum_version=ssl.TLSVersion[version],
                        maximum_version=ssl.TLSVersion[version])
    s = call()
    s.sendall(connect(uuid, key=key).encode() + b"early")
    head, rest = read_answer(s)
    assert status_of(head.decode()) == 200
    while len(rest) < 5:
        rest += s.recv(100)
    assert rest == b"early"
    expect_echo(s, b"x" * 100)
    s.close()


def test_a_refusal_through_tls_is_kept_alive_and_then_ends_in_order(secure, device):
    uuid, key = device
    call, _, _ = secure()
    s = call()
    s.sendall(connect(uuid, key=new_key()).encode())
    assert status_of(read_answer(s)[0].decode()) == 407
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(read_answer(s)[0].decode()) == 405
    s.suppress_ragged_eofs = False  # without close_notify this would raise
    assert s.recv(10) == b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused_and_counted(secure):
    call, proxy, _ = secure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        call(context)
    eventually(lambda: 'vpn_proxy_preface_errors_total{kind="tls"} 1\n' in proxy.metrics())


def test_plain_http_on_a_tls_port_is_closed_and_counted(secure, device):
    uuid, key = device
    _, proxy, address = secure()
    s = dial(address)
    s.sendall(connect(uuid, key=key).encode())
    try:
        while s.recv(100):  # an alert
            pass
    except ConnectionResetError:
        pass
    assert 'vpn_proxy_preface_errors_total{kind="tls"} 1\n' in proxy.metrics()


@pytest.mark.parametrize("offered,chosen", [
    (None, None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], "refused"),
])
def test_alpn_is_only_what_is_spoken(secure, certificates, offered, chosen):
    call, _, _ = secure()
    context = trusting(certificates)
    if offered:
        context.set_alpn_protocols(offered)
    if chosen == "refused":
        with pytest.raises(ssl.SSLError):
            call(context)
    else:
        assert call(context).selected_alpn_protocol() == chosen


def test_tls_behind_a_balancer(own, files, certificates, device):
    uuid, key = device
    address, proxy = own("--tls-cert", files[0], "--tls-key", files[1], "--proxy-protocol")
    raw = dial(address)
    raw.sendall(v2("198.51.100.7"))
    s = trusting(certificates).wrap_socket(raw, server_hostname="proxy.test")
    s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)
    s.close()
    proxy.wait_log("tunnel ended", uuid, "client=198.51.100.7 ")


def test_the_200_is_a_record_of_its_own(secure, world):
    call, _, _ = secure()
    for _ in range(20):
        uuid, key = new_uuid(), new_key()

        def banner(conn):
            conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            conn.recv(1)

        listener = Listener(banner)
        world.device(uuid, listener.port)
        world.api.allow(key, uuid)
        s = call()
        s.sendall(connect(uuid, key=key).encode())
        # a read gives no more than a record, however late it comes
        assert s.recv(65536) == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        assert s.recv(65536) == b"SSH-2.0-OpenSSH_9.2\r\n"
        s.close()
        listener.close()


class Device:
    def __init__(self, world, serve):
        self.uuid, self.key = new_uuid(), new_key()
        self.listener = Listener(serve)
        world.device(self.uuid, self.listener.port)
        world.api.allow(self.key, self.uuid)

    def open(self, call):
        s = call()
        s.sendall(connect(self.uuid, key=self.key).encode())
        assert status_of(read_head_only(s).decode()) == 200
        return s


@pytest.mark.parametrize("direction", ["down", "up"])
def test_every_byte_arrives_through_tls_in_8_tunnels_at_once(secure, world, direction):
    block = random.Random(3).randbytes(3_000_000)
    wanted = hashlib.sha256(block).hexdigest()
    received = []

    def serve(conn):
        if direction == "down":
            conn.sendall(block)
        else:
            received.append(hashlib.sha256(read_all(conn)).hexdigest())

    device = Device(world, serve)
    call, _, _ = secure()

    def client():
        s = device.open(call)
        if direction == "down":
            received.append(hashlib.sha256(read_all(s)).hexdigest())
            s.close()
        else:
            s.sendall(block)
            s.unwrap().close()

    threads = [threading.Thread(target=client) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    eventually(lambda: received == [wanted] * 8, 30, "all bytes")
    device.listener.close()


def test_a_reader_that_is_slow_under_tls_stops_the_writer_and_loses_nothing(secure, world):
    block = random.Random(4).randbytes(32_000_000)
    sent = [0]

    def serve(conn):
        while sent[0] < len(block):
            sent[0] += conn.send(block[sent[0]:sent[0] + 65536])

    device = Device(world, serve)
    call, _, _ = secure()
    s = device.open(call)
    seen = [-1, -1]

    def stands_still():
        seen.append(sent[0])
        threading.Event().wait(0.1)
        return 0 < sent[0] == seen[-1]

    eventually(stands_still, what="the writer's pause")
    assert sent[0] < len(block)
    assert hashlib.sha256(read_all(s)).digest() == hashlib.sha256(block).digest()
    device.listener.close()


def test_the_device_may_end_first_and_still_gets_the_rest_through_tls(secure, world):
    received = []

    def serve(conn):
        conn.sendall(b"bye")
        conn.shutdown(socket.SHUT_WR)
        received.append(len(read_all(conn)))

    device = Device(world, serve)
    call, _, _ = secure()
    s = device.open(call)
    s.suppress_ragged_eofs = False
    assert read_all(s) == b"bye", "close_notify, and not just a FIN"
    s.sendall(b"r" * 70000)
    s.close()
    eventually(lambda: received == [70000], what="70,000 bytes")
    device.listener.close()


def test_an_rst_of_the_device_is_no_end_in_order_under_tls(secure, world):
    def serve(conn):
        conn.recv(1)
        reset(conn)

    device = Device(world, serve)
    call, _, _ = secure()
    s = device.open(call)
    s.suppress_ragged_eofs = False
    s.sendall(b"x")
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        s.recv(10)
    device.listener.close()


def test_a_client_that_goes_takes_its_question_along_under_tls(secure, world):
    uuid, key = new_uuid(), new_key()
    call, _, _ = secure()
    world.api.mode = "silent"
    gone = world.api.gone
    s = call()
    s.sendall(connect(uuid, key=key).encode())
    eventually(lambda: world.api.asked("canAccess", uuid), what="the call")
    s.close()
    eventually(lambda: world.api.gone > gone, what="the end of the call")


@pytest.mark.parametrize("told", ["by SIGHUP", "by the files"])
def test_a_new_certificate_is_taken_and_tunnels_stay(secure, files, device, told):
    uuid, key = device
    call, proxy, _ = secure()
    s = call()
    assert name_of(s) == "first"
    s.sendall(connect(uuid, key=key).encode())
    assert status_of(read_answer(s)[0].decode()) == 200
    files[2](1)
    if told == "by SIGHUP":
        proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: name_of(call()) == "second", 20, "the new certificate")
    expect_echo(s)
    assert 'vpn_proxy_tls_reloads_total{result="ok"} 1\n' in proxy.metrics()


def test_a_faulty_certificate_changes_nothing_until_it_is_whole(secure, files, certificates):
    call, proxy, _ = secure()
    os.replace(files[0], files[0].with_suffix(".away"))
    files[0].write_bytes(certificates[1][0].read_bytes())  # the key is still the first one's
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_log("the new certificate is not taken", "is not that of")
    assert name_of(call()) == "first"
    files[1].write_bytes(certificates[1][1].read_bytes())
    eventually(lambda: name_of(call()) == "second", 20, "the new certificate")
    assert 'vpn_proxy_tls_reloads_total{result="error"} 1\n' in proxy.metrics()


def test_bad_settings_of_tls_and_balancers_are_named(files, tmp_path):
    env = {"VPN_SERVICE_API_KEY": "k", "API_HOST": "x.example", "PATH": os.environ["PATH"]}
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    for words, status, text in [
            (["--tls-cert", files[0]], 2, "needs both"),
            (["--tls-cert", files[0], "--tls-key", "/no/such"], 2, "/no/such"),
            (["--tls-cert", rubbish, "--tls-key", files[1]], 2, "rubbish"),
            (["--proxy-protocol", "--proxy-protocol-from", "10.0.0.1/8"], 2, "10.0.0.1/8")]:
        ended = subprocess.run(
            [os.path.join(BIN, "vpn-connect-proxy"), "--listen", "127.0.0.1:0", "--metrics-listen",
             "127.0.0.1:0", *map(str, words)], env=env, capture_output=True, text=True, timeout=10)
        assert ended.returncode == status and text in ended.stderr, ended.stderr
