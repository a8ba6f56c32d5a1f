"""A real API server, the real haproxy and vpn-balancer in one network namespace. The Pods are made up:
EndpointSlices by hand, and behind each address a server that says its name. No nodes are needed."""

import contextlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import threading

from clusterlab.control_plane import ControlPlane
from clusterlab.wait import wait_until
from lab.netns import Namespace

BIN = pathlib.Path(os.environ.get(
    "VPN_BIN", pathlib.Path(__file__).resolve().parents[3] / "build/dev/bin"))
SLICES = "/apis/discovery.k8s.io/v1/namespaces/vpn/endpointslices"
PORT = 1194

HAPROXY_CONFIG = """global
    stats socket {socket} level admin mode 600
    maxconn 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch 1
frontend devices
    bind *:443
    bind :::443 v6only
    default_backend instances
backend instances
    balance leastconn
"""

ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "vpn-balancer"},
        "rules": [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
                   "verbs": ["list", "watch"]}]}
BINDING = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
           "metadata": {"name": "vpn-balancer"},
           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                       "name": "vpn-balancer"},
           "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
                         "name": "vpn-balancer"}]}


def endpoint(pod, address, ready=True, terminating=False):
    return {"addresses": [address], "targetRef": {"kind": "Pod", "name": pod, "namespace": "vpn"},
            "conditions": {"ready": ready, "serving": ready or terminating,
                           "terminating": terminating}}


class Client:
    """A device: a connection that knows which Pod it came to."""

    def __init__(self, lab):
        self.sock = lab.machine.connect("127.0.0.1", 443)
        self.pod_address = self.sock.recv(100).decode()

    @property
    def alive(self):
        """Does it still come back?"""
        try:
            self.sock.sendall(b"x")
            return self.sock.recv(100) != b""
        except OSError:
            return False

    def close(self):
        self.sock.close()


