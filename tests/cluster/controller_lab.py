"""The controller on an API server without nodes: who plays the kubelet, the state service and the
sidecars, a way to the API server whose watches are late, and what the audit log tells."""

import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import signal
import ssl
import threading
import time

import pytest
import yaml

from clusterlab.control_plane import ControlPlane, free_port
from clusterlab.wait import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRD = ROOT / "deploy/helm/open-balena-vpn/files/vpnpools.yaml"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vpnpools.vpn.openbalena.io"
PODS = "/api/v1/namespaces/%s/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/%s/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/%s/events"
POOLS = "/apis/vpn.openbalena.io/v1alpha1/namespaces/%s/vpnpools"
NAMESPACE = "vpn"


class Api:
    """Requests of an administrator; one connection for each thread."""

    def __init__(self, control_plane):
        self.address, self.port = control_plane.address, control_plane.ports[2]
        pki = control_plane.authority.folder
        self.tls = ssl.create_default_context(cafile=str(control_plane.authority.ca))
        self.tls.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        self.local = threading.local()

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.address, self.port, timeout=timeout,
                                           context=self.tls)

    def call(self, method, path, body=None, content_type="application/json", fine=(200, 201, 202)):
        """-> parsed answer; None with 404"""
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or self.connect()
            self.local.connection = connection
            try:
                connection.request(method, path, None if body is None else json.dumps(body),
                                   {"Content-Type": content_type})
                response = connection.getresponse()
                answer = json.loads(response.read() or b"{}")
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise
        if response.status == 404:
            return None
        assert response.status in fine, (method, path, response.status, answer.get("message"))
        return answer

    def get(self, path):
        return self.call("GET", path)

    def list(self, path):
        return self.get(path)["items"]

    def pods(self):
        return self.list("/api/v1/namespaces/%s/pods" % NAMESPACE)

    def pod(self, name):
        return self.get("/api/v1/namespaces/%s/pods/%s" % (NAMESPACE, name))

    def pool(self, name="fleet"):
        return self.get((POOLS % NAMESPACE) + "/" + name)

    def status(self, name="fleet"):
        return self.pool(name).get("status", {})

    def create_pool(self, name="fleet", **spec):
        return self.call("POST", POOLS % NAMESPACE, pool(name, **spec))

    def patch_pool(self, spec, name="fleet", subresource=""):
        return self.call("PATCH", (POOLS % NAMESPACE) + "/" + name + subresource, {"spec": spec},
                         "application/merge-patch+json")

    def scale(self, replicas, name="fleet"):
        return self.patch_pool({"replicas": replicas}, name, "/scale")


def pool(name="fleet", replicas=1, kubernetes=None, **spec):
    return {"apiVersion": "vpn.openbalena.io/v1alpha1", "kind": "VPNPool",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"replicas": replicas, "openvpn": {"tls": {"secretName": "fleet-tls"}},
                     "kubernetes": {"image": "vpn:1", "state": "127.0.0.1:9", **(kubernetes or {})},
                     **spec}}


