"""A cluster with open-balena-vpn in it, the stand-in balena API beside it, and devices around it."""

import json
import pathlib
import re
import secrets
import subprocess
import time

from clusterlab import programs
from clusterlab.kubectl import Failed
from clusterlab.wait import wait_until
from lab import connect as proxy
from lab import tls
from lab.device import HTTP_PORT, SUPERVISOR_PORT, Device
from lab.state import State
from standin.client import StandIn

CHART = pathlib.Path(__file__).resolve().parents[3] / "deploy/helm/open-balena-vpn"
NAMESPACE, RELEASE, POOL = "vpn", "vpn", "fleet"
IMAGE = "localhost/openbalena-vpn:dev"
USER_TOKEN = "user-token-1"
API_PORT = 8000


class World:
    """folder: of what is not the cluster's: the stand-in's log, the devices, certificates."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.kubectl = cluster.kubectl()
        self.folder = cluster.folder / "world"
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        self.lan = cluster.lan
        self.devices = []
        self.keys = {"VPN_SERVICE_API_KEY": secrets.token_hex(16),
                     "VPN_GUEST_API_KEY": secrets.token_hex(16),
                     "VPN_API_API_KEY": secrets.token_hex(16)}
        self.state = StateService(self)
        self.api_address = "%s:%d" % (cluster.address(1), API_PORT)
        self.tls = tls.make(self.folder / "tls")
        self.api = StandIn.start(self.folder, self.keys, listen=self.api_address,
                                 prefix=self.lan.command(), start_new_session=True)
        self.api.key("user", USER_TOKEN, tunnel=[{"uuid": "*", "ports": ["any"]}])

    # --- the chart ---

    def helm(self, *words, timeout=300):
        done = subprocess.run([programs.path("helm"), "--kubeconfig", str(self.cluster.kubeconfig),
                               "--namespace", NAMESPACE, *map(str, words)],
                              capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise Failed("helm %s: %s" % (words[0], done.stderr.strip()))
        return done.stdout

    def make_secrets(self):
        """What the chart expects to find: keys and certificates."""
        read = lambda name: (self.tls / name).read_text()  # noqa: E731
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vpn-keys"},
             "stringData": {k: v for k, v in self.keys.items() if k != "VPN_API_API_KEY"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vpn-tls"},
             "stringData": {"ca.crt": read("ca.crt"), "tls.crt": read("server.crt"),
                            "tls.key": read("server.key")}}, namespace=NAMESPACE)

    # --- devices and callers ---

    def device(self, start=True, known=True, **more):
        """A new one outside the cluster, which comes in by the front and the node port."""
        number = len(self.devices) + 1
        device = Device(self.lan, self.folder, number, self.tls / "ca.crt", self.cluster.name,
                        network=self.cluster.network, **more)
        self.devices.append(device)
        device.namespace.run("ip", "route", "add", "default", "via", device.gateway)
        device.config(self.node_port("vpn"), self.tls / "ca.crt", host=self.cluster.front.address)
        if known:
            self.api.device(device.uuid, device.key, api_port=SUPERVISOR_PORT)
        return device.start() if start else device

    def connect(self, device, port=HTTP_PORT, token=USER_TOKEN, node=None, **more):
        """As a caller from outside, at a node's port of the CONNECT proxy."""
        node = node or self.cluster.nodes[0]
        return proxy.connect(self.lan, "%s.balena:%d" % (device.uuid, port), token,
                             host=node.address, proxy_port=self.node_port("connect"), **more)

    def reaches(self, device, **more):
        """Does a GET through the proxy end at that very device?"""
        with self.connect(device, **more) as answer:
            return answer.status == 200 and device.uuid.encode() in answer.get()

    def truth(self):
        return {d.uuid for d in self.devices if d.online}

    def agreed(self):
        """Do the API and the state service both believe the truth?"""
        truth = self.truth()
        return self.api.connected() == truth and set(self.state.devices()) == truth

    def wait_agreed(self, timeout=5):
        wait_until(self.agreed, timeout, "the API, the state service and the truth agree")

    def node_port(self, name):
        """Of the Service port with that name."""
        for service in self.kubectl.get("services", namespace=NAMESPACE):
            for port in service["spec"]["ports"]:
                if port.get("name") == name and port.get("nodePort"):
                    return port["nodePort"]
        raise KeyError("no node port named %s" % name)

    # --- what runs ---

    def pods(self, **labels):
        selector = ",".join("%s=%s" % (k.replace("__", "/"), v) for k, v in labels.items())
        return self.kubectl.get("pods", namespace=NAMESPACE, selector=selector)

    def component(self, name):
        return self.pods(**{"app.kubernetes.io/component": name})

    def instances(self):
        """The pool's Pods by name."""
        return {p["metadata"]["name"]: p for p in self.component("instance")}

    def pool(self, name=POOL):
        return self.kubectl.get("vpnpools.vpn.openbalena.io", name, NAMESPACE)

    def scale(self, replicas, name=POOL):
        self.kubectl.run("-n", NAMESPACE, "scale", "vpnp/" + name, "--replicas=%d" % replicas)

    def wait_pool(self, replicas, timeout=90, name=POOL):
        """That many are ready and nothing is leaving."""
        def settled():
            status = self.pool(name).get("status", {})
            pods = self.instances()
            return (status.get("ready") == replicas and not status.get("draining")
                    and len(pods) == replicas and all(map(is_ready, pods.values()))) or (
                        status.get("ready"), sorted(pods))[:0]
        wait_until(settled, timeout, "%d instances are ready, no others are there" % replicas)

    # --- end ---

    def close(self):
        for device in self.devices:
            device.delete()
        self.devices = []
        self.api.stop()

    def tell(self, say=print, lines=60):
        """After a failure: what there is, and the last that everything said."""
        for words in (["get", "pods,services,vpnpools,leases", "-o", "wide"],
                      ["get", "events", "--sort-by=.lastTimestamp"], ["get", "vpnpools", "-o", "yaml"]):
            try:
                say("--- kubectl %s\n%s" % (" ".join(words), "\n".join(
                    self.kubectl.run("-n", NAMESPACE, *words).splitlines()[-80:])))
            except (Failed, subprocess.TimeoutExpired) as failure:
                say(str(failure))
        for pod in self.kubectl.get("pods", namespace=NAMESPACE):
            name = pod["metadata"]["name"]
            try:
                say("--- %s\n%s" % (name, self.kubectl.run(
                    "-n", NAMESPACE, "logs", name, "--all-containers", "--prefix",
                    "--tail=%d" % lines, timeout=20)))
            except (Failed, subprocess.TimeoutExpired) as failure:
                say(str(failure))
        for device in self.devices:
            say("--- device %d\n%s" % (device.number, "\n".join(
                "%.2f %s" % line for line in device.log()[-15:])))


class StateService(State):
    """Asks any Pod of the state service that is ready, from the LAN."""

    def __init__(self, world):
        super().__init__(world.lan)
        self.world = world

    def hosts(self):
        return [p["status"]["podIP"] for p in self.world.component("state") if is_ready(p)]

    def get(self, path, timeout=5):
        last = RuntimeError("no state service is ready")
        for host in self.hosts():
            connection = self.machine.http(host, self.port, timeout)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read()
            except OSError as failure:
                last = failure
            finally:
                connection.close()
        raise last


def condition(thing, name):
    """"True", "False", "Unknown", or None"""
    return next((c["status"] for c in thing.get("status", {}).get("conditions", [])
                 if c["type"] == name), None)


def is_ready(pod):
    return condition(pod, "Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def restarts(pod):
    """{container: count}"""
    status = pod["status"]
    return {c["name"]: c["restartCount"] for c in status.get("initContainerStatuses", [])
            + status.get("containerStatuses", [])}
