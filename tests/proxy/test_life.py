"""Limits, drain, logs and metrics of the connect-proxy."""

import re
import signal
import socket
import threading

import pytest

from conftest import ConnectProxy
from stand_ins import GUEST_KEY, Listener, echo, eventually, new_key, new_uuid
from test_answers import ask, connect, dial, expect_echo, read_answer, status_of


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


def test_too_many_tunnels_are_503_until_one_ends(own, device):
    uuid, key = device
    address, proxy = own("--max-tunnels", 2)
    kept = [ask(address, connect(uuid, key=key))[1] for _ in range(2)]
    head, _ = ask(address, connect(uuid, key=key))
    assert status_of(head) == 503 and "Retry-After: " in head
    assert 'vpn_proxy_limited_total{limit="total"} 1\n' in proxy.metrics()
    kept.pop().close()
    eventually(lambda: status_of(ask(address, connect(uuid, key=key))[0]) == 200)


def test_too_many_of_one_source_are_429_and_others_are_served(own, device):
    uuid, key = device
    address, proxy = own("--max-tunnels-per-source", 1)
    _, kept = ask(address, connect(uuid, key=key))
    head, _ = ask(address, connect(uuid, key=key))
    assert status_of(head) == 429 and "Retry-After: " in head
    with socket.create_connection(address, timeout=10, source_address=("127.0.0.9", 0)) as other:
        other.sendall(connect(uuid, key=key).encode())
        assert status_of(read_answer(other)[0].decode()) == 200
    assert 'vpn_proxy_limited_total{limit="source"} 1\n' in proxy.metrics()
    kept.close()


def accepted(proxy, threads=None):
    """Connections taken; threads: a list that gets those of each relay thread."""
    found = re.findall(r'vpn_proxy_accepted_total\{thread="\d"\} (\d+)\n', proxy.metrics())
    if threads is not None:
        threads[:] = map(int, found)
    return sum(map(int, found))


def test_slow_heads_of_one_address_leave_room_for_others(own, device):
    uuid, key = device
    address, proxy = own("--max-tunnels-per-source", 10)
    slow = [dial(address) for _ in range(10)]
    for s in slow:
        s.sendall(b"CONNECT ")
    eventually(lambda: accepted(proxy) == 10, what="ten connections")
    head, refused_one = ask(address, connect(uuid, key=key))
    assert head.startswith("HTTP/1.1 429 ") and 'details="too many connections from this' in head
    assert refused_one.recv(10) == b"", "a FIN, and no RST that overtakes the answer"
    with socket.create_connection(address, timeout=10, source_address=("127.0.0.9", 0)) as other:
        other.sendall(connect(uuid, key=key).encode())
        assert status_of(read_answer(other)[0].decode()) == 200
    slow.pop().close()
    eventually(lambda: status_of(ask(address, connect(uuid, key=key))[0]) == 200)


def test_too_many_of_one_caller_are_429_wherever_they_come_from(own, world, device):
    uuid, key = device
    other = new_key()
    world.api.allow(other, uuid)
    address, proxy = own("--max-tunnels-per-caller", 1)

    def call(shown, source):
        s = socket.create_connection(address, timeout=10, source_address=(source, 0))
        s.sendall(connect(uuid, key=shown).encode())
        return read_answer(s)[0].decode(), s

    head, kept = call(key, "127.0.0.1")
    assert status_of(head) == 200
    head, refused_one = call(key, "127.0.0.9")
    assert head.startswith("HTTP/1.1 429 Too Many Requests\r\n") and "Retry-After: " in head
    assert ("Proxy-Status: open-balena-vpn; error=connection_limit_reached; "
            'details="too many tunnels of this caller"\r\n') in head
    assert status_of(call(other, "127.0.0.1")[0]) == 200
    assert 'vpn_proxy_limited_total{limit="caller"} 1\n' in proxy.metrics()
    line = proxy.wait_log("request refused", "status=429")
    assert "too many tunnels of this caller" in line and key not in line
    kept.close()
    refused_one.close()
    eventually(lambda: status_of(call(key, "127.0.0.9")[0]) == 200)


def test_guests_are_limited_by_their_address(own, world, device):
    uuid, _ = device
    world.api.allow(GUEST_KEY, uuid)
    address, _ = own("--max-tunnels-per-caller", 1)
    statuses = []
    kept = []
    for source in ("127.0.0.1", "127.0.0.1", "127.0.0.9"):
        s = socket.create_connection(address, timeout=10, source_address=(source, 0))
        s.sendall(connect(uuid).encode())
        statuses.append(status_of(read_answer(s)[0].decode()))
        kept.append(s)
    assert statuses == [200, 429, 200]


