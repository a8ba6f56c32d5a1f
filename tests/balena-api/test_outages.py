"""Ways to be unwell, and the journal."""

import http.client
import socket
import time

import pytest
from conftest import U1, U2, Caller
from standin.client import StandIn

GONE = (http.client.BadStatusLine, http.client.RemoteDisconnected, ConnectionError)


def test_down_refuses_connections_and_comes_back(api, standin):
    standin.mode("down")
    with pytest.raises(ConnectionRefusedError):
        api.auth(U1, "key-1")
    standin.mode("ok")
    assert api.auth(U1, "key-1").status == 200


def test_ill_says_401_to_every_key(api, standin):
    one = api.register()
    standin.mode("ill")
    assert api.auth(U1, "key-1").status == 401
    assert api.report("connect", one, [U1]).status == 401
    assert api("PATCH", "/v7/service_instance(%d)" % one, "svc", {"is_alive": True}).status == 401
    assert api.can_access(U1, "user-1").status == 401
    assert standin.connected() == set()


def test_ill_may_end_at_the_auth_of_an_uncached_device(api, standin):
    standin.ask("POST", "/start")
    assert api.auth(U1, "key-1").status == 200
    standin.mode("ill", uncached="die")
    assert api.auth(U1, "key-1").status == 401
    with pytest.raises(GONE):
        api.auth(U2, "key-2")
    assert "uncached" in standin.health()["dead"]


def test_redis_down_ends_at_the_auth_of_an_uncached_device_only(api, standin):
    api.auth(U1, "key-1")
    standin.mode("redis-down")
    assert api.auth(U1, "key-1").status == 200
    assert api.can_access(U1, "user-1").status == 200
    with pytest.raises(GONE):
        api.auth(U2, "user-2")


def test_silent_accepts_and_never_answers(api, standin):
    standin.mode("silent")
    with socket.create_connection(api.where, 10) as sock:
        sock.sendall(b"GET /services/vpn/auth/%s HTTP/1.1\r\nHost: a\r\n\r\n" % U1.encode())
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_hang_ends_the_process(api, standin):
    standin.mode("hang", ms=100)
    with pytest.raises(GONE):
        api.auth(U1, "key-1")
    assert standin.health()["dead"]


def test_slow(api, standin):
    standin.mode("slow", ms=300)
    began = time.monotonic()
    assert api.auth(U1, "key-1").status == 200
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_proxy_before_it_answers(api, standin, status):
    standin.mode("5xx", status=status)
    assert api.auth(U1, "key-1").status == status


def test_garbage_page_and_reset(api, standin):
    standin.mode("garbage")
    with pytest.raises(http.client.BadStatusLine):
        api.auth(U1, "key-1")
    standin.mode("html")
    assert b"<html>" in api.auth(U1, "key-1").body
    standin.mode("reset")
    with pytest.raises(GONE):
        api.auth(U1, "key-1")


def test_outage_of_some_calls_only(api, standin):
    standin.mode("ill", only=["can-access"])
    assert api.auth(U1, "key-1").status == 200
    assert api.can_access(U1, "user-1").status == 401


def test_unknown_mode_is_refused(standin):
    with pytest.raises(RuntimeError):
        standin.mode("tired")


def test_journal_is_in_order_with_both_clocks_and_without_keys(api, standin):
    start = standin.health()["seq"]
    one = api.register()
    api.report("connect", one, [U1])
    api.report("disconnect", one, [U1])
    entries = standin.log(start)
    assert [e["call"] for e in entries] == ["register", "client-connect", "client-disconnect"]
    assert [e["seq"] for e in entries] == [start + 1, start + 2, start + 3]
    assert sorted(entries, key=lambda e: e["mono_ms"]) == entries
    assert all(e["who"] == "vpn" and abs(e["wall_ms"] / 1000 - time.time()) < 60 for e in entries)
    assert entries[1]["changed"] == [U1]
    assert "svc" not in str(entries)


def test_journal_waits_for_news(api, standin):
    seq = standin.health()["seq"]
    assert standin.log(seq, wait_ms=50) == []
    standin.mode("ok")
    assert standin.log(seq, wait_ms=5000)[0]["event"] == "mode"


def test_exit_on_death_ends_for_real(tmp_path):
    standin = StandIn.start(tmp_path, {}, extra=["--exit-on-death"])
    with pytest.raises(GONE):
        Caller(standin).auth("%00")
    assert standin.process.wait(10) == 1
    standin.process.stdout.close()


def test_a_thousand_requests_a_second(api):
    """Not a benchmark: 2,000 requests, many at once, all answered right."""
    request = ("GET /services/vpn/auth/%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key-1\r\n"
               "\r\n" % U1).encode()
    sockets = [socket.create_connection(api.where, 10) for _ in range(50)]
    for _ in range(40):
        for sock in sockets:
            sock.sendall(request)
        for sock in sockets:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    for sock in sockets:
        sock.close()
