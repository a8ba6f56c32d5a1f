"""Where the connect-proxy looks for a device, and what it says when it is not there."""

import os
import re
import time

import pytest

from conftest import ConnectProxy
from stand_ins import Hop, Listener, State, basic, echo, eventually, new_key, new_uuid, ticket
from test_answers import ask, connect, dial, expect_echo, read_answer, status_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def device(world):
    """A device that is allowed but nowhere yet; (uuid, key, its TCP port)."""
    uuid, key = new_uuid(), new_key()
    listener = Listener(echo)
    world.api.allow(key, uuid)
    yield uuid, key, listener.port
    listener.close()


def front(world):
    return "192.0.2.1", world.proxy.port


def established(conn, request, rest):
    conn.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
    echo(conn)


def test_the_hop_to_a_sidecar_carries_ticket_via_and_trace(world, device):
    uuid, key, _ = device
    hop = Hop(established)
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    head, s = ask(front(world), connect(uuid, 4711, key, extra=f"traceparent: {TRACE}\r\n"
                                                               "Via: 1.0 before\r\n"))
    assert status_of(head) == 200
    expect_echo(s)
    sent = hop.requests[0]
    assert sent.target == sent.headers["host"] == f"{uuid}.balena:4711"
    assert sent.headers["traceparent"] == TRACE
    assert re.fullmatch(r"1\.0 before, 1\.1 vpn-[0-9a-f]{16}", sent.headers["via"])
    expiry = int(sent.headers["proxy-authorization"].split(".")[1])
    assert 0 < expiry - time.time() <= 31
    assert sent.headers["proxy-authorization"] == "Vpn-Ticket " + ticket(uuid, 4711, expiry)
    assert [r.headers["traceparent"] for r in world.api.asked("canAccess", uuid)] == [TRACE]


def test_a_trace_that_is_none_is_not_passed_on(world, device):
    uuid, key, _ = device
    hop = Hop(established)
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    ask(front(world), connect(uuid, 22, key, extra="traceparent: 00-zz\r\n"))
    assert "traceparent" not in hop.requests[0].headers


def test_a_device_that_moved_is_found_at_its_new_sidecar(world, device):
    """The first answer of the state service is stale: its sidecar says 503."""
    uuid, key, port = device

    def gone(conn, request, rest):
        world.device(uuid, port)
        conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    stale = Hop(gone)
    world.state.where[uuid] = f"127.0.0.1:{stale.port}"
    head, s = ask(front(world), connect(uuid, 22, key))
    assert status_of(head) == 200
    expect_echo(s)
    assert stale.connections == 1


def test_a_device_that_moves_is_followed_within_the_request(world, device):
    """Where it was found a moment ago is no longer true: its sidecar knows, and is believed."""
    uuid, key, port = device
    there = [True]

    def had_it(conn, request, rest):
        if there[0]:
            established(conn, request, rest)
        else:
            conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    old = Hop(had_it)
    world.state.where[uuid] = f"127.0.0.1:{old.port}"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 200
    there[0] = False
    world.device(uuid, port)
    for _ in range(2):
        head, s = ask(front(world), connect(uuid, 22, key))
        assert status_of(head) == 200
        expect_echo(s)
        s.close()
    assert len(old.requests) == 2, "the second one after the move knows better"


def test_a_sidecar_that_is_gone_is_not_dialled_again(world, device):
    uuid, key, port = device
    old = Hop(established)
    world.state.where[uuid] = f"127.0.0.1:{old.port}"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 200
    old.close()
    world.device(uuid, port)
    head, s = ask(front(world), connect(uuid, 22, key))
    assert status_of(head) == 200
    expect_echo(s)