def test_slow_heads_are_closed_and_disturb_nobody(own, device):
    uuid, key = device
    address, proxy = own("--head-timeout-seconds", 1)
    slow = [dial(address) for _ in range(300)]
    for s in slow:
        s.sendall(b"CONNECT ")
    head, tunnel = ask(address, connect(uuid, key=key))
    assert status_of(head) == 200
    expect_echo(tunnel)
    for s in slow:
        assert status_of(read_answer(s)[0].decode()) == 408
    silent = dial(address)
    assert silent.recv(10) == b""


def test_a_kept_connection_that_is_not_used_is_closed(own, device):
    uuid, _ = device
    address, _ = own("--head-timeout-seconds", 1)
    head, s = ask(address, connect(uuid, key=new_key()))
    assert status_of(head) == 407
    assert s.recv(10) == b""


def test_an_idle_tunnel_is_closed(own, device):
    uuid, key = device
    address, proxy = own("--idle-timeout-seconds", 1)
    _, s = ask(address, connect(uuid, key=key))
    expect_echo(s)
    assert s.recv(10) == b""
    proxy.wait_log("tunnel ended", uuid, "ended_by=idle")


def test_an_earlier_yes_helps_through_an_outage_if_that_is_wanted(own, world, device):
    uuid, key = device
    address, proxy = own("--access-cache-seconds", 1, "--access-grace-seconds", 60)
    assert status_of(ask(address, connect(uuid, key=key))[0]) == 200
    world.api.mode = "ill"
    eventually(lambda: status_of(ask(address, connect(uuid, key=key))[0]) == 200 and
               proxy.log("tunnel ended", uuid, "decided_by=grace"))
    assert status_of(ask(address, connect(uuid, key=new_key()))[0]) == 502
    world.api.mode = "silent"
    assert status_of(ask(address, connect(uuid, key=key))[0]) == 200


def test_sigterm_lets_tunnels_finish_and_takes_no_new_ones(own, device):
    uuid, key = device
    address, proxy = own("--drain-timeout-seconds", 60)
    _, tunnel = ask(address, connect(uuid, key=key))
    _, kept = ask(address, connect(uuid, key=new_key()))  # answered 407, kept
    early = dial(address)
    early.sendall(b"CONNECT ")
    eventually(lambda: "vpn_proxy_active_tunnels 1\n" in proxy.metrics())
    proxy.process.send_signal(signal.SIGTERM)
    proxy.wait_log("draining")
    eventually(lambda: refused(address), what="the listener's end")
    assert kept.recv(10) == b""
    early.sendall(connect(uuid, key=key)[8:].encode())
    assert status_of(read_answer(early)[0].decode()) == 503
    expect_echo(tunnel, b"x" * 100000)
    assert proxy.process.poll() is None
    early.close()
    tunnel.close()
    assert proxy.process.wait(10) == 0


def ready(proxy):
    host, _, port = proxy.metrics_at.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return s.recv(100).startswith(b"HTTP/1.1 200 ")


def test_readiness_ends_before_the_listener_does(own, device):
    uuid, key = device
    address, proxy = own("--drain-delay-seconds", 600, "--drain-timeout-seconds", 600)
    assert ready(proxy)
    proxy.process.send_signal(signal.SIGTERM)
    proxy.wait_log("not ready any more")
    assert not ready(proxy)
    head, late = ask(address, connect(uuid, key=key))
    assert status_of(head) == 200, "balancers that have not seen it yet still send callers"
    expect_echo(late)
    proxy.process.send_signal(signal.SIGTERM)  # the second one ends it at once
    assert proxy.process.wait(10) == 0


def test_the_drain_begins_when_its_delay_is_over(own, device):
    uuid, key = device
    address, proxy = own("--drain-delay-seconds", 1, "--drain-timeout-seconds", 60)
    _, tunnel = ask(address, connect(uuid, key=key))
    proxy.process.send_signal(signal.SIGTERM)
    eventually(lambda: refused(address), what="the listener's end")
    assert not ready(proxy)
    expect_echo(tunnel, b"x" * 100000)
    tunnel.close()
    assert proxy.process.wait(10) == 0


def refused(address):
    with socket.socket() as s:
        return s.connect_ex(address) != 0


