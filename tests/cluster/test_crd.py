"""The VPNPool on a real API server: what it refuses and in which words, what it takes, what it
fills in, what may change, and its scale and status. No webhook: all of it is the CRD's."""

import copy
import http.client
import json
import os
import pathlib
import re
import ssl
import subprocess
import urllib.parse

import pytest
import yaml

from clusterlab.control_plane import ControlPlane
from clusterlab.wait import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRD = ROOT / "deploy/helm/open-balena-vpn/files/vpnpools.yaml"
CONTROLLER = pathlib.Path(os.environ["VPN_BIN"]) / "vpn-controller"
GROUP = "/apis/vpn.openbalena.io/v1alpha1"
POOLS = GROUP + "/namespaces/default/vpnpools"


class Api:
    """Requests of an administrator, one connection each."""

    def __init__(self, control_plane):
        self.address, self.port = control_plane.address, control_plane.ports[2]
        pki = control_plane.authority.folder
        self.tls = ssl.create_default_context(cafile=str(control_plane.authority.ca))
        self.tls.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))

    def call(self, method, path, body=None, content_type="application/json"):
        """-> status, parsed answer"""
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=30,
                                                 context=self.tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def create(self, pool):
        """As `kubectl apply` does for a new object; nothing is kept."""
        return self.call("POST", POOLS + "?dryRun=All&fieldValidation=Strict", pool)

    def apply(self, pool, dry_run=True):
        """As `kubectl apply --server-side` does."""
        query = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        path = "%s/%s?%s" % (POOLS, urllib.parse.quote(pool["metadata"]["name"]),
                             urllib.parse.urlencode(query))
        return self.call("PATCH", path, pool, "application/apply-patch+yaml")

    def patch(self, path, patch):
        return self.call("PATCH", path, patch, "application/merge-patch+json")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    control_plane = ControlPlane(tmp_path_factory.mktemp("crd"))
    try:
        control_plane.up()
        api = Api(control_plane)
        status, answer = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                                  yaml.safe_load(CRD.read_text()))
        assert status == 201, answer["message"]
        wait_until(lambda: api.call("GET", POOLS)[0] == 200, 30, "VPNPools are served")
        yield api
    finally:
        control_plane.down()


def pool(spec, name="fleet"):
    return {"apiVersion": "vpn.openbalena.io/v1alpha1", "kind": "VPNPool",
            "metadata": {"name": name}, "spec": spec}


def network(base="100.64.0.0/10", prefix=20, **more):
    return {"network": {"baseSubnet": base, "instancePrefixLength": prefix, **more}}


def kubernetes(**fields):
    return {"openvpn": {"tls": {"secretName": "tls"}}, "kubernetes": {"image": "vpn:1", **fields}}


NAME = "is not a name of lower-case letters, digits, '-' and '.'"
LABEL = "has a value that is not a label of at most 63 letters, digits, '-', '_' and '.'"
KEY = "has a key that is not of letters, digits, '-', '_' and '.', with or without a domain"
RATE = "is not a rate such as 500kbit, 10mbit or 1gbit"

