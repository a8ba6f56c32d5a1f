"""A cluster with open-balena-vpn in it, the stand-in balena API beside it, and devices around it."""

import ipaddress
import json
import pathlib
import secrets
import subprocess

from clusterlab import programs
from clusterlab.kubectl import Failed
from clusterlab.wait import wait_until
from lab import connect as proxy
from lab import tls
from lab.device import HTTP_PORT, SUPERVISOR_PORT, Device
from lab.pool import merge
from lab.state import State
from standin.client import StandIn

CHART = pathlib.Path(__file__).resolve().parents[3] / "deploy/helm/open-balena-vpn"
NAMESPACE, RELEASE, POOL = "vpn", "vpn", "fleet"
REGISTRY, REPOSITORY, TAG = "localhost", "openbalena-vpn", "dev"
IMAGE = "%s/%s:%s" % (REGISTRY, REPOSITORY, TAG)
KEEPALIVE_SECONDS, DRAIN_SECONDS, LOST_SECONDS = 10, 15, 20
ONE_RECONNECT_SECONDS = 10  # a stock client waits 5 s before it connects again; then it shakes hands
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
        self.devices_made = 0
        self.node_ports = {}
        self.keys = {"VPN_SERVICE_API_KEY": secrets.token_hex(16),
                     "VPN_GUEST_API_KEY": secrets.token_hex(16),
                     "VPN_API_API_KEY": secrets.token_hex(16)}
        self.state = StateService(self)
        self.api_address = "%s:%d" % (cluster.api_host, API_PORT)
        self.tls = tls.make(self.folder / "tls")
        self.api = StandIn.start(self.folder, self.keys, listen=self.api_address,
                                 prefix=self.lan.command(), start_new_session=True,
                                 stderr=(self.folder / "api.stderr").open("wb"))
        cluster.processes.adopt("stand-in", self.api.process)
        self.api.key("user", USER_TOKEN, tunnel=[{"uuid": "*", "ports": ["any"]}])

    # --- the chart ---

    def helm(self, *words, timeout=300):
        done = subprocess.run([programs.path("helm"), "--kubeconfig", str(self.cluster.kubeconfig),
                               "--namespace", NAMESPACE, *map(str, words)],
                              capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise Failed("helm %s: %s" % (words[0], done.stderr.strip()))
        return done.stdout

    def values(self):
        """Short times, so that a test need not wait long for what takes its time on purpose."""
        return {
            "image": {"registry": REGISTRY, "repository": REPOSITORY, "tag": TAG},
            "api": {"internalHost": self.api_address},
            "keys": {"existingSecret": "vpn-keys"}, "tls": {"secretName": "vpn-tls"},
            "log": {"level": "debug", "format": "human"},
            "pool": {"replicas": 2, "drain": {"timeoutSeconds": DRAIN_SECONDS},
                     "openvpn": {"keepalive": {"intervalSeconds": 2,
                                               "timeoutSeconds": KEEPALIVE_SECONDS}}},
            "service": {"type": "NodePort", "externalTrafficPolicy": "Cluster"},
            "connectProxy": {"drainSeconds": 20, "service": {"type": "NodePort"}},
            "haproxy": {"maxConnections": 1000, "drainSeconds": 10,
                        "idleTimeoutSeconds": 2 * KEEPALIVE_SECONDS},
            "state": {"lostSeconds": LOST_SECONDS},
            "networkPolicy": self.policies()}

    def policies(self):
        """What is outside of the cluster and dials Pods: the stand-in; elsewhere the API server, by
        which the tests ask the state service."""
        to_list = lambda addresses: [{"ipBlock": {"cidr": a + "/32"}} for a in addresses]  # noqa: E731
        if self.cluster.own:
            return {"apiFrom": to_list([self.cluster.api_host])}
        return {"monitoringFrom": to_list(self.cluster.node_addresses)}

    def install(self, **changes):
        """The release, anew or with other values; returns when its Deployments are ready."""
        self.make_secrets()
        self.installed = merge(self.values(), changes)
        file = self.folder / "values.json"
        file.write_text(json.dumps(self.installed))
        self.helm("upgrade", "--install", RELEASE, CHART, "--values", file)
        for name in ("controller", "state", "connect-proxy", "haproxy"):
            self.kubectl.run("-n", NAMESPACE, "rollout", "status", "deployment/vpn-" + name,
                             "--timeout=120s")

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
        self.devices_made += 1
        device = Device(self.lan, self.folder, self.devices_made, self.tls / "ca.crt", self.cluster.name,
                        network=self.cluster.network, **more)
        self.devices.append(device)
        host, port = self.cluster.entrance(device, self.node_port("openvpn"))
        device.config(port, self.tls / "ca.crt", host=host)
        if known:
            self.api.device(device.uuid, device.key, api_port=SUPERVISOR_PORT)
        return device.start() if start else device

    def remove(self, *devices):
        """As if they had never been: the API forgets them too."""
        for device in devices:
            self.devices.remove(device)
            device.delete()
            if device.uuid in self.api.devices():
                self.api.ask("DELETE", "/devices/" + device.uuid)

    def connect(self, device, port=HTTP_PORT, token=USER_TOKEN, node=None, **more):
        """As a caller from outside, at a node's port of the CONNECT proxy."""
        node = node or self.cluster.nodes[0]
        return proxy.connect(self.lan, "%s.balena:%d" % (device.uuid, port), token,
                             host=node.address, proxy_port=self.node_port("connect"), **more)

    def curl(self, device, port):
        """The same for a person to type."""
        return "curl -p -x http://any:%s@%s:%d http://%s.balena:%d/" % (
            USER_TOKEN, self.cluster.nodes[0].address, self.node_port("connect"), device.uuid, port)

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
        """Of the Service port with that name. Known by heart: the API server may be silent."""
        if name not in self.node_ports:
            self.node_ports[name] = self.ask_node_port(name)
        return self.node_ports[name]

    def ask_node_port(self, name):
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
            status, pods = self.pool(name).get("status", {}), self.instances()
            assert status.get("ready") == replicas and not status.get("draining"), status
            assert sorted(map(is_ready, pods.values())) == [True] * replicas, sorted(pods)
            return True
        wait_until(settled, timeout, "%d instances are ready, no others are there" % replicas, 0.3)

    def wait_well(self, replicas=2, timeout=90):
        """All is as after the installation, whatever was done since."""
        wait_until(lambda: all(condition(n, "Ready") == "True" and not n["spec"].get("unschedulable")
                               for n in self.kubectl.get("nodes")), timeout, "the nodes are ready")
        for deployment in self.kubectl.get("deployments", namespace=NAMESPACE):
            self.kubectl.run("-n", NAMESPACE, "rollout", "status",
                             "deployment/" + deployment["metadata"]["name"], "--timeout=120s")
        if self.pool()["spec"]["replicas"] != replicas:
            self.scale(replicas)
        self.wait_pool(replicas, timeout)
        for device in self.devices:
            device.wait_online(timeout)
        self.wait_agreed(15)

    def leader(self):
        """Name of the controller's Pod that leads."""
        lease = self.kubectl.get("lease", "vpn-controller", NAMESPACE)
        holder = lease and lease["spec"].get("holderIdentity")
        return holder and holder.partition("_")[0]

    def pid(self, pod, container):
        """On this machine; of a cluster of ours only."""
        if isinstance(pod, str):
            pod = self.kubectl.get("pod", pod, NAMESPACE)
        return self.cluster.node(pod["spec"]["nodeName"]).container_pid(pod, container)

    def on_instance(self, device):
        """Index of the instance that a device is at, None: it is offline."""
        found = self.state.device(device.uuid)
        return found and found["instance"]["index"]

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
    """Asks any Pod of the state service that is ready, from its node: what is elsewhere, a
    NetworkPolicy may keep out."""

    def __init__(self, world):
        super().__init__(world.lan)
        self.world = world

    def pods(self):
        return [p for p in self.world.component("state") if is_ready(p)]

    def machine_of(self, host):
        return next((n.namespace for n in self.world.cluster.nodes
                     if ipaddress.ip_address(host) in ipaddress.ip_network(n.pods)), self.machine)

    def get(self, path, timeout=5):
        last = RuntimeError("no state service is ready")
        for pod in self.pods():
            try:
                return self.get_of(pod, path, timeout)
            except (OSError, Failed) as failure:
                last = failure
        raise last

    def get_of(self, pod, path, timeout=5):
        if not self.world.cluster.own:
            return self.get_by_api_server(pod, path)
        host = pod["status"]["podIP"]
        connection = self.machine_of(host).http(host, self.port, timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get_by_api_server(self, pod, path):
        """Where this machine has no route to Pods."""
        try:
            return 200, self.world.kubectl.raw("/api/v1/namespaces/%s/pods/%s:%d/proxy%s" % (
                NAMESPACE, pod["metadata"]["name"], self.port, path)).encode()
        except Failed as failure:
            if "NotFound" in str(failure) or "not find" in str(failure):
                return 404, b""
            raise


def aways(device, since=0):
    """Seconds of each time that it was away, by its own log, after Unix s since."""
    found, down = [], None
    for at, line in device.log():
        if "Initialization Sequence Completed" in line:
            if down is not None and down >= since:
                found.append(at - down)
            down = None
        elif down is None and any(word in line for word in ("process restarting", "SIGUSR1[")):
            down = at
    return found


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
