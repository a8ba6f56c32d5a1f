"""The Kubernetes client (controller/kube) against a real API server, by kube-probe: what it follows,
through what, and for how long it keeps or takes a Lease."""

import base64
import collections
import http.client
import json
import os
import pathlib
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest

from clusterlab.control_plane import ControlPlane
from clusterlab.wait import wait_until

BIN = pathlib.Path(os.environ.get("VPN_BIN", "build/dev/bin"))
MAPS = "/api/v1/namespaces/default/configmaps"
# A frozen or silent server: what it may take until all is known once it is back.
BACK_S = 30


class Api:
    """Requests of an administrator, one connection each."""

    def __init__(self, control_plane):
        self.address, self.port = control_plane.address, control_plane.ports[2]
        pki = control_plane.authority.folder
        self.tls = ssl.create_default_context(cafile=str(control_plane.authority.ca))
        self.tls.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))

    def call(self, method, path, body=None, content_type="application/json"):
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=30,
                                                 context=self.tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": content_type})
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status < 300, answer
            return answer
        finally:
            connection.close()

    def put_map(self, name, value, group):
        return self.call("PATCH", "%s/%s?fieldManager=test&force=true" % (MAPS, name), {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"group": group}}, "data": {"value": value}},
            "application/apply-patch+yaml")

    def delete_map(self, name):
        return self.call("DELETE", "%s/%s" % (MAPS, name))

    def map_names(self, group):
        answer = self.call("GET", "%s?labelSelector=group%%3D%s" % (MAPS, group))
        return sorted(item["metadata"]["name"] for item in answer["items"])


class Probe:
    """One kube-probe; its lines as they come."""

    def __init__(self, *words, kubeconfig, env=None, stdin=None):
        split = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
        command = [str(BIN / "kube-probe"), "--kubeconfig", str(kubeconfig), *words[split:],
                   *words[:split]]
        # Freed memory must not be kept by the sanitizer where its growth is measured.
        own = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
        self.lines = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **own, **(env or {})})
        if stdin:
            self.process.stdin.write(stdin)
            self.process.stdin.close()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def of(self, kind):
        return [line for line in list(self.lines) if line["type"] == kind]

    def wait(self, kind, timeout=20, count=1):
        wait_until(lambda: len(self.of(kind)) >= count, timeout,
                   "%s x %d; so far %s" % (kind, count, self.lines[-5:]))
        return self.of(kind)[count - 1]

    def names(self):
        """What the adds, updates and deletes make, and that they fit together."""
        names = set()
        for line in list(self.lines):
            name = line.get("name")
            if line["type"] == "add":
                assert name not in names, "%s added twice" % name
                names.add(name)
            elif line["type"] == "update":
                assert name in names, "%s changed before it was there" % name
            elif line["type"] == "delete":
                assert name in names, "%s deleted twice" % name
                names.remove(name)
        return sorted(names)

    def state(self):
        count = len(self.of("state"))
        self.process.send_signal(signal.SIGUSR1)
        return self.wait("state", count=count + 1)

    def metric(self, name):
        return sum(float(line.split()[-1]) for line in self.state()["metrics"].splitlines()
                   if line.startswith(name) and not line.startswith("#"))

    def rss_kib(self):
        text = pathlib.Path("/proc/%d/status" % self.process.pid).read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def end(self, number=signal.SIGTERM):
        """-> exit status"""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(30)
        self.reader.join(10)
        return status


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    control_plane = ControlPlane(tmp_path_factory.mktemp("kube"))
    try:
        control_plane.up()
        yield control_plane
    finally:
        control_plane.down()


@pytest.fixture(scope="module")
def api(plane):
    return Api(plane)


@pytest.fixture
def start(plane):
    probes = []

    def starter(*words, kubeconfig=None, **more):
        probes.append(Probe(*words, kubeconfig=kubeconfig or plane.kubeconfig, **more))
        return probes[-1]

    yield starter
    for probe in probes:
        if probe.process.poll() is None:
            probe.process.send_signal(signal.SIGCONT)
            probe.process.kill()
        probe.process.wait()