@pytest.fixture(scope="module")
def api_server(tmp_path_factory):
    """One for all tests of a file: an API server that knows VPNPools, with our namespace."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("controller"))
    try:
        yield control_plane, prepare(control_plane.up())
    finally:
        control_plane.down()


@pytest.fixture
def control_plane_and_api(api_server):
    control_plane, api = api_server
    control_plane.audit_from = control_plane.audit_log.stat().st_size
    crd = api.get(CRD_PATH)
    yield control_plane, api
    control_plane.processes.signal("kube-apiserver", signal.SIGCONT)
    for name in control_plane.processes.names():
        if name not in ("etcd", "kube-apiserver"):
            control_plane.processes.stop(name)
    clean(api, crd)


def clean(api, crd):
    """As it was before the test."""
    for item in api.list(POOLS % NAMESPACE):
        api.call("DELETE", (POOLS % NAMESPACE) + "/" + item["metadata"]["name"])
    for path in (PODS % NAMESPACE, LEASES % NAMESPACE, EVENTS % NAMESPACE):
        for item in api.list(path):
            api.call("DELETE", path + "/" + item["metadata"]["name"], {"gracePeriodSeconds": 0})
    wait_until(lambda: not api.pods(), 60, "all Pods are gone")
    now = api.get(CRD_PATH)
    if now["spec"] != crd["spec"]:
        now["spec"] = crd["spec"]
        api.call("PUT", CRD_PATH, now)


# All that the controller may: controller/kubernetes/README.md.
RIGHTS = [
    ("vpn.openbalena.io", "vpnpools", ["get", "list", "watch"]),
    ("vpn.openbalena.io", "vpnpools/status", ["patch"]),
    ("", "pods", ["get", "list", "watch", "create", "delete", "patch"]),
    ("", "pods/status", ["patch"]),
    ("events.k8s.io", "events", ["create", "patch"]),
    ("coordination.k8s.io", "leases", ["get", "create", "update"]),
]


def give_rights(control_plane, api):
    """A user who may what the controller may, and no more; -> its kubeconfig"""
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/%s" % NAMESPACE
    api.call("POST", path + "/roles", {"metadata": {"name": "vpn-controller"}, "rules": [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        for group, resource, verbs in RIGHTS]})
    api.call("POST", path + "/rolebindings", {
        "metadata": {"name": "vpn-controller"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                    "name": "vpn-controller"},
        "subjects": [{"kind": "User", "name": "vpn-controller"}]})
    control_plane.restricted = control_plane.folder / "restricted.kubeconfig"
    control_plane.authority.kubeconfig(control_plane.restricted, control_plane.server,
                                       "vpn-controller", "vpn-controller")


def rights_used(control_plane):
    """-> ({(group, resource, verb)} that were used, those that were refused), by the controller"""
    used, refused = set(), set()
    control_plane.audit_from = 0
    for event in audit(control_plane):
        ref = event.get("objectRef", {})
        resource = ref.get("resource", "") + ("/" + ref["subresource"] if "subresource" in ref else "")
        right = ref.get("apiGroup", ""), resource, event["verb"]
        (refused if event["responseStatus"]["code"] == 403 else used).add(right)
    return used, refused


def prepare(control_plane):
    api = Api(control_plane)
    for document in yaml.safe_load_all(CRD.read_text()):
        api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", document)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    wait_until(lambda: api.get(POOLS % NAMESPACE) is not None, 30, "the resource is served")
    give_rights(control_plane, api)
    return api


def without_rules(api):
    """The resource from now on as if the API server had no rules: what slips through them."""
    def strip(node):
        if isinstance(node, dict):
            return {k: strip(v) for k, v in node.items() if k != "x-kubernetes-validations"}
        return [strip(v) for v in node] if isinstance(node, list) else node

    api.call("PUT", CRD_PATH, strip(api.get(CRD_PATH)))


class Controller:
    """vpn-controller kubernetes, one process."""

    def __init__(self, control_plane, name="controller", kubeconfig=None, api_port=9):
        self.processes, self.name, self.api_port = control_plane.processes, name, api_port
        self.port = free_port()
        self.kubeconfig = kubeconfig or control_plane.restricted
        self.program = pathlib.Path(os.environ["VPN_BIN"]) / "vpn-controller"

    def start(self):
        self.pid = self.processes.start(
            self.name, self.program, "kubernetes", "--kubeconfig", self.kubeconfig, "--namespace",
            NAMESPACE, "--listen", "127.0.0.1:%d" % self.port, "--identity", self.name,
            env={"VPN_SERVICE_API_KEY": "key",
                 "ASAN_OPTIONS": "quarantine_size_mb=1",  # else memory that is freed is kept
                 "API_INTERNAL_HOST": "127.0.0.1:%d" % self.api_port})
        return self

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def leads(self):
        return self.get("/readyz") == (200, "ok, leads\n")

    def wait_leading(self, seconds=30):
        wait_until(self.leads, seconds, "%s leads" % self.name)
        return self

    def metric(self, series):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(series + " "):
                return float(line.rpartition(" ")[2])
        return None

    def rss_kib(self):
        for line in pathlib.Path("/proc/%d/status" % self.pid).read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def cpu_seconds(self):
        fields = pathlib.Path("/proc/%d/stat" % self.pid).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, kill=False):
        self.processes.stop(self.name, kill=kill)

    def log(self):
        return self.processes.tail(self.name, 40)


class Kubelet(threading.Thread):
    """Gives each Pod a node, runs it in name only, and ends it when it is to go.

    holds: names of Pods whose end has to wait; never_ready: of those that do not get ready; dead:
    it does nothing at all, from the moment on that it was set. address(pod): its IP."""

    def __init__(self, api, address=lambda pod: "127.0.0.1"):
        super().__init__(daemon=True)
        self.api, self.address = api, address
        self.holds, self.never_ready, self.is_dead = set(), set(), False
        self.at_work = threading.Lock()
        self.stopped = threading.Event()
        self.start()

    @property
    def dead(self):
        return self.is_dead

    @dead.setter
    def dead(self, dead):
        with self.at_work:  # what it began to look at would be undone else
            self.is_dead = dead

    def run(self):
        while not self.stopped.wait(0.1):
            with self.at_work:
                self.look()

    def look(self):
        try:
            for pod in [] if self.dead else self.api.pods():
                self.look_at(pod)
        except (AssertionError, http.client.HTTPException, OSError):
            pass  # the API server is away, or a Pod went meanwhile

    def look_at(self, pod):
        name = pod["metadata"]["name"]
        path = "/api/v1/namespaces/%s/pods/%s" % (NAMESPACE, name)
        if "deletionTimestamp" in pod["metadata"]:
            if name not in self.holds:
                self.api.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {
                    "uid": pod["metadata"]["uid"]}})
            return
        if not pod["spec"].get("nodeName"):
            self.api.call("POST", path + "/binding", {
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": "node-1"}})
            return
        status = self.status_of(pod)
        if any(pod["status"].get(key) != status[key] for key in ("phase", "podIP")) or \
                conditions_of(pod["status"]).items() < conditions_of(status).items() or \
                not conditions_of(status).items() <= conditions_of(pod["status"]).items() or \
                images_of(pod["status"]) != images_of(status):
            self.api.call("PATCH", path + "/status", {"status": status},
                          "application/strategic-merge-patch+json")

    def status_of(self, pod):
        ready = pod["metadata"]["name"] not in self.never_ready
        gate = conditions_of(pod["status"]).get("vpn.openbalena.io/balanced") == "True"
        sidecar = pod["spec"]["initContainers"][0]["image"]
        before = images_of(pod["status"]).get("sidecar")
        restarts = restarts_of(pod["status"]) + (before not in (None, sidecar))
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        return {
            "phase": "Running", "podIP": self.address(pod),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "ContainersReady", "status": str(ready)},
                {"type": "Ready", "status": str(ready and gate)}],
            "initContainerStatuses": [
                {"name": "sidecar", "image": sidecar, "imageID": "", "ready": ready,
                 "restartCount": restarts, "state": running}],
            "containerStatuses": [
                {"name": "openvpn", "image": pod["spec"]["containers"][0]["image"], "imageID": "",
                 "ready": ready, "restartCount": 0, "state": running}]}

    def close(self):
        self.stopped.set()
        self.join()


def conditions_of(status):
    return {c["type"]: c["status"] for c in status.get("conditions", [])}


def images_of(status):
    return {c["name"]: c["image"] for c in status.get("initContainerStatuses", [])}


def restarts_of(status):
    return sum(c["restartCount"] for c in status.get("initContainerStatuses", []))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class Sidecars:
    """The state service, a balancer, the balena API (which lists nobody) and all sidecars: every Pod's IP is one
    of the loopback's, and what is told to drain is drained when the test says so. told: indices that
    were told; drained: those without a session; expected: what the controller said last; ill: the
    balena API answers nothing sensible; asked: service instances whose devices were asked for; listed: names that the
    balancer lists, None: it says nothing of use."""

    def __init__(self, api):
        self.api, self.told, self.drained, self.expected = api, [], set(), None
        self.ill, self.asked, self.listed = False, set(), []
        self.net = "127.%d.%d" % (random.randint(10, 250), random.randint(1, 250))
        self.servers = []
        self.state_port = free_port()
        self.serve("127.0.0.1", self.state_port, 0)

    def address(self, pod):
        """For the kubelet; listens there."""
        index = int(pod["metadata"]["labels"]["vpn.openbalena.io/index"])
        address = "%s.%d" % (self.net, index)
        if address not in [s.server_address[0] for s in self.servers]:
            self.serve(address, 8080, index)
        return address

    def serve(self, address, port, index):
        sidecars = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, status, body):
                text = json.dumps(body).encode() if body is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(text)

            def do_GET(self):
                if self.path.startswith("/v7/"):
                    sidecars.asked.update(map(int, re.findall(
                        r"is_managed_by__service_instance(?: |%20|[+])eq(?: |%20|[+])(\d+)",
                        self.path)))
                    self.answer(500 if sidecars.ill else 200, {"d": []})
                elif self.path == "/v1/servers":
                    self.answer(200 if sidecars.listed is not None else 503, {
                        "settled": True, "servers": [
                            {"name": n, "address": "", "mode": "drain", "sessions": 0}
                            for n in sidecars.listed or []]})
                else:
                    self.answer(200, sidecars.instances() if index == 0 else {})

            def body(self):
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def do_PUT(self):
                sidecars.expected = self.body()
                self.answer(204, None)

            def do_POST(self):
                assert self.path == "/v1/drain" and self.headers["Authorization"]
                sidecars.told.append((index, self.body()))
                self.answer(202, {})

            def log_message(self, *words):
                pass

        server = Server((address, port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)

    def instances(self):
        told = {index for index, _ in self.told}
        items = []
        for pod in self.api.pods():
            index = int(pod["metadata"]["labels"]["vpn.openbalena.io/index"])
            ready = conditions_of(pod["status"]).get("ContainersReady") == "True"
            phase = ("starting" if not ready else "drained" if index in self.drained else
                     "draining" if index in told else "ready")
            items.append({"pool": "fleet", "index": index, "epoch": pod["metadata"]["uid"],
                          "serviceId": 100 + index, "proxy": "", "subnet": "", "connected": True,
                          "sessions": 0 if phase == "drained" else index, "phase": phase,
                          "since": 0})
        return {"ready": True, "instances": items, "missing": []}

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


class LateWatches:
    """A way to the API server on which what a watch says comes late; the rest is as it is. Plain
    HTTP; it speaks to the server as the administrator."""

    def __init__(self, api, folder, seconds):
        self.api, self.seconds = api, seconds
        late = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                is_watch = "watch=true" in self.path or "watch=1" in self.path
                upstream = getattr(self, "upstream", None) or late.api.connect(timeout=None)
                self.upstream = None if is_watch else upstream  # a caller's own is used again
                upstream.request(self.command, self.path, body,
                                 {k: v for k, v in self.headers.items()
                                  if k.lower() in ("content-type", "accept", "user-agent")})
                response = upstream.getresponse()
                if is_watch:
                    self.stream(response)
                    upstream.close()
                else:
                    data = response.read()
                    self.send_response(response.status)
                    for key in ("Content-Type", "Retry-After"):
                        if response.headers.get(key):
                            self.send_header(key, response.headers[key])
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def stream(self, response):
                self.send_response(response.status)
                self.send_header("Content-Type", response.headers["Content-Type"])
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                pieces = collections.deque()
                over = threading.Event()

                def read():
                    piece = b"?"
                    while piece:
                        try:
                            piece = response.read1(65536)
                        except (OSError, ValueError, AttributeError):
                            piece = b""  # its reader has left
                        pieces.append((time.monotonic() + late.seconds, piece))
                    over.set()

                threading.Thread(target=read, daemon=True).start()
                try:
                    while not (over.is_set() and not pieces):
                        if not pieces:
                            time.sleep(0.01)
                            continue
                        due, piece = pieces.popleft()
                        time.sleep(max(0, due - time.monotonic()))
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                        self.wfile.flush()
                except OSError:
                    self.close_connection = True

            def log_message(self, *words):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.kubeconfig = folder / "late.kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "late",
            "clusters": [{"name": "late", "cluster": {
                "server": "http://127.0.0.1:%d" % self.server.server_address[1]}}],
            "users": [{"name": "late", "user": {"token": "unused"}}],
            "contexts": [{"name": "late", "context": {"cluster": "late", "user": "late"}}]}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def audit(control_plane, agent="vpn-controller"):
    """What was done, as [event]; agent: only by programs of that name."""
    events = []
    with control_plane.audit_log.open() as log:
        log.seek(getattr(control_plane, "audit_from", 0))
        lines = log.read().splitlines()
    for line in lines:
        event = json.loads(line)
        if event["stage"] == "ResponseComplete" and (
                agent is None or event.get("userAgent", "").startswith(agent)):
            events.append(event)
    return events


def acts_on_pods(control_plane):
    """-> {(verb, subresource or ""): {code: times}} of the controller"""
    counts = collections.defaultdict(collections.Counter)
    for event in audit(control_plane):
        ref = event["objectRef"]
        if ref.get("resource") == "pods" and event["verb"] not in ("get", "list", "watch"):
            counts[event["verb"], ref.get("subresource", "")][event["responseStatus"]["code"]] += 1
    return {key: dict(value) for key, value in counts.items()}


def settled(api, name="fleet"):
    """As many ready as wanted, and nothing more is on its way."""
    pool_now = api.pool(name)
    status = pool_now.get("status", {})
    conditions = conditions_of(status)
    return (status.get("observedGeneration") == pool_now["metadata"]["generation"] and
            status["ready"] == pool_now["spec"]["replicas"] == len(status["instances"]) and
            conditions["Progressing"] == "False" and conditions["Available"] == "True")


def phases(api, name="fleet"):
    return {i["index"]: i["phase"] for i in api.status(name).get("instances", [])}
