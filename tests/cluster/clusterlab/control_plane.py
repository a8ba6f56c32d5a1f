"""etcd and kube-apiserver, with kube-controller-manager and kube-scheduler if wanted."""

import http.client
import json
import pathlib
import random
import shutil
import socket
import ssl

from clusterlab import programs
from clusterlab.certificates import Authority
from clusterlab.processes import Processes
from clusterlab.wait import Hopeless, wait_until

SERVICE_RANGE, SERVICE_IP, DNS_IP = "10.96.0.0/16", "10.96.0.1", "10.96.0.10"
POD_RANGE = "10.244.0.0/16"
STOP_ORDER = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")

# Whole objects of what the statements of the tests are about; who did what to the rest.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Request", "verbs": ["create", "update", "patch", "delete"], "resources": [
            {"group": "", "resources": ["pods", "pods/status"]},
            {"group": "vpn.openbalena.io"}]},
        {"level": "Metadata"}]}


def free_port():
    """One outside the range that the kernel takes ports of outgoing connections from."""
    for port in random.sample(range(23000, 31000), 100):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


class ControlPlane:
    """In folder: kubeconfig (of an administrator), audit.log, logs/.

    namespace: where it runs (lab.netns.Namespace), None: here. nodes: there will be some; without
    them Pods need no ServiceAccount, because nobody makes one."""

    def __init__(self, folder, namespace=None, address="127.0.0.1", nodes=False):
        self.folder = pathlib.Path(folder).resolve()
        self.namespace = namespace
        self.address = address
        self.nodes = nodes
        self.processes = Processes(self.folder)
        self.kubeconfig = self.folder / "kubeconfig"
        self.audit_log = self.folder / "audit.log"

    def up(self, extra_args=()):
        """extra_args: more for kube-apiserver."""
        programs.install("etcd", "kube-apiserver", "kubectl")
        self.down()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(self.folder / "pki")
        self.ports = ((2379, 2380, 6443) if self.namespace else
                      (free_port(), free_port(), free_port()))
        self.server = "https://%s:%d" % (self.address, self.ports[2])
        (self.folder / "server").write_text(self.server)
        self.extra_args = tuple(extra_args)
        self.write_files()
        self.start_etcd()
        self.start_apiserver()
        self.wait_ready()
        return self

    def recall(self):
        """One that another process started."""
        self.authority = Authority(self.folder / "pki")
        self.server = (self.folder / "server").read_text()
        self.ports = (None, None, int(self.server.rpartition(":")[2]))
        self.extra_args = ()
        return self

    def write_files(self):
        names = ["IP:127.0.0.1", "IP:" + SERVICE_IP, "IP:" + self.address, "DNS:localhost",
                 "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc",
                 "DNS:kubernetes.default.svc.cluster.local"]
        self.authority.issue("apiserver", "kube-apiserver", alt_names=names)
        self.authority.issue("apiserver-kubelet", "kube-apiserver", "system:masters")
        self.authority.key_pair("service-accounts")
        self.authority.kubeconfig(self.kubeconfig, self.server, "admin", "admin", "system:masters")
        (self.folder / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))

    def start(self, name, *words):
        command = [programs.path(name), *words]
        if self.namespace:
            command = self.namespace.command(*map(str, command))
        self.processes.start(name, *command)

    def start_etcd(self):
        client, peer = ("http://127.0.0.1:%d" % port for port in self.ports[:2])
        self.start("etcd", "--data-dir=%s" % (self.folder / "etcd"), "--unsafe-no-fsync",
                   "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
                   "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
                   "--initial-cluster=default=" + peer, "--log-level=warn")

    def start_apiserver(self):
        """Also to start it again after it was stopped."""
        pki = self.authority.folder
        without_nodes = ["--disable-admission-plugins=ServiceAccount",
                         "--endpoint-reconciler-type=none"]
        self.start(
            "kube-apiserver", "--etcd-servers=http://127.0.0.1:%d" % self.ports[0],
            "--bind-address=" + self.address, "--secure-port=%d" % self.ports[2],
            "--advertise-address=" + self.address,
            "--client-ca-file=%s" % self.authority.ca,
            "--tls-cert-file=%s/apiserver.crt" % pki, "--tls-private-key-file=%s/apiserver.key" % pki,
            "--kubelet-client-certificate=%s/apiserver-kubelet.crt" % pki,
            "--kubelet-client-key=%s/apiserver-kubelet.key" % pki,
            "--kubelet-certificate-authority=%s" % self.authority.ca,
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=%s/service-accounts.pub" % pki,
            "--service-account-signing-key-file=%s/service-accounts.key" % pki,
            "--service-cluster-ip-range=" + SERVICE_RANGE, "--authorization-mode=Node,RBAC",
            "--allow-privileged=true", "--profiling=false", "--event-ttl=1h",
            "--shutdown-delay-duration=0s",
            "--audit-policy-file=%s" % (self.folder / "audit-policy.json"),
            "--audit-log-path=%s" % self.audit_log,
            *([] if self.nodes else without_nodes), *self.extra_args)

    def start_controllers(self, *args):
        """kube-controller-manager and kube-scheduler. args: more for the former."""
        programs.install("kube-controller-manager", "kube-scheduler")
        pki = self.authority.folder
        config = {name: self.authority.kubeconfig(self.folder / (name + ".kubeconfig"), self.server,
                                                  name, "system:" + name)
                  for name in ("kube-controller-manager", "kube-scheduler")}
        common = ["--leader-elect=false", "--bind-address=127.0.0.1"]
        ports = (10257, 10259) if self.namespace else (free_port(), free_port())
        self.start("kube-controller-manager", *common, "--secure-port=%d" % ports[0],
                   "--kubeconfig=%s" % config["kube-controller-manager"],
                   "--use-service-account-credentials", "--root-ca-file=%s" % self.authority.ca,
                   "--service-account-private-key-file=%s/service-accounts.key" % pki,
                   "--cluster-cidr=" + POD_RANGE, "--allocate-node-cidrs=false", *args)
        self.start("kube-scheduler", *common, "--secure-port=%d" % ports[1],
                   "--kubeconfig=%s" % config["kube-scheduler"])

    # --- asking it ---

    def get(self, path, timeout=5):
        """-> status, body; as the administrator."""
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        context.load_cert_chain(*(str(self.authority.folder / ("admin" + end))
                                  for end in (".crt", ".key")))
        connection = http.client.HTTPSConnection(self.address, self.ports[2], timeout=timeout,
                                                 context=context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ready(self):
        for name in ("etcd", "kube-apiserver"):
            if self.processes.pid(name) is None:
                raise Hopeless("%s ended:\n%s" % (name, self.processes.tail(name)))
        return self.get("/readyz")[0] == 200

    def wait_ready(self, timeout=90):
        wait_until(self.ready, timeout, "the API server is ready")

    def down(self):
        """Ends what runs in folder and removes all that was made there."""
        self.processes.stop_all(STOP_ORDER)
        for name in ("etcd", "pki", "logs", "processes"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for pattern in ("*kubeconfig", "audit*.log", "audit-policy.json", "server"):
            for file in self.folder.glob(pattern):
                file.unlink()
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()