def test_a_device_that_went_offline_is_503_though_it_was_there_a_moment_ago(world, device):
    uuid, key, _ = device
    old = Hop(established)
    world.state.where[uuid] = f"127.0.0.1:{old.port}"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 200
    old.play = play(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
    del world.state.where[uuid]
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 503


def test_where_a_device_is_need_not_be_asked_for_each_tunnel(world, device):
    uuid, key, port = device
    world.device(uuid, port)
    for _ in range(20):
        head, s = ask(front(world), connect(uuid, 22, key))
        assert status_of(head) == 200
        s.close()
    assert len([r for r in world.state.requests if uuid in r.target]) < 20


# --- a name for the state service ---

def set_hosts(**names):
    """Writes /etc/hosts, our own: name -> addresses."""
    with open("/etc/hosts", "w") as f:
        f.write("127.0.0.1 localhost\n")
        for name, addresses in names.items():
            for address in addresses:
                f.write(f"{address} {name}\n")


@pytest.fixture
def replicas():
    """Three replicas at one port of 127.0.0.21 and up, as behind a headless Service."""
    first = State("127.0.0.21")
    yield [first] + [State(f"127.0.0.{n}", first.port) for n in (22, 23)]
    set_hosts()


@pytest.mark.parametrize("others", ["dead", "starting", "rubbish"])
def test_a_name_stands_for_all_addresses_and_any_ready_one_does(world, device, start, replicas,
                                                               others):
    uuid, key, port = device
    world.device(uuid, port)
    for replica in replicas[:2]:
        replica.mode = others
        if others == "dead":
            replica.listener.close()
        replica.answer = (lambda request, conn: (500, None)) if others == "rubbish" \
            else replica.answer
    replicas[2].where = world.state.where
    set_hosts(state=["127.0.0.21", "127.0.0.22", "127.0.0.23"])
    proxy = start(ConnectProxy, world.api, [f"state:{replicas[0].port}"], metrics="127.0.0.1:8092")
    head, s = ask(("127.0.0.1", proxy.port), connect(uuid, 22, key))
    assert status_of(head) == 200
    expect_echo(s)


def test_a_replica_that_dies_is_passed_over_in_the_same_request(world, device, start, replicas):
    uuid, key, port = device
    world.device(uuid, port)
    for replica in replicas[:2]:
        replica.where = world.state.where
    set_hosts(state=["127.0.0.21", "127.0.0.22"])
    proxy = start(ConnectProxy, world.api, [f"state:{replicas[0].port}"], metrics="127.0.0.1:8092")

    def opens():
        other = new_uuid()  # of which there is no hint
        world.api.allow(key, other)
        world.device(other, port)
        return status_of(ask(("127.0.0.1", proxy.port), connect(other, 22, key))[0])

    assert opens() == 200
    asked = [len(r.requests) for r in replicas[:2]]
    replicas[asked.index(max(asked))].answer = lambda request, conn: (503, {"error": "starting"})
    assert opens() == 200
    assert min(len(r.requests) for r in replicas[:2]) > 0


def test_a_name_is_looked_up_again_when_nobody_is_there(world, device, start, replicas):
    uuid, key, port = device
    world.device(uuid, port)
    replicas[0].where = world.state.where
    set_hosts(state=["127.0.0.29"])
    proxy = start(ConnectProxy, world.api, [f"state:{replicas[0].port}"], metrics="127.0.0.1:8092")
    s = ask_raw(("127.0.0.1", proxy.port), connect(uuid, 22, key))
    set_hosts(state=["127.0.0.21"])
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)


def test_a_name_that_does_not_exist_yet_is_502_and_then_found(world, device, start, replicas):
    uuid, key, port = device
    world.device(uuid, port)
    replicas[0].where = world.state.where
    proxy = start(ConnectProxy, world.api, [f"state:{replicas[0].port}"], metrics="127.0.0.1:8092")
    address = ("127.0.0.1", proxy.port)
    assert status_of(ask(address, connect(uuid, 22, key))[0]) == 502
    set_hosts(state=["127.0.0.21"])
    eventually(lambda: status_of(ask(address, connect(uuid, 22, key))[0]) == 200, 20)


def play(*parts):
    def answer(conn, request, rest):
        for part in parts:
            conn.sendall(part)
    return answer