def compact(plane):
    """Makes all earlier versions unknown to etcd."""
    def ask(path, body):
        url = "http://127.0.0.1:%d/v3/%s" % (plane.ports[0], path)
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as answer:
            return json.load(answer)
    revision = ask("kv/range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
    ask("kv/compaction", {"revision": revision, "physical": True})


def restart_apiserver(plane):
    plane.processes.stop("kube-apiserver", kill=True)
    plane.start_apiserver()
    plane.wait_ready()


MODES = pytest.mark.parametrize("mode", [(), ("--no-watch-list",)], ids=["watch-list", "list"])


@MODES
def test_store_is_what_the_cluster_has(start, api, mode):
    group = "same%d" % len(mode)
    for i in range(20):
        api.put_map("%s-%d" % (group, i), "1", group)
    probe = start("watch", "v1/configmaps", "--selector", "group=" + group, *mode)
    assert probe.wait("synced")["count"] == 20
    for i in range(0, 20, 2):
        api.put_map("%s-%d" % (group, i), "2", group)
    for i in range(0, 20, 5):
        api.delete_map("%s-%d" % (group, i))
    api.put_map(group + "-new", "1", group)
    wait_until(lambda: probe.names() == api.map_names(group), 20, "the same names")
    assert len(probe.of("update")) == 10
    assert probe.end() == 0


def test_both_modes_are_what_they_say(start):
    """The first asks for initial events and gets them; the other never does."""
    assert start("watch", "v1/configmaps").wait("synced")["count"] >= 0
    probe = start("watch", "v1/configmaps", "--no-watch-list")
    probe.wait("synced")
    wait_until(lambda: probe.metric("rest_client_requests_total") >= 1, 20, "a list was counted")


def test_list_in_pages(start, api):
    for i in range(25):
        api.put_map("page-%d" % i, "1", "page")
    probe = start("list", "v1/configmaps", "--selector", "group=page", "--page", "10")
    assert probe.wait("listed")["outcome"] == "ok"
    assert len({line["name"] for line in probe.of("item")}) == len(probe.of("item")) == 25


@MODES
def test_a_version_that_was_compacted(start, api, plane, mode):
    """The watch ends, and what it would go on from is no more: one list, nothing missed or doubled."""
    group = "compact%d" % len(mode)
    for i in range(5):
        api.put_map("%s-%d" % (group, i), "1", group)
    probe = start("watch", "v1/configmaps", "--selector", "group=" + group, *mode)
    probe.wait("synced")
    lists = probe.metric("kube_store_lists_total")
    probe.process.send_signal(signal.SIGSTOP)
    api.delete_map(group + "-0")
    api.put_map(group + "-1", "2", group)
    api.put_map(group + "-9", "1", group)
    plane.processes.stop("kube-apiserver", kill=True)
    compact(plane)
    plane.start_apiserver()
    plane.wait_ready()
    probe.process.send_signal(signal.SIGCONT)
    wait_until(lambda: probe.names() == api.map_names(group), BACK_S, "the same names")
    api.put_map(group + "-10", "1", group)
    wait_until(lambda: group + "-10" in probe.names(), BACK_S, "it follows again")
    assert probe.metric("kube_store_lists_total") <= lists + 1
    assert probe.end() == 0


def test_a_frozen_api_server(start, api, plane):
    """Requests hang, nothing is refused. When it is back, all is known; memory is what it was."""
    probe = start("watch", "v1/configmaps", "--selector", "group=frozen")
    lease = start("lease", "frozen", "--identity", "a", "--duration-seconds", "60",
                  "--renew-ms", "50000", "--retry-ms", "1000")
    probe.wait("synced")
    lease.wait("started")
    before = probe.rss_kib()
    plane.processes.freeze("kube-apiserver")
    time.sleep(15)  # so long it is frozen: nothing can be waited for
    plane.processes.thaw("kube-apiserver")
    api.put_map("frozen-1", "1", "frozen")
    wait_until(lambda: "frozen-1" in probe.names(), BACK_S, "it follows")
    assert probe.rss_kib() < before + 2048
    assert lease.of("stopped") == []


def test_an_api_server_that_is_away(start, api, plane):
    probe = start("watch", "v1/configmaps", "--selector", "group=away")
    probe.wait("synced")
    plane.processes.stop("kube-apiserver", kill=True)
    wait_until(lambda: not probe.state()["following"], 20, "it is noticed")
    plane.start_apiserver()
    plane.wait_ready()
    api.put_map("away-1", "1", "away")
    wait_until(lambda: "away-1" in probe.names(), BACK_S, "it follows")
    assert probe.end() == 0


def test_memory_does_not_grow_with_a_watch(start, api):
    value = "x" * 20000
    for i in range(20):
        api.put_map("memory-%d" % i, value, "memory")
    probe = start("watch", "v1/configmaps", "--selector", "group=memory")
    probe.wait("synced")

    def change(rounds, mark):
        for turn in range(rounds):
            for i in range(20):
                api.put_map("memory-%d" % i, "%s%s%d" % (value, mark, turn), "memory")

    change(10, "a")
    probe.wait("update", count=200)
    before = probe.rss_kib()
    change(30, "b")
    probe.wait("update", count=800)
    grown = probe.rss_kib() - before
    print("RSS %d KiB, grown by %d KiB in 600 changes of 20 KB" % (before, grown))
    assert grown < 1024


# --- who we are ---


def token_of(api, secret):
    """A service account's token that dies with a Secret."""
    made = api.call("POST", "/api/v1/namespaces/default/secrets",
                    {"metadata": {"name": secret}, "type": "Opaque"})
    answer = api.call("POST", "/api/v1/namespaces/default/serviceaccounts/probe/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600, "boundObjectRef": {
            "apiVersion": "v1", "kind": "Secret", "name": secret,
            "uid": made["metadata"]["uid"]}}})
    return answer["status"]["token"]


