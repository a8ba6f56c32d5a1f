"""A device that tries to reach through its tunnel what is not its business: nothing answers."""

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.subnets import Block

PORT = 9999


class Listener:
    """On all addresses of a namespace, TCP and UDP; answers everything."""

    def __init__(self, namespace):
        with namespace.entered():
            self.tcp = socket.create_server(("", PORT))
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", PORT))
        for serve in (self.serve_tcp, self.serve_udp):
            threading.Thread(target=serve, daemon=True).start()

    def serve_tcp(self):
        try:
            while True:
                sock, _ = self.tcp.accept()
                sock.sendall(b"hello\n")
                sock.close()
        except OSError:
            pass

    def serve_udp(self):
        try:
            while True:
                data, peer = self.udp.recvfrom(2048)
                self.udp.sendto(data, peer)
        except OSError:
            pass

    def close(self):
        self.tcp.close()
        self.udp.close()


def answers_tcp(device, address, port):
    """None: nothing came back. Also a refusal is an answer."""
    try:
        with device.namespace.connect(address, port, timeout=1.5):
            return "connected"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return None


def answers_udp(device, address, port):
    with device.namespace.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(1)
        sock.sendto(b"x", (address, port))
        try:
            return sock.recv(10)
        except OSError:
            return None


def answers_ping(device, address):
    return device.namespace.run("ping", "-c1", "-W1", address, check=False).returncode == 0


def link_local(namespace):
    """The IPv6 addresses of its ends of tunnels, which it gives itself."""
    text = namespace.run("ip", "-6", "-o", "addr", "show", "scope", "link").stdout
    return re.findall(r": (?:tun\d+|resin-vpn) .*inet6 ([0-9a-f:]+)/", text)


@pytest.fixture
def scene(make_lab):
    lab = make_lab(replicas=2)
    hostile, *others = [lab.device() for _ in range(4)]
    for device in lab.devices:
        device.wait_online()
    lab.wait_agreed()
    # As on a host of containers; and the others would answer, if they were asked.
    lab.machine.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    for device in others:
        device.namespace.run("ip", "route", "add", "100.64.0.0/10", "dev", "resin-vpn")
    listeners = [Listener(lab.machine)] + [Listener(d.namespace) for d in others]
    yield lab, hostile, others
    for listener in listeners:
        listener.close()


def test_nothing_answers_through_the_tunnel(scene):
    lab, hostile, others = scene
    assert answers_tcp(hostile, hostile.gateway, PORT) == "connected", "outside of the tunnel"
    assert answers_udp(hostile, hostile.gateway, PORT), "outside of the tunnel"
    # Everything but its own link goes into the tunnel, the machine's other addresses too.
    hostile.namespace.run("ip", "route", "add", "100.64.0.0/10", "dev", "resin-vpn")
    hostile.namespace.run("ip", "route", "add", "10.77.0.0/16", "dev", "resin-vpn")
    mine = lab.pool.state.device(hostile.uuid)["instance"]["index"]
    targets = {"device %d" % d.number: d.vpn_address for d in others}
    targets.update(("gateway of %d" % i, Block(i).gateway) for i in (1, 2))
    targets["peer"] = Block(mine).peer
    targets["the machine"] = others[0].gateway
    targets["another device's link"] = others[0].address

    ports = (PORT, 443, 3128, 8080, 8090, 10000 + mine, 21000 + mine)
    with ThreadPoolExecutor(16) as pool:
        results = {}
        for what, address in targets.items():
            for port in ports:
                results["%s, TCP port %d" % (what, port)] = pool.submit(
                    answers_tcp, hostile, address, port)
            results[what + ", UDP"] = pool.submit(answers_udp, hostile, address, PORT)
            results[what + ", ping"] = pool.submit(answers_ping, hostile, address)
    found = {what: r.result() for what, r in results.items()}
    for what, namespace in [("the machine", lab.machine)] + [
            ("device %d" % d.number, d.namespace) for d in others]:
        for address in link_local(namespace):
            found[what + ", IPv6 ping"] = answers_ping(hostile, address + "%resin-vpn")
    assert any("IPv6" in what for what in found)
    assert {what: answer for what, answer in found.items() if answer} == {}
    assert lab.reaches(hostile), "replies do pass"
    assert all(lab.reaches(d) for d in others)


def test_spoofed_source_reaches_nobody(scene):
    """With another device's address as its source its packets go nowhere, and that device stays
    reachable."""
    lab, hostile, others = scene
    victim = others[0]
    hostile.namespace.run("ip", "addr", "add", victim.vpn_address + "/32", "dev", "lo")
    hostile.namespace.run("ip", "route", "add", "100.64.0.0/10", "dev", "resin-vpn", "src",
                          victim.vpn_address)
    assert answers_tcp(hostile, Block(1).gateway, PORT) is None
    assert answers_tcp(hostile, others[1].vpn_address, PORT) is None
    assert lab.reaches(victim)


def test_wall_stands_after_restarts(scene):
    lab, hostile, others = scene
    lab.pool.wait_restarted("vpn-sidecar", lab.pool.kill9("vpn-sidecar"))
    lab.pool.kill9("vpn-controller")
    lab.pool.start().wait_ready()
    hostile.namespace.run("ip", "route", "add", "100.64.0.0/10", "dev", "resin-vpn")
    for address in [Block(1).gateway, Block(2).gateway, *(d.vpn_address for d in others)]:
        assert answers_tcp(hostile, address, PORT) is None
        assert not answers_ping(hostile, address)
    assert lab.reaches(hostile)
