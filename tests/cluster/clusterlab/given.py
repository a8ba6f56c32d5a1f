"""Clusters that are not ours: the one of KUBECONFIG, and kind's. Devices are network namespaces of this
machine here too; a relay takes them to a node's port, because they have no route there."""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

from clusterlab import cluster as own
from clusterlab.kubectl import Kubectl
from clusterlab.processes import Processes
from clusterlab.wait import wait_until
from clusterlab.world import NAMESPACE, RELEASE, condition
from lab.netns import Namespace, run, why_unable

RELAY = pathlib.Path(__file__).resolve().parent / "relay.py"


class GivenNode:
    def __init__(self, node):
        self.name = node["metadata"]["name"]
        self.address = next(a["address"] for a in node["status"]["addresses"]
                            if a["type"] == "InternalIP")


class GivenCluster:
    """api_host: this machine, as Pods reach it. load_command: loads the image archive whose name
    is put behind it."""

    own = False

    def __init__(self, name, say, kubeconfig, api_host=None, load_command=()):
        self.name = name
        self.say = say
        self.folder = own.HOME / name
        self.kubeconfig = pathlib.Path(kubeconfig)
        self.api_host = api_host
        self.load_command = list(load_command)
        self.lan = Namespace()
        self.processes = Processes(self.folder)
        self.nodes = []

    def why_unable(self):
        if self.api_host is None:
            return "VPN_CLUSTER_API_HOST must say under which address Pods reach this machine"
        if not self.load_command:
            return "VPN_CLUSTER_LOAD must be a command that loads an image archive into the cluster"
        return why_unable()

    @contextlib.contextmanager
    def step(self, what):
        began = time.monotonic()
        yield
        self.say("%6.1f s  %s" % (time.monotonic() - began, what))

    def up(self):
        self.down()
        self.folder.mkdir(parents=True)
        return self.attach()

    def attach(self):
        nodes = wait_until(self.ready_nodes, 120, "every node is ready", 1)
        workers = [n for n in nodes if not any(t["effect"] == "NoSchedule"
                                               for t in n["spec"].get("taints", []))]
        self.nodes = [GivenNode(n) for n in workers or nodes]
        self.node_addresses = [GivenNode(n).address for n in nodes]
        self.network = own.unused_network()
        return self

    def ready_nodes(self):
        """All of them; one that is not ready yet, or was just now, is tainted for it."""
        nodes = self.kubectl().get("nodes")
        late = [n["metadata"]["name"] for n in nodes if condition(n, "Ready") != "True" or any(
            t["key"] == "node.kubernetes.io/not-ready" for t in n["spec"].get("taints", []))]
        if late:
            raise RuntimeError("not ready: %s" % ", ".join(late))
        return nodes

    def kubectl(self):
        return Kubectl(self.kubeconfig, shutil.which("kubectl"))

    def load(self, archive):
        subprocess.run([*self.load_command, str(archive)], check=True, stdout=sys.stderr)

    def entrance(self, device, port):
        """-> where a device finds that node port: host, port"""
        name = "relay-%d" % port
        if self.processes.pid(name) is None:
            self.processes.start(name, "/usr/bin/python3", "-B", RELAY, port,
                                 self.nodes[0].address, port)
        return device.gateway, port

    def down(self):
        if not self.folder.exists():
            return False
        with contextlib.suppress(Exception):  # the cluster may be gone
            self.end_inside(self.kubectl())
        self.end_outside()
        return True

    @staticmethod
    def end_inside(kubectl):
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
        if not kubectl.get("vpnpools", all_namespaces="true"):  # another release's may be left
            kubectl.run("delete", "crd", "--selector=app.kubernetes.io/component=crd,"
                        "app.kubernetes.io/instance=%s" % RELEASE)

    def end_outside(self):
        for name in Namespace.names(self.name + "-d"):
            Namespace(name).delete()
        for link in json.loads(run("ip", "-j", "link").stdout):
            if link["ifname"].startswith(self.name + "-d"):
                run("ip", "link", "del", link["ifname"], check=False)
        self.processes.stop_all()
        shutil.rmtree(self.folder)


class KindCluster(GivenCluster):
    def __init__(self, name, say):
        super().__init__(name, say, own.HOME / name / "kubeconfig",
                         load_command=["kind", "load", "image-archive", "--name", name])

    def why_unable(self):
        return why_unable()

    def up(self):
        self.down()
        self.folder.mkdir(parents=True)
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4",
                  "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}]}
        with self.step("kind's cluster"):
            subprocess.run(["kind", "create", "cluster", "--name", self.name, "--kubeconfig",
                            self.kubeconfig, "--wait", "120s", "--config", "-"],
                           input=json.dumps(config), text=True, check=True, stdout=sys.stderr)
        return self.attach()

    def attach(self):
        format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
        gateways = run("docker", "network", "inspect", "kind", "-f", format).stdout.split()
        self.api_host = next(g for g in gateways if ":" not in g)
        return super().attach()

    def down(self):
        if not self.folder.exists():
            return False
        run("kind", "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig),
            check=False)
        self.end_outside()
        return True


def docker_answers():
    return shutil.which("docker") is not None and run("docker", "info", check=False).returncode == 0


def choose(name, say=print):
    """The cluster to use: the one that is up under that name, whatever the environment has become
    since; else KUBECONFIG's, kind's, or our own."""
    folder = own.HOME / name
    if (folder / "cluster.json").exists():
        return own.Cluster(name, say=say)
    if (folder / "kubeconfig").exists():
        return KindCluster(name, say)
    if os.environ.get("KUBECONFIG"):
        return GivenCluster(name, say, os.environ["KUBECONFIG"],
                            os.environ.get("VPN_CLUSTER_API_HOST"),
                            shlex.split(os.environ.get("VPN_CLUSTER_LOAD", "")))
    if docker_answers() and shutil.which("kind"):
        return KindCluster(name, say)
    return own.Cluster(name, say=say)