# spec, the field that is named, what is said
BAD = [
    # --- shapes ---
    ({"replica": 2}, '"spec.replica"', "unknown field"),
    ({"network": {"gatway": "100.64.0.1"}}, '"spec.network.gatway"', "unknown field"),
    ({"replicas": "2"}, "spec.replicas", "must be of type integer"),
    ({"replicas": 2.5}, "spec.replicas", "must be of type integer"),
    ({"openvpn": {"protocol": "sctp"}}, "spec.openvpn.protocol",
     'supported values: "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"'),
    ({"openvpn": {"dataCiphers": []}}, "spec.openvpn.dataCiphers", "at least 1 items"),
    ({"openvpn": {"dataCiphers": ["A:B"]}}, "spec.openvpn.dataCiphers[0]",
     "is not a name of letters, digits, '-' and '_'"),
    ({"haproxy": {"proxyProtocol": "yes"}}, "spec.haproxy.proxyProtocol", "must be of type boolean"),
    # --- ranges ---
    ({"replicas": -1}, "spec.replicas", "should be greater than or equal to 0"),
    ({"replicas": 1025}, "spec.replicas", "should be less than or equal to 1024"),
    (network(prefix=15), "spec.network.instancePrefixLength",
     "should be greater than or equal to 16"),
    (network(prefix=30), "spec.network.instancePrefixLength", "should be less than or equal to 29"),
    ({"openvpn": {"handWindowSeconds": 19}}, "spec.openvpn.handWindowSeconds",
     "should be greater than or equal to 20"),
    ({"openvpn": {"handWindowSeconds": 601}}, "spec.openvpn.handWindowSeconds",
     "should be less than or equal to 600"),
    ({"drain": {"ratePerMinute": 0}}, "spec.drain.ratePerMinute",
     "should be greater than or equal to 1"),
    ({"haproxy": {"port": 65536}}, "spec.haproxy.port", "should be less than or equal to 65535"),
    # --- the network ---
    (network("100.64.0.0"), "spec.network.baseSubnet",
     "is not an IPv4 subnet such as 100.64.0.0/10"),
    (network("fd00::/64"), "spec.network.baseSubnet", "is not an IPv4 subnet"),
    (network("fleet"), "spec.network.baseSubnet", "is not an IPv4 subnet"),
    (network("100.64.0.1/10"), "spec.network.baseSubnet",
     "has host bits set: all bits beyond the prefix length are to be 0"),
    (network("0.0.0.0/8"), "spec.network.baseSubnet",
     "overlaps 0.0.0.0/8, which means this host"),
    (network("127.0.0.0/16"), "spec.network.baseSubnet",
     "overlaps the loopback network 127.0.0.0/8"),
    (network("169.0.0.0/8"), "spec.network.baseSubnet",
     "overlaps the link-local network 169.254.0.0/16"),
    (network("224.0.0.0/8"), "spec.network.baseSubnet",
     "overlaps the multicast and reserved addresses from 224.0.0.0"),
    (network("10.0.0.0/24"), "spec.network.instancePrefixLength",
     "an instance's subnet does not fit into the base subnet 10.0.0.0/24"),
    ({"replicas": 3, **network("10.0.0.0/23", 24)}, "spec.replicas",
     "so many instances do not fit into 10.0.0.0/23: 2 do"),
    ({"replicas": 1024, **network("10.0.0.0/17", 26)}, "spec.replicas",
     "so many instances do not fit into 10.0.0.0/17: 512 do"),
    ({"replicas": 5, **network("10.0.0.0/24", 26)}, "spec.replicas",
     "so many instances do not fit into 10.0.0.0/24: 4 do"),
    (network(gateway="10.0.0.1"), "spec.network.gateway",
     "10.0.0.1 is not in the base subnet 100.64.0.0/10"),
    (network(gateway="100.64.0.256"), "spec.network.gateway", "is not an IPv4 address"),
    (network(gateway="::1"), "spec.network.gateway", "is not an IPv4 address"),
    (network(gateway="100.64.0.2"), "spec.network.gateway",
     "100.64.0.2 is in use: only the first usable address of an instance is free"),
    (network(gateway="100.64.31.255"), "spec.network.gateway", "100.64.31.255 is in use"),
    (network(gateway="100.64.0.0"), "spec.network.gateway", "100.64.0.0 is in use"),
    (network(prefix=29, gateway="100.64.0.10"), "spec.network.gateway", "100.64.0.10 is in use"),
    # --- OpenVPN ---
    ({"replicas": 2, "openvpn": {"protocol": "udp4"}}, "spec.replicas",
     "udp cannot be balanced: it takes 1 replica"),
    ({"openvpn": {"explicitExitNotify": 1}}, "spec.openvpn.explicitExitNotify",
     "has a meaning with udp only"),
    ({"openvpn": {"protocol": "udp"}, "haproxy": {"proxyProtocol": True}}, "spec.haproxy",
     "haproxy.proxyProtocol has a meaning with tcp only"),
    ({"openvpn": {"keepalive": {"intervalSeconds": 40}}}, "spec.openvpn.keepalive.timeoutSeconds",
     "is less than twice intervalSeconds: one lost ping would end a link"),
    ({"openvpn": {"tls": {"secretName": "s", "caFile": "c"}}}, "spec.openvpn.tls",
     "secretName (Kubernetes) and files (one machine) exclude each other"),
    ({"openvpn": {"tls": {"secretName": "S/.."}}}, "spec.openvpn.tls.secretName", NAME),
    # --- the rest ---
    ({"throttle": {"down": "1mbit"}}, "spec.throttle",
     "has one direction without the other: give both or neither"),
    ({"throttle": {"up": "1mbit"}}, "spec.throttle", "give both or neither"),
    ({"throttle": {"down": "10mbps", "up": "1mbit"}}, "spec.throttle.down", RATE),
    ({"throttle": {"down": "1mbit", "up": "00kbit"}}, "spec.throttle.up", RATE),
    ({"rollout": {"maxSurge": 0}}, "spec.rollout",
     "maxSurge and maxUnavailable are both 0: nothing could ever be replaced"),
    ({"haproxy": {"cpuMap": "1; drop"}}, "spec.haproxy.cpuMap", "is not a cpu-map of haproxy's"),
    ({"connectProxy": {"listen": "localhost"}}, "spec.connectProxy.listen",
     "is not an IPv4 or IPv6 address"),
    ({"connectProxy": {"tls": {"certFile": "a"}}}, "spec.connectProxy.tls",
     "needs both, certFile and keyFile"),
    # --- Kubernetes ---
    ({"kubernetes": {}}, "spec.kubernetes", "kubernetes.image is missing: a cluster needs an image"),
    ({"kubernetes": {"image": "vpn:1"}}, "spec.openvpn",
     "openvpn.tls.secretName is missing: a cluster needs a Secret with ca.crt, tls.crt and tls.key"),
    (kubernetes(image="a b"), "spec.kubernetes.image", "is not an image"),
    (kubernetes(image=""), "spec.kubernetes.image", "should be at least 1 chars long"),
    (kubernetes(sidecarImage="a b"), "spec.kubernetes.sidecarImage", "is not an image"),
    (kubernetes(imagePullPolicy="Often"), "spec.kubernetes.imagePullPolicy",
     'supported values: "Always", "IfNotPresent", "Never"'),
    (kubernetes(imagePullSecrets=["A"]), "spec.kubernetes.imagePullSecrets[0]", NAME),
    (kubernetes(apiSecretName="Keys"), "spec.kubernetes.apiSecretName", NAME),
    (kubernetes(apiConfigMapName="a..b"), "spec.kubernetes.apiConfigMapName", NAME),
    (kubernetes(serviceAccountName="-a"), "spec.kubernetes.serviceAccountName", NAME),
    (kubernetes(priorityClassName="a_b"), "spec.kubernetes.priorityClassName", NAME),
    (kubernetes(state="vpn-state"), "spec.kubernetes.state", "is not host:port"),
    (kubernetes(state="vpn-state:65536"), "spec.kubernetes.state", "is not host:port"),
    (kubernetes(balancers="[10.0.0.1]:1"), "spec.kubernetes.balancers", "is not host:port"),
    (kubernetes(balancers="a b:1"), "spec.kubernetes.balancers", "is not host:port"),
    (kubernetes(registerAddress="vpn.example.com"), "spec.kubernetes.registerAddress",
     "is not an IPv4 or IPv6 address"),
    (kubernetes(podLabels={"-a": "b"}), "spec.kubernetes.podLabels", KEY),
    (kubernetes(podLabels={"a": "b c"}), "spec.kubernetes.podLabels", LABEL),
    (kubernetes(podLabels={"a": 1}), "spec.kubernetes.podLabels.a", "must be of type string"),
    (kubernetes(podLabels={"vpn.openbalena.io/index": "9"}), "spec.kubernetes.podLabels",
     "vpn.openbalena.io/..., app.kubernetes.io/name and app.kubernetes.io/component are set by us"),
    (kubernetes(podLabels={"app.kubernetes.io/component": "x"}), "spec.kubernetes.podLabels",
     "are set by us"),
    (kubernetes(podAnnotations={"vpn.openbalena.io/template": "x"}),
     "spec.kubernetes.podAnnotations", "vpn.openbalena.io/... is set by us"),
    (kubernetes(nodeSelector={"A/b": "c"}), "spec.kubernetes.nodeSelector", KEY),
    (kubernetes(nodeSelector={"a": "b c"}), "spec.kubernetes.nodeSelector", LABEL),
    (kubernetes(tolerations=["a"]), "spec.kubernetes.tolerations[0]", "must be of type object"),
    (kubernetes(resources={"openvpn": {"limits": {"memory": "much"}}}),
     "spec.kubernetes.resources.openvpn.limits.memory", "should match"),
]