@pytest.mark.parametrize("answer,status", [
    (play(b"HTTP/1.1 503 x\r\n\r\n"), 503),
    (play(b"HTTP/1.1 504 x\r\n\r\n"), 504),
    (play(b"HTTP/1.1 502 x\r\n\r\n"), 502),
    (play(b"HTTP/1.1 508 x\r\n\r\n"), 508),
    (play(b"HTTP/1.1 407 x\r\n\r\n"), 502),
    (play(b"HTTP/1.1 204 x\r\n\r\n"), 502),
    (play(b"SSH-2.0-x\r\n\r\n"), 502),
    (play(b"HTTP/1.1 2"), 502),
    (play(), 502),
    (play(b"a" * 10000), 502),
])
def test_what_a_sidecar_says_becomes(world, device, answer, status):
    uuid, key, _ = device
    hop = Hop(answer)
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    head, _ = ask(front(world), connect(uuid, 22, key))
    assert status_of(head) == status
    assert hop.connections <= 2


def test_a_sidecar_that_is_not_there_is_502(world, device):
    uuid, key, _ = device
    hop = Hop(established)
    hop.close()
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 502


def test_a_sidecar_that_is_silent_is_504(world, device):
    uuid, key, _ = device
    hop = Hop(lambda conn, request, rest: conn.recv(1))
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    begun = time.monotonic()
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 504
    assert time.monotonic() - begun < 8


def test_bytes_that_came_with_the_sidecars_200_are_never_lost(world, device):
    uuid, key, _ = device

    def talk_first(conn, request, rest):
        conn.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\nSSH-2.0-device\r\n")
        conn.recv(1)

    hop = Hop(talk_first)
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    for _ in range(int(os.environ.get("PROXY_BANNERS", 200))):
        s = ask_raw(front(world), connect(uuid, 22, key))
        head, got = read_answer(s)
        while len(got) < 16:
            piece = s.recv(100)
            assert piece, got
            got += piece
        assert got == b"SSH-2.0-device\r\n"
        s.close()


def ask_raw(address, request):
    s = dial(address)
    s.sendall(request.encode())
    return s


# --- the state service ---

def test_a_state_service_that_is_starting_is_waited_for(world, device):
    uuid, key, port = device
    world.device(uuid, port)
    world.state.mode = "starting"
    s = ask_raw(front(world), connect(uuid, 22, key))
    eventually(lambda: len([r for r in world.state.requests if uuid in r.target]) >= 3)
    world.state.mode = "ready"
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)


def test_one_that_never_gets_ready_is_502_in_time(world, device):
    uuid, key, _ = device
    world.state.mode = "starting"
    begun = time.monotonic()
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 502
    assert time.monotonic() - begun < 8


def test_the_next_replica_is_asked(world, device, start):
    uuid, key, port = device
    world.device(uuid, port)
    dead, starting = State(), State()
    dead.listener.close()
    starting.mode = "starting"
    proxy = start(ConnectProxy, world.api, [dead.port, starting.port, world.state.port],
                  metrics="127.0.0.1:8092")
    for _ in range(3):
        head, s = ask(("127.0.0.1", proxy.port), connect(uuid, 22, key))
        assert status_of(head) == 200
        expect_echo(s)


def test_no_replica_at_all_is_502(world, device, start):
    uuid, key, _ = device
    dead = State()
    dead.listener.close()
    proxy = start(ConnectProxy, world.api, [dead.port], metrics="127.0.0.1:8092")
    begun = time.monotonic()
    assert status_of(ask(("127.0.0.1", proxy.port), connect(uuid, 22, key))[0]) == 502
    assert time.monotonic() - begun < 8


def test_many_requests_at_once_are_few_lookups(world, device):
    uuid, key, port = device
    world.device(uuid, port)
    sockets = [ask_raw(front(world), connect(uuid, 22, key)) for _ in range(200)]
    assert [status_of(read_answer(s)[0].decode()) for s in sockets] == [200] * 200
    assert len([r for r in world.state.requests if uuid in r.target]) < 50


# --- other hosts ---

def test_a_device_that_the_api_does_not_see_either_is_offline(world, device):
    uuid, key, _ = device
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 503
    assert world.api.asked("is_connected_to_vpn&@id=")
    assert not world.api.asked("service_instance", uuid)