@pytest.fixture(scope="module")
def account(api):
    api.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "probe"}})
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/"
    api.call("POST", rbac + "roles", {
        "metadata": {"name": "probe"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]})
    api.call("POST", rbac + "rolebindings", {
        "metadata": {"name": "probe"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "probe"},
        "subjects": [{"kind": "ServiceAccount", "name": "probe", "namespace": "default"}]})


def write_kubeconfig(path, plane, user, cluster=None):
    path.write_text(json.dumps({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {
            "server": plane.server, "certificate-authority": str(plane.authority.ca),
            **(cluster or {})}}],
        "users": [{"name": "u", "user": user}]}))
    return path


def test_a_token_that_is_rotated(start, api, plane, account, tmp_path):
    """The file says another one, the first is worth nothing any more: nobody notices."""
    token = tmp_path / "token"
    token.write_text(token_of(api, "first"))
    kubeconfig = write_kubeconfig(tmp_path / "config", plane, {"tokenFile": "token"})
    probe = start("watch", "v1/configmaps", "--selector", "group=token", kubeconfig=kubeconfig)
    probe.wait("synced")
    token.write_text(token_of(api, "second"))
    api.call("DELETE", "/api/v1/namespaces/default/secrets/first")
    restart_apiserver(plane)
    api.put_map("token-1", "1", "token")
    wait_until(lambda: "token-1" in probe.names(), BACK_S, "it follows")
    assert probe.end() == 0


def test_a_right_that_is_missing(start, api, plane, account, tmp_path):
    token = tmp_path / "token"
    token.write_text(token_of(api, "third"))
    kubeconfig = write_kubeconfig(tmp_path / "config", plane, {"tokenFile": "token"})
    probe = start("get", "/api/v1/namespaces/default/pods/x", kubeconfig=kubeconfig)
    answer = probe.wait("answer")
    assert (answer["outcome"], answer["status"], answer["reason"]) == ("denied", 403, "Forbidden")
    assert 'cannot get resource "pods"' in answer["text"]
    assert probe.process.wait(10) == 1