def test_what_is_left_at_the_end_of_the_drain_is_closed(own, device):
    uuid, key = device
    address, proxy = own("--drain-timeout-seconds", 1)
    _, tunnel = ask(address, connect(uuid, key=key))
    proxy.process.send_signal(signal.SIGTERM)
    assert tunnel.recv(10) == b"", "FIN"
    assert proxy.process.wait(10) == 0
    assert proxy.log("tunnel ended", "ended_by=stop")


def test_bulk_under_way_at_sigterm_loses_no_byte(own, world):
    address, proxy = own("--drain-timeout-seconds", 60)
    block = b"0123456789abcdef" * 500_000
    go = threading.Event()

    def serve(conn):
        conn.sendall(block[:1000])
        go.wait(20)
        conn.sendall(block[1000:])

    listener = Listener(serve)
    uuid, key = new_uuid(), new_key()
    world.device(uuid, listener.port)
    world.api.allow(key, uuid)
    tunnels = [ask(address, connect(uuid, key=key))[1] for _ in range(8)]
    proxy.process.send_signal(signal.SIGTERM)
    proxy.wait_log("draining")
    go.set()
    for s in tunnels:
        data = bytearray()
        while piece := s.recv(1 << 20):
            data += piece
        assert bytes(data) == block
        s.close()
    assert proxy.process.wait(20) == 0
    listener.close()


def test_a_tunnel_is_one_line_with_all_there_is_to_know(own, device):
    uuid, key = device
    address, proxy = own()
    _, s = ask(address, connect(uuid, 4711, key))
    expect_echo(s, b"12345")
    s.close()
    line = proxy.wait_log("tunnel ended", uuid)
    for field in ["port=4711", "client=127.0.0.1", "to=127.0.0.1:21001", "decided_by=api",
                  "bytes_to_device=5", "bytes_to_client=5", "ended_by=client", "open_ms=",
                  "access", "route", "connect", "hop"]:
        assert field in line, (field, line)
    assert key not in "\n".join(proxy.lines)
    ask(address, connect(uuid, 4711, key + "x"))
    line = proxy.wait_log("request refused", uuid)
    assert "status=407" in line and "why=" in line
    assert key not in "\n".join(proxy.lines)


def test_metrics_have_the_names_that_dashboards_know(own, device):
    uuid, key = device
    address, proxy = own()
    _, s = ask(address, connect(uuid, key=key))
    expect_echo(s)
    text = proxy.metrics()
    assert "vpn_proxy_active_tunnels 1\n" in text
    assert "vpn_proxy_total_tunnels 1\n" in text
    assert "vpn_proxy_tunnel_errors 0\n" in text
    s.close()
    eventually(lambda: 'vpn_proxy_phase_seconds_count{phase="access"} 1\n' in proxy.metrics())
    text = proxy.metrics()
    assert "vpn_proxy_active_tunnels 0\n" in text
    assert 'vpn_proxy_requests_total{status="200"} 1\n' in text
    assert 'vpn_proxy_decisions_total{source="api"} 1\n' in text
    assert 'vpn_proxy_bytes_total{direction="to_device"} 5\n' in text
    assert "vpn_proxy_access_cache_entries 1\n" in text


def test_connections_are_spread_over_the_threads(own):
    address, proxy = own()
    for _ in range(2000):
        dial(address).close()

    threads = []
    eventually(lambda: accepted(proxy, threads) == 2000)
    few, many = sorted(threads)
    assert few >= 0.8 * many


def test_bad_settings_are_named_and_end_with_2(world):
    import os
    import subprocess

    from conftest import BIN
    program = os.path.join(BIN, "vpn-connect-proxy")
    env = {"VPN_SERVICE_API_KEY": "k", "API_HOST": "api.example.com", "PATH": os.environ["PATH"]}
    for words, text in [(["--no-such"], "--no-such"), (["--workers", "x"], "--workers"),
                        (["--log-level", "loud"], "loud")]:
        ended = subprocess.run([program, *words], env=env, capture_output=True, text=True,
                               timeout=10)
        assert ended.returncode == 2 and text in ended.stderr
    del env["API_HOST"]
    ended = subprocess.run([program], env=env, capture_output=True, text=True, timeout=10)
    assert ended.returncode == 2 and "API_HOST" in ended.stderr
    ended = subprocess.run([program, "--listen", "192.0.2.99:1", "--metrics-listen", "127.0.0.1:0"],
                           env={**env, "API_HOST": "x.example"}, capture_output=True, text=True,
                           timeout=10)
    assert ended.returncode == 1 and "192.0.2.99:1" in ended.stderr