@pytest.mark.parametrize("word,answer,status", [
    ("is_connected_to_vpn", (500, None), 502), ("is_connected_to_vpn", (401, None), 502),
    ("is_connected_to_vpn", None, 502),
    ("service_instance", (500, None), 502), ("service_instance", None, 502),
    ("service_instance", (401, None), 503),  # the caller's key may not see the hosts
])
def test_an_api_that_fails_at_the_second_question_is_an_outage(world, device, word, answer, status,
                                                             monkeypatch):
    uuid, key, _ = device
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    sane = world.api.answer
    monkeypatch.setattr(world.api, "answer", lambda request, conn: (
        answer if word in request.target else sane(request, conn)))
    begun = time.monotonic()
    head, _ = ask(front(world), connect(uuid, 22, key))
    assert status_of(head) == status and "Retry-After: " in head
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize("field", ["Via: 1.1 {me}", "Forwarded: by=_{me}", "Via: 1.0 x, 1.1 {me}",
                                   'Forwarded: for=192.0.2.9, by="_{me}"'])
def test_a_request_that_says_it_was_here_is_not_sent_to_another_host(world, device, field):
    uuid, key, port = device
    hop = Hop(established)
    world.state.where[uuid] = f"127.0.0.1:{hop.port}"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 200
    me = hop.requests[0].headers["via"].split(" ")[-1]
    hop.close()
    del world.state.where[uuid]
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    other = Hop(established, "192.0.2.3", 3128)
    head, _ = ask(front(world), connect(uuid, 22, key, extra=field.format(me=me) + "\r\n"))
    assert status_of(head) == 508
    assert other.connections == 0
    other.close()


def test_a_device_on_another_host_is_reached_with_the_callers_own_key(world, device):
    uuid, key, _ = device
    hop = Hop(established, "192.0.2.3", 3128)
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    head, s = ask(front(world), connect(uuid, 22, key, extra=f"traceparent: {TRACE}\r\n"))
    assert status_of(head) == 200
    expect_echo(s)
    sent = hop.requests[0]
    assert sent.headers["proxy-authorization"] == basic(key)
    assert "via" in sent.headers and "forwarded" in sent.headers
    assert sent.headers["traceparent"] == TRACE
    assert [r.bearer for r in world.api.asked("service_instance", uuid)] == [key]
    hop.close()


def test_a_refusal_of_the_other_host_is_passed_on(world, device):
    uuid, key, _ = device
    hop = Hop(play(b"HTTP/1.0 407 Proxy Authorization Required\r\n\r\n"), "192.0.2.3", 3128)
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 407
    hop.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1", "::ffff:192.0.2.1", None])
def test_a_device_that_is_just_arriving_here_is_waited_for(world, device, host):
    uuid, key, port = device
    world.api.connected.add(uuid)
    if host:
        world.api.hosts[uuid] = host
    s = ask_raw(front(world), connect(uuid, 22, key))
    eventually(lambda: len([r for r in world.state.requests if uuid in r.target]) >= 3)
    world.device(uuid, port)
    assert status_of(read_answer(s)[0].decode()) == 200
    expect_echo(s)


def test_one_that_does_not_arrive_is_503(world, device):
    uuid, key, _ = device
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.1"
    begun = time.monotonic()
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 503
    assert time.monotonic() - begun < 8


def test_a_host_that_leads_back_to_us_ends_as_a_loop(world, device, start):
    """The registered address is ours, but nobody told us."""
    uuid, key, _ = device
    proxy = start(ConnectProxy, world.api, [world.state.port], listen="192.0.2.3:3128",
                  metrics="127.0.0.1:8092")
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    head, _ = ask(("192.0.2.3", 3128), connect(uuid, 22, key))
    assert head.startswith("HTTP/1.1 508 Loop Detected\r\n")
    eventually(lambda: len(proxy.log("request refused", uuid)) == 2)
    assert len(proxy.log(uuid, "status=508")) == 2


def test_two_hosts_that_name_each_other_end_as_a_loop(world, device, start):
    uuid, key, _ = device
    other_api = type(world.api)()
    other_api.allow(key, uuid)
    other_api.connected.add(uuid)
    other_api.hosts[uuid] = "192.0.2.11"
    world.api.connected.add(uuid)
    world.api.hosts[uuid] = "192.0.2.2"
    start(ConnectProxy, other_api, [world.state.port], "--self-address", "192.0.2.2",
          listen="192.0.2.3:3128", metrics="127.0.0.1:8092")
    assert status_of(ask(front(world), connect(uuid, 22, key))[0]) == 508