def exec_user(tmp_path, plane, status):
    """A plugin whose arguments have blanks, that prints status as its ExecCredential."""
    answer = tmp_path / "answer of the plugin.json"
    answer.write_text(json.dumps({"apiVersion": "client.authentication.k8s.io/v1",
                                  "kind": "ExecCredential", "status": status}))
    plugin = tmp_path / "plugin"
    plugin.write_text('#!/bin/sh\n[ "$MARK" = "two words" ] && echo run >> "$2" && cat "$1"\n')
    plugin.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin",
                     "args": [str(answer), str(tmp_path / "its runs")],
                     "env": [{"name": "MARK", "value": "two words"}],
                     "interactiveMode": "Never"}}


def test_a_plugin_that_gives_a_certificate(start, plane, tmp_path):
    pki = plane.authority.folder
    user = exec_user(tmp_path, plane, {
        "clientCertificateData": (pki / "admin.crt").read_text(),
        "clientKeyData": (pki / "admin.key").read_text()})
    probe = start("get", "/api/v1/namespaces/default",
                  kubeconfig=write_kubeconfig(tmp_path / "config", plane, user))
    assert probe.wait("answer")["outcome"] == "ok"
    assert (tmp_path / "its runs").read_text() == "run\n"


def test_a_server_by_another_name(start, plane, tmp_path):
    """tls-server-name is what the certificate must say, whatever the URL does."""
    good = write_kubeconfig(tmp_path / "good", plane, admin(plane),
                            {"tls-server-name": "kubernetes.default.svc"})
    bad = write_kubeconfig(tmp_path / "bad", plane, admin(plane),
                           {"tls-server-name": "other.example"})
    assert start("get", "/version", kubeconfig=good).wait("answer")["outcome"] == "ok"
    answer = start("get", "/version", kubeconfig=bad).wait("answer")
    assert answer["outcome"] == "unreachable" and "other.example" in answer["text"]


class Relay:
    """A TCP relay to the API server; with proxy, one that wants an HTTP CONNECT first."""

    def __init__(self, plane, address, proxy=False):
        self.asked = []
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                if proxy:
                    relay.asked.append(self.rfile.readline().decode().strip())
                    while self.rfile.readline().strip():
                        pass
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                there = socket.create_connection((plane.address, plane.ports[2]))
                up = threading.Thread(target=relay.copy, args=(self.connection, there), daemon=True)
                up.start()
                relay.copy(there, self.connection)
                up.join()

        class Server(socketserver.ThreadingTCPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def copy(here, there):
        try:
            while block := here.recv(65536):
                there.sendall(block)
        except OSError:
            pass
        for sock in (here, there):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def admin(plane):
    pki = plane.authority.folder
    return {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}


def test_a_server_at_an_ipv6_address(start, plane, tmp_path):
    with Relay(plane, "::1") as relay:
        config = write_kubeconfig(tmp_path / "config", plane, admin(plane), {
            "server": "https://[::1]:%d" % relay.port, "tls-server-name": "kubernetes"})
        answer = start("get", "/version", kubeconfig=config).wait("answer")
    assert answer["outcome"] == "ok", answer["text"]


def test_through_a_proxy(start, plane, tmp_path):
    with Relay(plane, "127.0.0.1", proxy=True) as relay:
        config = write_kubeconfig(tmp_path / "config", plane, admin(plane), {
            "proxy-url": "http://127.0.0.1:%d" % relay.port})
        answer = start("get", "/version", kubeconfig=config).wait("answer")
    assert answer["outcome"] == "ok", answer["text"]
    assert relay.asked == ["CONNECT 127.0.0.1:%d HTTP/1.1" % plane.ports[2]]


def test_a_server_without_initial_events(start, tmp_path):
    """It refuses them; the store is the same by list and watch."""
    plane = ControlPlane(tmp_path / "plane")
    try:
        plane.up(["--feature-gates=WatchList=false"])
        api = Api(plane)
        api.put_map("one", "1", "without")
        probe = start("watch", "v1/configmaps", "--selector", "group=without",
                      kubeconfig=plane.kubeconfig)
        assert probe.wait("synced")["count"] == 1
        api.put_map("two", "1", "without")
        wait_until(lambda: probe.names() == ["one", "two"], 20, "it follows")
        assert probe.end() == 0
        audit = plane.audit_log.read_text()
        assert "sendInitialEvents=true" in audit and "resourceVersion=0" in audit
    finally:
        plane.down()


def test_a_certificate_that_is_replaced(start, api, plane, tmp_path):
    """Both files change under the running program; new connections are made with the new ones."""
    pki = plane.authority.folder
    plane.authority.issue("rotated", "rotated", "system:masters")
    for name in ("crt", "key"):
        (tmp_path / name).write_text((pki / ("admin." + name)).read_text())
    user = {"client-certificate": "crt", "client-key": "key"}
    probe = start("lease", "rotated", "--identity", "a", "--retry-ms", "500", "--reread-ms", "200",
                  kubeconfig=write_kubeconfig(tmp_path / "config", plane, user))
    probe.wait("started")
    for name in ("crt", "key"):
        (tmp_path / name).write_text((pki / ("rotated." + name)).read_text())

    def renewed_as():
        return [json.loads(line)["user"]["username"]
                for line in plane.audit_log.read_text().splitlines()
                if '"name":"rotated"' in line and '"verb":"update"' in line][-1:]

    wait_until(lambda: renewed_as() == ["rotated"], 20, "renewals under the new name")
    assert probe.of("stopped") == []
    assert probe.end() == 0


# --- what is written ---


def test_apply_and_its_manager(start, api):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"},
            "data": {"ours": "1"}}
    probe = start("apply", "v1/configmaps", stdin=json.dumps(body))
    assert probe.wait("answer")["outcome"] == "ok"
    managers = api.call("GET", MAPS + "/applied")["metadata"]["managedFields"]
    assert [(m["manager"], m["operation"]) for m in managers] == [("kube-probe", "Apply")]


