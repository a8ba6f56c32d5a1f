"""What happens to bytes, FINs and RSTs in a tunnel: through one hop and through two."""

import hashlib
import random
import socket
import struct
import threading
import time

import pytest

from stand_ins import Listener, echo, eventually, new_key, new_uuid, reset
from test_answers import connect, dial, read_answer, read_head_only, status_of


class Opener:
    """Opens tunnels to devices that are played by a function, serve(conn)."""

    def __init__(self, way):
        self.address, self.world = way
        self.listeners = []

    def ask(self, serve):
        uuid, key = new_uuid(), new_key()
        listener = Listener(serve)
        self.listeners.append(listener)
        self.world.device(uuid, listener.port)
        self.world.api.allow(key, uuid)
        s = dial(self.address)
        s.sendall(connect(uuid, key=key).encode())
        return s

    def open(self, serve):
        """The socket, and what a busy client read along with the head."""
        s = self.ask(serve)
        head, rest = read_answer(s)
        assert status_of(head.decode()) == 200
        return s, rest

    def __call__(self, serve):
        s = self.ask(serve)
        assert status_of(read_head_only(s).decode()) == 200
        return s


@pytest.fixture
def to(way):
    opener = Opener(way)
    yield opener
    for listener in opener.listeners:
        listener.close()


def read_all(s):
    data = bytearray()
    while piece := s.recv(1 << 20):
        data += piece
    return bytes(data)


def test_a_client_that_is_done_still_gets_its_answer(to):
    def answer(conn):
        assert read_all(conn) == b"request"
        conn.sendall(b"a" * 100008)

    s = to(answer)
    s.sendall(b"request")
    s.shutdown(socket.SHUT_WR)
    assert len(read_all(s)) == 100008


def test_a_device_that_is_done_still_gets_the_rest(to):
    received = []

    def listen_on(conn):
        conn.shutdown(socket.SHUT_WR)
        received.append(len(read_all(conn)))

    s = to(listen_on)
    assert s.recv(10) == b""
    s.sendall(b"b" * 70000)
    s.shutdown(socket.SHUT_WR)
    eventually(lambda: received == [70000], what="70,000 bytes")


def test_a_client_may_send_all_and_half_close_before_the_200(way):
    address, world = way
    uuid, key = new_uuid(), new_key()
    got = []

    def answer(conn):
        got.append(read_all(conn))
        conn.sendall(b"answer")

    listener = Listener(answer)
    world.device(uuid, listener.port)
    world.api.allow(key, uuid)
    world.api.delay = 0.3
    s = dial(address)
    s.sendall(connect(uuid, key=key).encode() + b"all of it")
    s.shutdown(socket.SHUT_WR)
    head, rest = read_answer(s)
    assert status_of(head.decode()) == 200
    assert rest + read_all(s) == b"answer"
    assert got == [b"all of it"]


def test_an_rst_of_the_device_reaches_the_client_as_one(to):
    def serve(conn):
        conn.recv(1)
        reset(conn)

    s = to(serve)
    s.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        s.recv(10)


def test_bytes_before_an_rst_are_delivered(to):
    def answer(conn):
        conn.sendall(b"c" * 50000)
        conn.recv(1)
        reset(conn)

    s = to(answer)
    data = bytearray()
    while len(data) < 50000:
        data += s.recv(65536)
    s.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        s.recv(10)


def test_an_rst_of_the_client_reaches_the_device_as_one(to):
    seen = []

    def watch(conn):
        try:
            conn.sendall(b"hello")
            while conn.recv(65536):
                pass
            seen.append("FIN")
        except ConnectionResetError:
            seen.append("RST")

    s = to(watch)
    assert s.recv(5) == b"hello"
    reset(s)
    eventually(lambda: seen == ["RST"], what="an RST")


SO_TIMESTAMPNS = 35


class Wire:
    """What goes over the loopback, segment by segment, whoever reads it when."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.bind(("lo", 0))
        self.sock.setblocking(False)

    def to_port(self, port):
        """(s, payload) of each TCP segment that was sent to a port since the last call."""
        segments = []
        while True:
            try:
                frame, (control,), _, _ = self.sock.recvmsg(1 << 17, 64)
            except BlockingIOError:
                return segments
            seconds, nanoseconds = struct.unpack("qq", control[2])
            packet = frame[14:]
            segment = packet[4 * (packet[0] & 15):]
            payload = segment[4 * (segment[12] >> 4):]
            if (packet[9] == socket.IPPROTO_TCP and payload and
                    int.from_bytes(segment[2:4], "big") == port):
                segments.append((seconds + nanoseconds / 1e9, payload))


def test_the_200_travels_alone_to_a_device_that_talks_first(to):
    """In a segment of its own, and long enough before the next that a caller has read it."""
    wire = Wire()
    for _ in range(100):
        def banner(conn):
            conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            conn.recv(1)

        s = to.ask(banner)
        data = b""
        while not data.endswith(b"9.2\r\n"):
            piece = s.recv(65536)
            assert piece, data
            data += piece
        (opened, head), (spoke, words) = wire.to_port(s.getsockname()[1])
        assert head == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        assert words == b"SSH-2.0-OpenSSH_9.2\r\n"
        assert spoke - opened > 0.005
        s.close()


@pytest.mark.parametrize("direction", ["down", "up", "both"])
def test_every_byte_arrives_in_32_tunnels_at_once(to, direction):
    size = 3_000_000
    block = random.Random(1).randbytes(size)
    wanted = hashlib.sha256(block).hexdigest()
    at_device = []

    def serve(conn):
        def receive():
            at_device.append(hashlib.sha256(read_all(conn)).hexdigest())

        reader = threading.Thread(target=receive)
        if direction != "down":
            reader.start()
        if direction != "up":
            conn.sendall(block)
            conn.shutdown(socket.SHUT_WR)
        if direction != "down":
            reader.join()

    results = []

    def client():
        s, rest = to.open(serve)
        sender = threading.Thread(
            target=lambda: (s.sendall(block), s.shutdown(socket.SHUT_WR)))
        if direction != "down":
            sender.start()
        data = rest + read_all(s)
        if direction != "down":
            sender.join()
        s.close()
        results.append(hashlib.sha256(data).hexdigest() if direction != "up" else wanted)

    threads = [threading.Thread(target=client) for _ in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert results == [wanted] * 32
    if direction != "down":
        eventually(lambda: at_device == [wanted] * 32, 60, "all bytes at the device")


def test_a_reader_that_is_slow_stops_the_writer_and_loses_nothing(to):
    block = random.Random(2).randbytes(64_000_000)
    sent = [0]

    def serve(conn):
        while sent[0] < len(block):
            sent[0] += conn.send(block[sent[0]:sent[0] + 65536])

    def stands_still():
        before = sent[0]
        time.sleep(0.1)
        return 0 < sent[0] == before

    s = to(serve)
    eventually(stands_still, what="the writer's pause")
    assert sent[0] < len(block), "64 MB are somewhere"
    assert hashlib.sha256(read_all(s)).digest() == hashlib.sha256(block).digest()