class Balancing:
    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.machine = Namespace.create(name)
        self.servers = []
        self.cluster = None
        self.socket = str(self.folder / "haproxy.sock")
        try:
            self.cluster = ControlPlane(self.folder / "cp", namespace=self.machine)
            with self.machine.entered():
                self.cluster.up()
            self.processes = self.cluster.processes
            self.allow()
            (self.folder / "haproxy.cfg").write_text(HAPROXY_CONFIG.format(socket=self.socket))
        except BaseException:
            self.close()
            raise

    def allow(self):
        """The balancer may list and watch EndpointSlices, nothing else."""
        self.api("POST", "/api/v1/namespaces", {"metadata": {"name": "vpn"}})
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/vpn/"
        self.api("POST", path + "roles", ROLE)
        self.api("POST", path + "rolebindings", BINDING)
        self.kubeconfig = self.cluster.authority.kubeconfig(
            self.folder / "balancer.kubeconfig", self.cluster.server, "vpn-balancer", "vpn-balancer")

    # --- the API server ---

    def connect_api(self, timeout=30):
        context = ssl.create_default_context(cafile=str(self.cluster.authority.ca))
        context.load_cert_chain(*(str(self.cluster.authority.folder / ("admin" + end))
                                  for end in (".crt", ".key")))
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, timeout=timeout, context=context)
        with self.machine.entered():
            connection.connect()
        return connection

    def api(self, method, path, body=None, connection=None):
        given = connection
        connection = connection or self.connect_api()
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            if given is None:
                connection.close()
        if response.status // 100 != 2:
            raise RuntimeError("%s %s: %d %s" % (method, path, response.status,
                                                 answer.get("message")))
        return answer

    def slice(self, name, *endpoints, service="instances", family="IPv4", connection=None):
        """Makes it, or changes it to these endpoints."""
        body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
                "addressType": family, "endpoints": list(endpoints),
                "ports": [{"name": "vpn", "port": PORT}, {"name": "control", "port": 8080}]}
        try:
            return self.api("PUT", SLICES + "/" + name, body, connection)
        except RuntimeError as failure:
            if "404" not in str(failure):
                raise
            return self.api("POST", SLICES, body, connection)

    def delete_slice(self, name):
        self.api("DELETE", SLICES + "/" + name)

    def freeze_api(self):
        self.processes.freeze("kube-apiserver")

    def thaw_api(self):
        self.processes.thaw("kube-apiserver")

    # --- Pods ---

    def pod(self, address):
        """Something that accepts connections there, says its address and echoes. -> address"""
        v6 = ":" in address
        self.machine.run("ip", "addr", "add", address + ("/128" if v6 else "/32"), "dev", "lo",
                         *(["nodad"] if v6 else []))  # else it cannot be bound for a moment
        with self.machine.entered():
            server = socket.create_server(
                (address, PORT), backlog=128,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.servers.append(server)
        threading.Thread(target=self.accept, args=(server, address), daemon=True).start()
        return address

    def accept(self, server, address):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                threading.Thread(target=self.echo, args=(sock, address), daemon=True).start()

    @staticmethod
    def echo(sock, address):
        with sock, contextlib.suppress(OSError):
            sock.sendall(address.encode())
            while data := sock.recv(4096):
                sock.sendall(data)

    def client(self):
        return Client(self)

    # --- haproxy and the balancer ---

    def start(self, name, *command, **env):
        self.processes.start(name, *self.machine.command(*map(str, command)), env=env)

    def start_haproxy(self):
        """VPN_HAPROXY: another one than the machine's, e.g. a newer."""
        self.start("haproxy", os.environ.get("VPN_HAPROXY", "haproxy"), "-db", "-f",
                   self.folder / "haproxy.cfg")

    def start_balancer(self, gone_seconds=60):
        self.start("vpn-balancer", BIN / "vpn-balancer", "--service", "instances", "--namespace",
                   "vpn", "--kubeconfig", self.kubeconfig, "--haproxy", "unix:" + self.socket,
                   "--listen", "127.0.0.1:8082", "--gone-seconds", gone_seconds,
                   LOG_LEVEL="debug")
        return self

    def haproxy(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(self.socket)
            sock.sendall(command.encode() + b"\n")
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
        return data.decode()

    def in_haproxy(self):
        """{name: (address, mode)} by haproxy's own words."""
        lines = self.haproxy("show stat instances 4 -1").splitlines()
        columns = lines[0].removeprefix("# ").split(",")
        found = {}
        for line in filter(None, lines[1:]):
            row = dict(zip(columns, line.split(",")))
            mode = {"MAINT": "maint", "DRAIN": "drain"}.get(row["status"].split()[0], "ready")
            found[row["svname"]] = (row["addr"], mode)
        return found

    def wait_servers(self, timeout=15, **wanted):
        """wait_servers(fleet_1="ready"): these are all; '_' stands for '-'."""
        wanted = {name.replace("_", "-"): mode for name, mode in wanted.items()}
        return wait_until(
            lambda: {name: mode for name, (_, mode) in self.in_haproxy().items()} == wanted,
            timeout, "haproxy has %s" % wanted)

    def told(self, path):
        """-> status, body of the balancer's own HTTP side"""
        connection = self.machine.http("127.0.0.1", 8082)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ready(self):
        return self.told("/readyz")[0] == 200

    def metric(self, name):
        for line in self.told("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return None

    # --- end ---

    def logs(self):
        return "\n".join("--- %s\n%s" % (name, self.processes.tail(name, 80))
                         for name in ("vpn-balancer", "haproxy"))

    def stop_balancer(self):
        """In order. -> what it said that it should not: reports of a sanitizer"""
        self.processes.stop("vpn-balancer")
        text = self.processes.log_file("vpn-balancer")
        text = text.read_text(errors="replace") if text.exists() else ""
        return text if "Sanitizer" in text or "runtime error" in text else ""

    def close(self):
        if self.cluster is not None:
            self.processes = self.cluster.processes
            for name in ("vpn-balancer", "haproxy"):
                self.processes.stop(name, kill=True)
            self.cluster.down()
        for server in self.servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self.machine.delete()