def test_events_are_counted(start, api):
    probe = start("event", "ProbeSaid", "a note", "--count", "5")
    probe.wait("flushed")
    path = "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=reason%3DProbeSaid"
    events = api.call("GET", path)["items"]
    assert [(e["note"], e["series"]["count"]) for e in events] == [("a note", 5)]


# --- who leads ---


def holders(api, name):
    spec = api.call("GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/" + name)["spec"]
    return spec.get("holderIdentity", "")


def test_leader_is_told_to_end(start, api):
    first = start("lease", "told", "--identity", "a")
    first.wait("started")
    second = start("lease", "told", "--identity", "b")
    second.wait("leader")
    assert second.of("started") == []
    began = time.monotonic()
    assert first.end() == 0
    assert first.of("released")
    second.wait("started", timeout=3)
    print("another leads %.1f s after SIGTERM" % (time.monotonic() - began))
    assert holders(api, "told") == "b"
    assert second.end() == 0


def test_leader_is_killed(start):
    first = start("lease", "killed", "--identity", "a")
    first.wait("started")
    second = start("lease", "killed", "--identity", "b")
    second.wait("leader")
    began = time.monotonic()
    first.end(signal.SIGKILL)
    second.wait("started", timeout=18)
    print("another leads %.1f s after SIGKILL" % (time.monotonic() - began))


def test_leader_that_cannot_renew_stops_first(start, plane):
    """It ends by itself, before its lease does."""
    first = start("lease", "cut", "--identity", "a")
    first.wait("started")
    plane.processes.freeze("kube-apiserver")
    began = time.monotonic()
    try:
        first.wait("stopped", timeout=14)
    finally:
        plane.processes.thaw("kube-apiserver")
    print("stopped %.1f s after it froze" % (time.monotonic() - began))
    assert first.process.wait(10) == 1


def test_one_leader_of_five(start):
    """All at once, each in turn told to end: never two."""
    probes = [start("lease", "five", "--identity", "p%d" % i) for i in range(5)]
    for turn in range(5):
        wait_until(lambda: any(p.of("started") for p in probes), 20, "one leads")
        counts = collections.Counter(bool(p.of("started")) for p in probes)
        assert counts[True] == 1
        leader = next(p for p in probes if p.of("started"))
        probes.remove(leader)
        assert leader.end() == 0
