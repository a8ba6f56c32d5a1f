"""A node: a network namespace on the cluster's LAN with containerd, kubelet and kube-proxy in it."""

import contextlib
import json
import os
import pathlib
import signal

from clusterlab import mounts, programs
from clusterlab.control_plane import DNS_IP, POD_RANGE, SERVICE_RANGE
from clusterlab.wait import Hopeless, wait_until
from lab.netns import Namespace, end_all

PAUSE_IMAGE = "localhost/pause:1"

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower it and dies.
# netns_mounts_under_state_dir: `ip netns add` mounts over /run/netns and would hide them there.
_CONTAINERD = """version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  max_container_log_line_size = 65536
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/runc"
"""


class Node:
    """number: 1-based; names its namespace and its range of Pods."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = "n%d" % number
        self.full_name = "%s-%s" % (cluster.name, self.name)
        self.folder = cluster.folder / self.name
        self.address = cluster.address(10 + number)
        self.pods = "10.244.%d.0/24" % number
        self.namespace = Namespace(self.full_name)
        self.link = "lan-" + self.name  # its end on the LAN
        self.socket = self.folder / "cri.sock"
        self.processes = cluster.processes

    # --- start ---

    def up(self):
        self.folder.mkdir()
        self.join_lan()
        self.write_files()
        mounts.make_cgroup(self.full_name)
        self.start("containerd", "containerd", "--config", self.folder / "containerd.toml")
        wait_until(lambda: self.ctr("version", check=False).returncode == 0, 20,
                   "containerd of %s answers" % self.name)

    def join_lan(self):
        lan = self.cluster.lan
        Namespace.create(self.full_name)
        lan.run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns",
                self.full_name)
        lan.run("ip", "link", "set", self.link, "master", "lan", "up")
        for words in (["addr", "add", self.address + "/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"],
                      ["route", "add", "default", "via", self.cluster.address(1)]):
            self.namespace.run("ip", *words)
        self.namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1",
                           "net.bridge.bridge-nf-call-iptables=1")

    def write_files(self):
        write = self.write_json
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(
            folder=self.folder, socket=self.socket, pause=PAUSE_IMAGE))
        (self.folder / "cni").mkdir()
        write("cni/10-bridge.conflist", {
            "cniVersion": "0.4.0", "name": "pods", "plugins": [
                {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "hairpinMode": True,
                 "ipam": {"type": "host-local", "dataDir": str(self.folder / "ipam"),
                          "ranges": [[{"subnet": self.pods}]]}},
                {"type": "portmap", "capabilities": {"portMappings": True}}]})
        authority = self.cluster.control_plane.authority
        certificate, key = authority.issue(self.name, self.name,
                                           alt_names=["IP:" + self.address, "DNS:" + self.name])
        server = self.cluster.control_plane.server
        authority.kubeconfig(self.folder / "kubelet.kubeconfig", server, self.name + "-kubelet",
                             "system:node:" + self.name, "system:nodes")
        authority.kubeconfig(self.folder / "proxy.kubeconfig", server, self.name + "-proxy",
                             "system:kube-proxy")
        write("kubelet.json", {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": self.address, "clusterDNS": [DNS_IP], "clusterDomain": "cluster.local",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": str(authority.ca)}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(certificate), "tlsPrivateKeyFile": str(key),
            "containerRuntimeEndpoint": "unix://%s" % self.socket,
            "cgroupDriver": "cgroupfs", "cgroupRoot": "/" + self.full_name,
            "enforceNodeAllocatable": ["none"], "failSwapOn": False, "failCgroupV1": False,
            "healthzPort": 0, "readOnlyPort": 0, "oomScoreAdj": 0,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "1%", "nodefs.available": "1%",
                             "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
            "podLogsDir": str(self.folder / "pod-logs"),
            "volumePluginDir": str(self.folder / "plugins"),
            "nodeStatusUpdateFrequency": "4s", "nodeLeaseDurationSeconds": 12,
            "syncFrequency": "5s"})
        # Limits of the whole machine are not ours to set.
        write("proxy.json", {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "iptables", "clusterCIDR": POD_RANGE, "hostnameOverride": self.name,
            "bindAddress": self.address, "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249", "oomScoreAdj": 0,
            "clientConnection": {"kubeconfig": str(self.folder / "proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s",
                          "tcpCloseWaitTimeout": "0s"},
            "iptables": {"minSyncPeriod": "0s"}})

    def write_json(self, name, content):
        (self.folder / name).write_text(json.dumps(content, indent=1))

    def start(self, program, *command):
        self.processes.start("%s-%s" % (self.name, program),
                             *self.namespace.command(*map(str, command)))

    def start_kubelet(self):
        self.start("kubelet", programs.path("kubelet"), "--config=%s/kubelet.json" % self.folder,
                   "--kubeconfig=%s/kubelet.kubeconfig" % self.folder,
                   "--root-dir=%s/kubelet" % self.folder, "--cert-dir=%s/kubelet/pki" % self.folder,
                   "--hostname-override=" + self.name, "--node-ip=" + self.address)

    def start_proxy(self):
        self.start("kube-proxy", programs.path("kube-proxy"),
                   "--config=%s/proxy.json" % self.folder)

    def start_enforcer(self):
        """Of NetworkPolicies, which the bridge plugin knows nothing of."""
        program = os.environ.get("VPN_CLUSTER_ENFORCER")
        if program:
            self.start("enforcer", program, "--run-firewall=true", "--run-router=false",
                       "--run-service-proxy=false", "--enable-cni=false", "--health-port=0",
                       "--kubeconfig=%s" % self.cluster.kubeconfig,
                       "--service-cluster-ip-range=" + SERVICE_RANGE,
                       "--hostname-override=" + self.name, "--v=1")

    def check(self):
        for program in ("containerd", "kubelet", "kube-proxy"):
            name = "%s-%s" % (self.name, program)
            if self.processes.pid(name) is None:
                raise Hopeless("%s ended:\n%s" % (name, self.processes.tail(name)))

    # --- what tests do to it ---

    def cut_off(self):
        """As if its cable were pulled."""
        self.cluster.lan.run("ip", "link", "set", self.link, "down")

    def reconnect(self):
        self.cluster.lan.run("ip", "link", "set", self.link, "up")

    def freeze_kubelet(self):
        self.processes.signal(self.name + "-kubelet", signal.SIGSTOP)

    def thaw_kubelet(self):
        self.processes.signal(self.name + "-kubelet", signal.SIGCONT)

    def ctr(self, *words, **more):
        return self.namespace.run("ctr", "--address", str(self.socket), "--namespace", "k8s.io",
                                  *map(str, words), **more)

    def load(self, archive):
        self.ctr("images", "import", archive)

    def container_pid(self, pod, container):
        """The pid of a container's first process, as this machine sees it."""
        tasks = {line.split()[0]: int(line.split()[1])
                 for line in self.ctr("tasks", "ls").stdout.splitlines()[1:]}
        for status in pod["status"].get("initContainerStatuses", []) + pod["status"].get(
                "containerStatuses", []):
            if status["name"] == container:
                return tasks[status["containerID"].rpartition("/")[2]]
        raise KeyError(container)

    # --- end ---

    def down(self):
        """Every trace: processes by namespace and control group, then what they held."""
        for program in ("kubelet", "kube-proxy", "enforcer", "containerd"):
            self.processes.stop("%s-%s" % (self.name, program), kill=True)
        end_all(lambda: mounts.pids_in_cgroup(self.full_name))
        if self.full_name in Namespace.names(self.full_name):
            self.namespace.delete()
        mounts.unmount_below(self.folder)
        mounts.remove_cgroup(self.full_name)
        forget_logs_in(self.folder)


def forget_logs_in(folder):
    """The kubelet's links, one for each container, to its log."""
    for link in pathlib.Path("/var/log/containers").glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(str(folder)):
            link.unlink()


def remove_leftovers(folder):
    """What containerd, CNI and the kubelet keep where all of their kind on a machine do, and do
    not let be moved."""
    for file in pathlib.Path("/var/lib/cni/results").glob("*"):
        if str(folder) in file.read_text(errors="replace"):
            file.unlink()
    remove_dead_sockets()
    for path in ("/var/lib/cni/results", "/var/lib/cni", "/var/log/containers",
                 "/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
                 "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
                 "/usr/libexec/kubernetes/kubelet-plugins/volume",
                 "/usr/libexec/kubernetes/kubelet-plugins", "/usr/libexec/kubernetes"):
        with contextlib.suppress(OSError):
            pathlib.Path(path).rmdir()


def remove_dead_sockets():
    """Those of containerd's shims and of kubelets that were killed."""
    listening = pathlib.Path("/proc/net/unix").read_text()
    for folder in ("/run/containerd/s", "/var/lib/kubelet/device-plugins"):
        for file in pathlib.Path(folder).glob("*"):
            if file.is_socket() and str(file) not in listening:
                file.unlink(missing_ok=True)