@pytest.mark.parametrize("spec, field, text", BAD, ids=lambda value: None)
def test_refuses(api, spec, field, text):
    status, answer = api.create(pool(spec))
    message = answer["message"]
    assert status in (400, 422), message
    assert field in message and text in message, message
    assert "evaluation" not in message and "no such" not in message, message


def rules_in(node):
    yield from node.get("x-kubernetes-validations", [])
    for inner in [*node.get("properties", {}).values(), node.get("items"),
                  node.get("additionalProperties")]:
        if isinstance(inner, dict):
            yield from rules_in(inner)


def test_every_rule_is_in_the_table():
    """By its message; where that is put together, by one of the parts."""
    crd = yaml.safe_load(CRD.read_text())
    said = [text for _, _, text in BAD] + [FIXED, NAME_TEXT]
    for rule in rules_in(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        words = [rule["message"], *re.findall("'([^']{12,})'|\"([^\"]{12,})\"",
                                              rule.get("messageExpression", ""))]
        parts = [w.strip() for word in words for w in ([word] if isinstance(word, str) else word) if w]
        assert any(part in text or text in part for part in parts for text in said), rule


def test_rules_could_cost_twice_as_much(api):
    """Estimates of costs change from one Kubernetes to the next; over the budget, the whole definition is
    refused."""
    crd = yaml.safe_load(CRD.read_text())
    crd["metadata"]["name"] = "vpnpools.twice.openbalena.io"
    crd["spec"]["group"] = "twice.openbalena.io"
    crd = json.loads(json.dumps(crd))  # nothing shared by YAML's anchors
    for rule in rules_in(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        rule["rule"] = "(%s) && (%s)" % (rule["rule"], rule["rule"])
    status, answer = api.call(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", crd)
    assert status == 201, answer["message"]


FIXED = "cannot be changed: the addresses of all instances come from it"
NAME_TEXT = "at most 52 lower-case letters, digits and inner dashes"


@pytest.mark.parametrize("name", ["a" * 53, "a.b"])
def test_refuses_a_name_that_pods_cannot_begin_with(api, name):
    status, answer = api.create(pool({}, name))
    assert status == 422
    assert NAME_TEXT in answer["message"]


GOOD = [
    {},
    {"replicas": 0},
    {"replicas": 1024},
    {"replicas": 1024, **network("10.0.0.0/8", 29)},
    {"replicas": 4, **network("10.0.0.0/24", 26)},
    {"replicas": 1, **network("10.0.0.0/29", 29)},
    {"replicas": 512, **network("10.0.0.0/17", 26)},
    network(gateway="100.64.0.1"),
    network(gateway="100.64.16.1"),
    network(prefix=29, gateway="100.64.0.9"),
    network(prefix=16, gateway="100.65.0.1"),
    {"openvpn": {"protocol": "udp", "explicitExitNotify": 1}},
    {"replicas": 0, "openvpn": {"protocol": "udp6"}},
    {"throttle": {"down": "10mbit", "up": "500kbit"}},
    {"rollout": {"maxSurge": 0, "maxUnavailable": 1}},
    {"openvpn": {"dataCiphers": ["AES-256-GCM", "CHACHA20-POLY1305"],
                 "opensslProviders": ["legacy", "default"]}},
    {"openvpn": {"tls": {"secretName": "vpn.tls", "dhFile": "dh.pem"}}},
    kubernetes(),
    kubernetes(sidecarImage="registry.example.com:5000/vpn@sha256:00", imagePullSecrets=["one", "2"],
               state="[2001:db8::1]:1", balancers="vpn-balancer.vpn.svc:8082",
               registerAddress="192.0.2.1",
               podLabels={"team": "a", "example.com/x_y": ""},
               podAnnotations={"a": 'b "c"', "app.kubernetes.io/name": "x"}, nodeSelector={},
               tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 30}],
               affinity={"nodeAffinity": {"any": [1, None, True]}},
               topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone"}],
               resources={"openvpn": {"limits": {"cpu": 1, "memory": "256Mi"},
                                      "claims": [{"name": "gpu"}]},
                          "sidecar": {"requests": {"cpu": "100m"}}},
               priorityClassName="system-node-critical", runtimeClassName="kata"),
]


@pytest.mark.parametrize("spec", GOOD, ids=lambda value: None)
def test_takes(api, spec):
    status, answer = api.apply(pool(spec))
    assert status in (200, 201), answer["message"]


def test_takes_the_pool_files_that_we_ship(api):
    examples = [yaml.safe_load(file.read_text()) for file in (ROOT / "examples").glob("*pool*.yaml")]
    corpus = ROOT / "tests/fuzz/corpus/fuzz_pool_file/every_field.yaml"
    assert len(examples) >= 1
    for example in [*examples, yaml.safe_load(corpus.read_text())]:
        example["metadata"].pop("namespace", None)
        if "secretName" not in example["spec"]["openvpn"]["tls"]:
            example["spec"].pop("kubernetes", None)  # one machine's files
        status, answer = api.apply(example)
        assert status in (200, 201), answer["message"]


def test_keeps_what_it_does_not_know_inside_of_pods_fields(api):
    spec = copy.deepcopy(GOOD[-1])
    _, answer = api.apply(pool(spec))
    got = answer["spec"]["kubernetes"]
    for field in ("affinity", "tolerations", "topologySpreadConstraints", "resources"):
        assert got[field] == spec["kubernetes"][field]


def test_fills_in_what_counts(api):
    """And nothing that only one machine reads, or that only an image can be given with."""
    _, answer = api.apply(pool({}))
    assert answer["spec"] == {
        "replicas": 1,
        "network": {"baseSubnet": "100.64.0.0/10", "instancePrefixLength": 20},
        "openvpn": {"protocol": "tcp", "keepalive": {"intervalSeconds": 10, "timeoutSeconds": 60},
                    "handWindowSeconds": 60, "statusIntervalSeconds": 10, "bytecountSeconds": 60,
                    "explicitExitNotify": 0},
        "auth": {"cacheSeconds": 60, "graceSeconds": 3600, "maxInFlight": 32},
        "drain": {"ratePerMinute": 500, "timeoutSeconds": 120},
        "rollout": {"maxSurge": 1, "maxUnavailable": 0},
    }
    _, answer = api.apply(pool(kubernetes()))
    assert answer["spec"]["kubernetes"] == {
        "image": "vpn:1", "imagePullPolicy": "IfNotPresent", "apiSecretName": "openbalena-vpn",
        "apiConfigMapName": "openbalena-vpn", "state": "vpn-state:8090",
        "serviceAccountName": "default"}


# --- the parser of pool files says the same ---

def faults(spec, tmp_path):
    """What vpn-controller finds wrong with that spec, without asking anybody."""
    spec = copy.deepcopy(spec)
    spec.setdefault("kubernetes", {}).setdefault("image", "vpn:1")
    tls = spec.setdefault("openvpn", {}).setdefault("tls", {})
    if not tls:
        tls["secretName"] = "tls"
    file = tmp_path / "pool.json"
    file.write_text(json.dumps(pool(spec)))
    done = subprocess.run([CONTROLLER, "apply", "-f", file, "--kubeconfig", "/nonexistent"],
                          capture_output=True, text=True)
    assert done.returncode in (1, 2), done
    return done.stderr if done.returncode == 2 else ""


# Only the API server knows what a quantity is. What a cluster needs is not asked of every file.
NOT_THE_PARSERS = ("should match", "a cluster needs")


@pytest.mark.parametrize("spec, field, text", BAD, ids=lambda value: None)
def test_the_parser_refuses_it_too(spec, field, text, tmp_path):
    if not any(words in text for words in NOT_THE_PARSERS):
        assert faults(spec, tmp_path) != ""


@pytest.mark.parametrize("spec", GOOD, ids=lambda value: None)
def test_the_parser_takes_it_too(spec, tmp_path):
    assert faults(spec, tmp_path) == ""


# --- over time ---

FLEET = {"replicas": 2, **network("10.0.0.0/24", 26), "throttle": {"down": "1mbit", "up": "1mbit"}}


@pytest.fixture
def fleet(api):
    """-> its path"""
    status, answer = api.apply(pool(FLEET), dry_run=False)
    assert status == 201, answer["message"]
    yield POOLS + "/fleet"
    api.call("DELETE", POOLS + "/fleet")
    wait_until(lambda: api.call("GET", POOLS + "/fleet")[0] == 404, 10, "the pool is gone")


@pytest.mark.parametrize("change, field", [
    ({"network": {"baseSubnet": "10.0.0.0/23"}}, "spec.network.baseSubnet"),
    ({"network": {"instancePrefixLength": 27}}, "spec.network.instancePrefixLength"),
    ({"network": None}, "spec.network.baseSubnet"),  # back to the default is a change, too
])
def test_subnets_are_fixed(api, fleet, change, field):
    status, answer = api.patch(fleet, {"spec": change})
    assert status == 422
    assert field in answer["message"] and FIXED in answer["message"], answer["message"]


def test_the_rest_may_change(api, fleet):
    change = {"network": {"gateway": "10.0.0.65"}, "replicas": 4,
              "openvpn": {"protocol": "tcp6", "handWindowSeconds": 30}, "drain": None,
              "kubernetes": {"image": "vpn:2"}}
    change["openvpn"]["tls"] = {"secretName": "tls"}
    status, answer = api.patch(fleet, {"spec": change})
    assert status == 200, answer["message"]
    assert answer["spec"]["drain"] == {"ratePerMinute": 500, "timeoutSeconds": 120}


def status_of(replicas):
    return {"observedGeneration": 1, "replicas": replicas, "ready": replicas, "draining": 0,
            "sessions": 12, "capacity": 4, "selector": "vpn.openbalena.io/pool=fleet",
            "instances": [{"index": 1, "subnet": "10.0.0.0/26", "pod": "fleet-1", "uid": "u",
                           "node": "n", "phase": "Ready", "since": "2026-01-02T03:04:05.678Z",
                           "sessions": 12, "serviceId": 7, "failures": 0,
                           "notBefore": "2026-01-02T03:04:05Z", "reason": "", "lost": False}],
            "freed": [{"index": 3, "at": "2026-01-02T03:04:05Z"}],
            "burials": [{"index": 3, "epoch": "e", "serviceId": 6}],
            "conditions": [{"type": "Available", "status": "True", "reason": "Serving",
                            "message": "2 of 2", "lastTransitionTime": "2026-01-02T03:04:05Z",
                            "observedGeneration": 1}]}


def test_status_is_written_apart_and_survives(api, fleet):
    wanted = status_of(2)
    status, answer = api.patch(fleet + "/status", {"status": wanted})
    assert status == 200, answer["message"]
    assert answer["status"] == wanted  # nothing of it is unknown to the schema
    # a change of spec leaves it, and a status in the same breath is not taken
    status, answer = api.patch(fleet, {"spec": {"replicas": 3}, "status": {"ready": 99}})
    assert status == 200 and answer["status"] == wanted
    assert answer["metadata"]["generation"] == 2
    # nor does writing the status touch spec
    _, answer = api.patch(fleet + "/status", {"spec": {"replicas": 1}, "status": {"ready": 3}})
    assert (answer["spec"]["replicas"], answer["status"]["ready"]) == (3, 3)
    assert answer["metadata"]["generation"] == 2
    status, answer = api.apply(pool({"replicas": 4, **network("10.0.0.0/24", 26)}), dry_run=False)
    assert status == 200 and answer["status"]["instances"] == wanted["instances"]


def test_status_cannot_have_an_index_twice(api, fleet):
    twice = status_of(2)
    twice["instances"].append({"index": 1, "pod": "other-1"})
    status, answer = api.patch(fleet + "/status", {"status": twice})
    assert status == 422 and "Duplicate value" in answer["message"], answer["message"]


def test_an_object_of_before_a_rule_keeps_its_status(api, fleet):
    """Rules of fields that do not change are not asked again (ratcheting): a pool that a later
    version would refuse can still be looked after."""
    status, crd = api.call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
                                  "vpnpools.vpn.openbalena.io")
    assert status == 200
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vpnpools.vpn.openbalena.io"
    before = copy.deepcopy(crd["spec"])
    rules = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"]["throttle"]["x-kubernetes-validations"]
    rules.append({"rule": "self.down == '2mbit'", "message": "new"})
    try:
        status, answer = api.patch(path, {"spec": {"versions": crd["spec"]["versions"]}})
        assert status == 200, answer["message"]
        wait_until(lambda: "new" in api.create(pool(FLEET, "other"))[1].get("message", ""), 30,
                   "the new rule counts")
        status, answer = api.patch(fleet + "/status", {"status": status_of(2)})
        assert status == 200, answer["message"]
        status, answer = api.patch(fleet, {"spec": {"replicas": 4}})
        assert status == 200, answer["message"]
    finally:
        api.patch(path, {"spec": {"versions": before["versions"]}})
        wait_until(lambda: api.create(pool(FLEET, "other"))[0] == 201, 30, "the old rules count")


