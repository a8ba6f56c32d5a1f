"""A cluster of two nodes on this machine, each a network namespace, around a LAN that is one as well.

    this machine --NAME-host-- [NAME-lan: bridge, etcd, kube-apiserver, ...] --+-- [NAME-n1: a node]
                                  |  |                                         +-- [NAME-n2: a node]
                       [NAME-d1: a device] ...

Nothing of this machine's own network changes but for the one link, over which `kubectl` comes in.
"""

import contextlib
import json
import os
import pathlib
import shutil
import time

from clusterlab import archive, coredns, mounts, programs
from clusterlab.control_plane import ControlPlane
from clusterlab.front import Front
from clusterlab.kubectl import Kubectl
from clusterlab.node import PAUSE_IMAGE, Node, remove_leftovers
from clusterlab.wait import wait_until
from lab.netns import Namespace, run

HOME = pathlib.Path("/var/lib/openbalena-vpn-cluster")

# Losing a node takes minutes by default: too long for a test.
NODE_GRACE_SECONDS, TOLERATION_SECONDS = 12, 5


class Cluster:
    """name: prefix of all that it makes, at most 8 characters. say: told what happens."""

    own = True

    def __init__(self, name, nodes=2, say=print):
        assert len(name) <= 8
        self.name = name
        self.folder = HOME / name
        self.say = say
        self.lan = Namespace(name + "-lan")
        self.host_link = name + "-host"
        self.count = nodes
        self.network = None
        self.control_plane = None
        self.nodes = []

    @property
    def processes(self):
        return self.control_plane.processes

    @property
    def kubeconfig(self):
        return self.control_plane.kubeconfig

    def address(self, last):
        return "%s.255.%d" % (self.network, last)

    @contextlib.contextmanager
    def step(self, what):
        began = time.monotonic()
        yield
        self.say("%6.1f s  %s" % (time.monotonic() - began, what))

    # --- start ---

    def why_unable(self):
        """What is missing for one, None: nothing."""
        if os.geteuid() != 0:
            return "not root"
        if not os.path.exists("/dev/net/tun"):
            return "no /dev/net/tun"
        for program in ("containerd", "runc", "iptables", "conntrack", "nsenter", "openssl"):
            if shutil.which(program) is None:
                return "no %s: scripts/deps cluster installs it" % program
        if not mounts.hierarchies():
            return "no control groups in /sys/fs/cgroup"
        try:
            Namespace.create(self.name + "-probe").delete()
        except Exception as failure:  # whatever it is, it is the reason
            return "no network namespaces: %s" % getattr(failure, "stderr", failure)
        return None

    def up(self):
        programs.install()
        self.down()
        began = time.monotonic()
        self.folder.mkdir(parents=True)
        try:
            self.start()
        except BaseException:
            self.tell_logs()
            self.down()
            raise
        self.say("%6.1f s  in all" % (time.monotonic() - began))
        return self

    def start(self):
        with self.step("a LAN"):
            self.make_lan()
        with self.step("control plane"):
            self.prepare()
            self.control_plane.up([
                "--default-not-ready-toleration-seconds=%d" % TOLERATION_SECONDS,
                "--default-unreachable-toleration-seconds=%d" % TOLERATION_SECONDS])
            self.control_plane.start_controllers(
                "--node-monitor-period=1s", "--node-monitor-grace-period=%ds" % NODE_GRACE_SECONDS,
                "--allocate-node-cidrs=false")
        with self.step("%d nodes ready" % self.count):
            self.start_nodes()
        with self.step("names are answered"):
            self.start_dns()

    def prepare(self):
        self.control_plane = ControlPlane(self.folder / "control", self.lan, self.address(1), True)
        self.nodes = [Node(self, number + 1) for number in range(self.count)]
        (self.folder / "cluster.json").write_text(json.dumps(
            {"network": self.network, "nodes": self.count}))

    def make_lan(self):
        self.network = unused_network()
        lan = Namespace.create(self.lan.name)
        run("ip", "link", "add", self.host_link, "type", "veth", "peer", "name", "host", "netns",
            lan.name)
        run("ip", "addr", "add", self.address(254) + "/24", "dev", self.host_link)
        run("ip", "link", "set", self.host_link, "up")
        for words in (["link", "add", "lan", "type", "bridge"],
                      ["addr", "add", self.address(1) + "/24", "dev", "lan"],
                      ["link", "set", "host", "master", "lan", "up"], ["link", "set", "lan", "up"]):
            lan.run("ip", *words)
        lan.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def start_nodes(self):
        pause = archive.write(self.folder / "pause.tar", PAUSE_IMAGE,
                              archive.build_pause(self.folder))
        names = archive.write(self.folder / "coredns.tar", coredns.IMAGE, programs.path("coredns"))
        for node in self.nodes:
            node.up()
            self.route_pods(node)
            node.load(pause)
            node.load(names)
            node.start_kubelet()
            node.start_proxy()
        self.front.balance(self.nodes)
        kubectl = self.kubectl()
        wait_until(lambda: self.all_ready(kubectl), 90, "the nodes are ready", step=0.5)
        for node in self.nodes:
            node.start_enforcer()

    def route_pods(self, node):
        """Every other node and the LAN send what is for its Pods to it."""
        for namespace in [self.lan, *(n.namespace for n in self.nodes if n is not node)]:
            if namespace.name in Namespace.names(self.name):
                namespace.run("ip", "route", "replace", node.pods, "via", node.address)
        for other in self.nodes:
            if other is not node and other.number < node.number:
                node.namespace.run("ip", "route", "replace", other.pods, "via", other.address)

    def all_ready(self, kubectl):
        for node in self.nodes:
            node.check()
        found = [c["status"] for n in kubectl.get("nodes") for c in n["status"]["conditions"]
                 if c["type"] == "Ready"]
        return found == ["True"] * self.count

    def start_dns(self):
        kubectl = self.kubectl()
        kubectl.apply(*coredns.objects(self.count))
        kubectl.run("-n", coredns.NAMESPACE, "rollout", "status", "deployment/coredns",
                    "--timeout=90s")

    # --- use ---

    @property
    def front(self):
        return Front(self.lan, self.address(100))

    @property
    def api_host(self):
        """What is on the LAN itself, as Pods reach it."""
        return self.address(1)

    def entrance(self, device, port):
        """-> where a device finds that node port: host, port"""
        device.namespace.run("ip", "route", "replace", "default", "via", device.gateway)
        return self.front.address, port

    def cut_off(self, node):
        """Its cable is pulled, and the front notices."""
        node.cut_off()
        self.front.balance([n for n in self.nodes if n is not node])

    def reconnect(self, node):
        node.reconnect()
        self.front.balance(self.nodes)

    def kubectl(self):
        return Kubectl(self.kubeconfig)

    def load(self, file):
        """An image, on every node."""
        for node in self.nodes:
            node.load(file)

    def node(self, name):
        return next(n for n in self.nodes if n.name == name)

    def tell_logs(self):
        if self.control_plane is not None:
            for name in self.processes.names():
                self.say("--- %s\n%s" % (name, self.processes.tail(name)))

    # --- end ---

    def down(self):
        """Removes every trace, also of a cluster of that name that another process made.
        -> whether there was any"""
        there = self.folder.exists() or bool(Namespace.names(self.name + "-"))
        if not there:
            return False
        self.recall()
        for name in Namespace.names(self.name + "-d"):
            Namespace(name).delete()
        for node in self.nodes:
            node.down()
        self.control_plane.down()
        if self.lan.name in Namespace.names(self.lan.name):
            self.lan.delete()
        run("ip", "link", "del", self.host_link, check=False)
        mounts.unmount_below(self.folder)
        remove_leftovers(self.folder)
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
        self.nodes, self.control_plane = [], None
        return True

    def recall(self):
        """What another process made, from what it left behind."""
        if self.control_plane is not None:
            return
        known = {"network": "0.0", "nodes": self.count}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads((self.folder / "cluster.json").read_text())
        self.network, self.count = known["network"], known["nodes"]
        self.control_plane = ControlPlane(self.folder / "control", self.lan, self.address(1), True)
        self.nodes = [Node(self, number + 1) for number in range(self.count)]

    def attach(self):
        """To a running one that another process made."""
        assert (self.folder / "cluster.json").exists(), "no cluster %s" % self.name
        self.recall()
        self.control_plane.recall()
        return self


def unused_network():
    """The first two bytes of a private /16 that this machine has no route into."""
    used = {word.split("/")[0].rsplit(".", 2)[0]
            for word in run("ip", "-4", "route", "show", "table", "all").stdout.split()
            if word.startswith("10.")}
    return next(net for net in ("10.%d" % n for n in range(80, 240)) if net not in used)