# --- scale ---

def test_scale_reads_and_writes(api, fleet):
    """What an autoscaler and a PodDisruptionBudget do: the subresource, by its own kind."""
    api.patch(fleet + "/status", {"status": status_of(2)})
    status, scale = api.call("GET", fleet + "/scale")
    assert status == 200 and scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 2, "selector": "vpn.openbalena.io/pool=fleet"}
    scale["spec"]["replicas"] = 4
    status, answer = api.call("PUT", fleet + "/scale", scale)
    assert status == 200 and answer["spec"]["replicas"] == 4
    assert api.call("GET", fleet)[1]["spec"]["replicas"] == 4


@pytest.mark.parametrize("replicas, text", [
    (5, "so many instances do not fit into 10.0.0.0/24: 4 do"),
    (2000, "should be less than or equal to 1024"),
])
def test_scale_keeps_the_rules(api, fleet, replicas, text):
    status, answer = api.patch(fleet + "/scale", {"spec": {"replicas": replicas}})
    assert status == 422 and text in answer["message"], answer["message"]


def test_columns(api, fleet):
    api.patch(fleet + "/status", {"status": status_of(2)})
    connection = http.client.HTTPSConnection(api.address, api.port, timeout=30, context=api.tls)
    connection.request("GET", fleet, None,
                       {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    table = json.loads(connection.getresponse().read())
    connection.close()
    shown = [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0]
    assert shown == ["Name", "Desired", "Ready", "Draining", "Sessions", "Capacity", "Available",
                     "Age"]
    assert table["rows"][0]["cells"][:7] == ["fleet", 2, 2, 0, 12, 4, "True"]


def test_short_name(api):
    _, answer = api.call("GET", GROUP)
    [kind] = [r for r in answer["resources"] if r["name"] == "vpnpools"]
    assert kind["shortNames"] == ["vpnp"] and kind["namespaced"]
