"""The chart without a cluster: what it renders, what it refuses, what its Pods may.

VPN_UPDATE_GOLDENS=1 writes golden/ anew; read the difference before you commit it."""

import json
import os
import re
import subprocess

import pytest
import yaml

from chartlab import CASES, CHART, HERE, KUBE_VERSION, ROOT, case, helm, pod_specs, rendered, template

GIVEN = ["--set", "api.host=a", "--set", "keys.serviceKey=b"]


# --- goldens ---

class Dumper(yaml.SafeDumper):
    """Long texts as they are"""


Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, "|" if "\n" in text else None))


def normal(objects):
    """In one order, without what changes with each version; of files their name only."""
    shown = []
    for o in sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"])):
        if o["kind"] == "CustomResourceDefinition":
            o = {"kind": o["kind"], "metadata": o["metadata"]}
        if o["metadata"]["name"] == "vpn-dashboard":
            o = {**o, "data": sorted(o["data"])}
        text = yaml.dump(o, Dumper=Dumper, sort_keys=False, width=110)
        text = re.sub(r"(helm.sh/chart: open-balena-vpn-|app.kubernetes.io/version: ?)\S+", r"\1V", text)
        shown.append(re.sub(r"(checksum/\w+: )[0-9a-f]{64}", r"\1SUM", text))
    return "---\n".join(shown)


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    golden = HERE / "golden" / (name + ".yaml")
    text = normal(rendered(name))
    if os.environ.get("VPN_UPDATE_GOLDENS"):
        golden.write_text(text)
    assert text.splitlines() == golden.read_text().splitlines()


@pytest.mark.parametrize("name", CASES)
def test_lint(name):
    done = helm("lint", "--strict", CHART, "--kube-version", KUBE_VERSION, "--values", case(name), check=False)
    assert done.returncode == 0, done.stdout


# --- values ---

def test_generated_files_are_up_to_date():
    done = subprocess.run([ROOT / "deploy/helm/generate", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def paths(values, path=""):
    """Of all values, those inside of others as well"""
    for key, value in values.items():
        yield path + key
        if isinstance(value, dict):
            yield from paths(value, path + key + ".")


def test_every_value_is_in_the_schema_and_in_the_table():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text().partition("<!-- values:")[2]
    table = set(re.findall(r"^\| `([^`]+)` \|", readme, re.M))
    for path in paths(values):
        node, inside = schema, False
        for part in path.split("."):
            inside = inside or node is not schema and "description" in node
            node = node.get("properties", {}).get(part, node if inside else None)
            assert node is not None, path
        is_group = any(named.startswith(path + ".") for named in table)
        belongs_to_one = any(path.startswith(named + ".") for named in table)
        assert path in table or is_group or belongs_to_one, path
    for named in table:
        assert named in set(paths(values)), named


def closed(node, path):
    """Where maps of anybody's words are not meant, unknown words are refused."""
    if node.get("type") == "object" and "properties" in node:
        assert node["additionalProperties"] is False, path
        for key, inner in node["properties"].items():
            closed(inner, path + "." + key)
    if "items" in node:
        closed(node["items"], path + "[]")


def test_the_schema_is_closed():
    closed(json.loads((CHART / "values.schema.json").read_text()), "")


@pytest.mark.parametrize("setting, text", [
    ("foo=1", "additional properties 'foo' not allowed"),
    ("pool.foo=1", "at '/pool': additional properties 'foo' not allowed"),
    ("pool.openvpn.protocoll=tcp", "at '/pool/openvpn': additional properties 'protocoll' not allowed"),
    ("pool.openvpn.tls.secretName=a", "at '/pool/openvpn': additional properties 'tls' not allowed"),
    ("pool.openvpn.protocol=sctp", "at '/pool/openvpn/protocol': value must be one of"),
    ("pool.network.instancePrefixLength=30", "maximum: got 30, want 29"),
    ("pool.replicas=1025", "maximum: got 1,025, want 1,024"),
    ("pool.by=magic", "value must be one of 'job', 'manifest'"),
    ("controller.replica=1", "at '/controller': additional properties 'replica' not allowed"),
    ("controller.replicas=two", "at '/controller/replicas': got string, want integer"),
    ("image.digest=md5:1", "at '/image/digest': 'md5:1' does not match pattern"),
    ("image.pullPolicy=Often", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("service.type=Ingress", "value must be one of 'LoadBalancer', 'NodePort', 'ClusterIP'"),
    ("service.port=0", "minimum: got 0, want 1"),
    ("log.level=loud", "value must be one of 'debug', 'info', 'warn', 'error'"),
    ("state.resources.limit.cpu=1", "at '/state/resources': additional properties 'limit' not allowed"),
    ("haproxy.tolerations[0].keys=a", "additional properties 'keys' not allowed"),
    ("networkPolicy.apiTo[0].ipblock=a", "additional properties 'ipblock' not allowed"),
    ("controller.extraEnv[0].value=a", "missing property 'name'"),
    ("api=null", "missing property 'api'"),
    ("connectProxy.tls=null", "at '/connectProxy': missing property 'tls'"),
    ("keys.existingSecret=Vpn_Keys", "at '/keys/existingSecret': 'Vpn_Keys' does not match pattern"),
    ("keys.guestKey=a b", "at '/keys/guestKey': 'a b' does not match pattern"),
    ("pool.resources.openvpn.limits.memory=1Gb", "'1Gb' does not match pattern"),
    ("pool.tolerations[0].effect=NoEntry", "value must be one of 'NoSchedule'"),
])
def test_the_schema_refuses(setting, text):
    done = template(*GIVEN, "--set", setting, check=False)
    assert done.returncode != 0
    assert text in done.stderr, done.stderr


def sections(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict):
            yield ".".join((*path, key))
            yield from sections(value, (*path, key))


@pytest.mark.parametrize("section", [*sections(yaml.safe_load((CHART / "values.yaml").read_text()))])
def test_a_section_that_is_null_is_fine_or_named(section):
    done = template(*GIVEN, "--set", section + "=null", check=False)
    assert done.returncode == 0 or "missing property '%s'" % section.split(".")[-1] in done.stderr


@pytest.mark.parametrize("settings, text", [
    (["keys.serviceKey=b"], "api.host (https) or api.internalHost (http) is required"),
    (["api.host=a"], "keys.existingSecret or keys.serviceKey is required"),
    (["api.host=a", "keys.serviceKey=b", "pool.openvpn.protocol=udp"], "udp has no balancer"),
])
def test_says_what_is_missing(settings, text):
    done = template(*[word for s in settings for word in ("--set", s)], check=False)
    assert done.returncode != 0 and text in done.stderr, done.stderr


# --- Pods ---

def violations(metadata, spec):
    """What of Pod Security "restricted" a Pod does not keep. Kubernetes: Pod Security Standards."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    if "appArmorProfile" in str(metadata.get("annotations", {})):
        yield "AppArmor by annotation"
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
                                          "persistentVolumeClaim", "projected", "secret"}:
            yield "volume %s" % volume["name"]
    pod = spec.get("securityContext", {})
    if pod.get("seLinuxOptions") or pod.get("sysctls") or pod.get("windowsOptions"):
        yield "securityContext"
    for c in spec.get("initContainers", []) + spec["containers"]:
        own = c.get("securityContext", {})
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield c["name"] + " privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield c["name"] + " allowPrivilegeEscalation"
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield c["name"] + " runAsNonRoot"
        if own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
            yield c["name"] + " runAsUser"
        seccomp = own.get("seccompProfile", pod.get("seccompProfile", {}))
        if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
            yield c["name"] + " seccompProfile"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            yield c["name"] + " capabilities"
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield c["name"] + " capabilities"
        if any("hostPort" in port for port in c.get("ports", [])):
            yield c["name"] + " hostPort"


@pytest.mark.parametrize("name", CASES)
def test_pods_are_restricted(name):
    pods = list(pod_specs(rendered(name)))
    assert len(pods) >= 5
    for which, metadata, spec in pods:
        assert list(violations(metadata, spec)) == [], which


def test_the_check_of_pods_bites():
    spec = {"hostNetwork": True, "containers": [{"name": "c", "ports": [{"hostPort": 1}]}],
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}
    assert list(violations({}, spec)) == [
        "hostNetwork", "volume v", "c allowPrivilegeEscalation", "c runAsNonRoot",
        "c seccompProfile", "c capabilities", "c hostPort"]


@pytest.mark.parametrize("name", CASES)
def test_every_container_has_limits_a_read_only_root_and_no_surprises(name):
    for which, _, spec in pod_specs(rendered(name)):
        assert spec["enableServiceLinks"] is False, which
        for c in spec["containers"]:
            assert c["resources"]["limits"]["memory"] and c["resources"]["requests"], which
            assert "cpu" not in c["resources"]["limits"], which  # throttling would look like a fault
            assert c["securityContext"]["readOnlyRootFilesystem"] is True, which


@pytest.mark.parametrize("name", CASES)
def test_only_who_asks_the_api_server_has_a_token(name):
    with_token = {which for which, _, spec in pod_specs(rendered(name))
                  if spec["automountServiceAccountToken"]}
    assert with_token - {"Job/vpn-setup"} == {"Deployment/vpn-controller", "Deployment/vpn-haproxy"}


@pytest.mark.parametrize("name", CASES)
def test_servers_are_probed(name):
    for which, _, spec in pod_specs(rendered(name)):
        if which.startswith("Deployment"):
            for c in spec["containers"]:
                assert "readinessProbe" in c and "livenessProbe" in c, which


@pytest.mark.parametrize("name", CASES)
def test_pods_are_selected_by_what_selects_them(name):
    """Each Deployment, Service, PodDisruptionBudget and NetworkPolicy meets Pods, and no two
    Deployments each other's."""
    objects = rendered(name)
    pods = {which: metadata["labels"] for which, metadata, _ in pod_specs(objects)}
    instance = {"app.kubernetes.io/name": "openbalena-vpn", "app.kubernetes.io/component": "instance",
                "vpn.openbalena.io/pool": "trucks" if name == "full" else "fleet"}
    for o in objects:
        selector = {"Deployment": lambda s: s["selector"]["matchLabels"],
                    "Service": lambda s: s["selector"],
                    "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
                    "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
                    }.get(o["kind"], lambda s: None)(o.get("spec", {}))
        if selector is None:
            continue
        met = [w for w, labels in pods.items() if selector.items() <= labels.items()]
        if selector.items() <= instance.items():
            met.append("instance")
        assert len(met) == 1, (o["kind"], o["metadata"]["name"], met)


def policies(*more):
    """{name: spec} of the NetworkPolicies, with these settings"""
    objects = yaml.safe_load_all(template(*GIVEN, *more).stdout)
    return {o["metadata"]["name"]: o["spec"] for o in objects if o and o["kind"] == "NetworkPolicy"}


def rules(spec, way, peers):
    """{port: peers}. A rule without ports, or with a list of peers that is empty, would mean all."""
    for rule in spec.get(way) or []:
        assert rule["ports"] and rule.get(peers) != [], rule
        for port in rule["ports"]:
            yield port["port"], rule.get(peers)


@pytest.mark.parametrize("settings", [[], *(["--set-json", "networkPolicy.%s=[]" % name] for name in (
    "devicesFrom", "callersFrom", "apiFrom", "monitoringFrom", "apiTo", "apiPorts", "kubernetesTo", "dnsTo",
    "otherHostsTo"))])
def test_an_empty_list_in_a_policy_does_not_mean_all(settings):
    for spec in policies(*settings).values():
        everyone = {port for port, peers in rules(spec, "ingress", "from") if peers is None}
        assert everyone <= {1194, 3128}
        list(rules(spec, "egress", "to"))


@pytest.mark.parametrize("name", ["kubernetesPorts", "dnsPorts"])
def test_a_policy_has_ports(name):
    done = template(*GIVEN, "--set-json", "networkPolicy.%s=[]" % name, check=False)
    assert "minItems: got 0, want 1" in done.stderr


@pytest.mark.parametrize("settings, ports", [
    ({"api.host": "api.example.com"}, {443}),
    ({"api.host": "api.example.com:8443/"}, {8443}),
    ({"api.host": "http://api.example.com/v1:9"}, {80}),
    ({"api.host": "api.example.com", "api.internalHost": "api.vpn.svc"}, {80}),
    ({"api.internalHost": "https://api.vpn.svc"}, {443}),
    ({"api.internalHost": "[fd00::1]"}, {80}),
    ({"api.internalHost": "http://[fd00::1]:8000/"}, {8000}),
    ({"api.internalHost": "api.vpn.svc", "networkPolicy.apiPorts[0]": "1337"}, {80, 1337}),
    ({"api.existingConfigMap": "mine"}, {80, 443}),
    ({"api.existingConfigMap": "mine", "networkPolicy.apiPorts[0]": "8000"}, {8000}),
])
def test_a_policy_lets_out_to_the_apis_ports_only(settings, ports):
    words = ["--set", "api.host="]
    for name, value in settings.items():
        words += ["--set" if "Ports" in name else "--set-string", "%s=%s" % (name, value)]
    found = {port for port, peers in rules(policies(*words)["vpn-instances"], "egress", "to")}
    assert found == {53, 8090} | ports


def test_no_policy_lets_all_pods_of_the_cluster_in_but_to_who_asks_for_a_token():
    for spec in policies().values():
        for port, peers in rules(spec, "ingress", "from"):
            assert port in (1194, 3128) or {"namespaceSelector": {}} not in peers, port


def test_who_may_monitor_can_be_nobody():
    for spec in policies("--set-json", "networkPolicy.monitoringFrom=[]").values():
        for port, peers in rules(spec, "ingress", "from"):
            assert port not in (8081, 8091, 8404)
            assert all("namespaceSelector" not in peer for peer in peers or []) or port == 3128


@pytest.mark.parametrize("name", CASES)
def test_every_pod_has_a_policy(name):
    """Those of hooks as well: in a namespace where what is not allowed is refused they fail otherwise."""
    objects = rendered(name)
    selectors = [o["spec"]["podSelector"]["matchLabels"] for o in objects if o["kind"] == "NetworkPolicy"]
    for which, metadata, _ in pod_specs(objects):
        assert name == "bare" or any(s.items() <= metadata["labels"].items() for s in selectors), which


def test_secrets_are_on_no_command_line():
    for which, _, spec in pod_specs(rendered("full")):
        for c in spec["containers"]:
            text = json.dumps([c.get("command"), c.get("args"), c.get("env")])
            assert "service-key" not in text and "guest-key" not in text, which


def test_names_fit_what_pods_are_told():
    """host:port in the pool and in arguments are Services of ours, with that port."""
    for name in ("minimal", "full"):
        objects = rendered(name)
        services = {(o["metadata"]["name"], str(p["port"])) for o in objects if o["kind"] == "Service"
                    for p in o["spec"]["ports"]}
        pool = yaml.safe_load(next(o for o in objects if o["metadata"]["name"] == "vpn-pool")
                              ["data"]["pool.yaml"])["spec"]["kubernetes"]
        for where in (pool["state"], pool["balancers"]):
            assert tuple(where.split(":")) in services
        proxy = next(s for which, _, s in pod_specs(objects) if which == "Deployment/vpn-connect-proxy")
        args = proxy["containers"][0]["args"]
        assert tuple(args[args.index("--state") + 1].split(":")) in services


def test_ports_of_services_are_ports_of_containers():
    for name in CASES:
        objects = rendered(name)
        ports = {}
        for which, metadata, spec in pod_specs(objects):
            ports[json.dumps(metadata["labels"], sort_keys=True)] = {
                p["name"] for c in spec["containers"] for p in c.get("ports", [])}
        for o in objects:
            if o["kind"] != "Service" or o["metadata"]["name"] == "vpn-instances":
                continue
            for labels, names in ports.items():
                if o["spec"]["selector"].items() <= json.loads(labels).items():
                    assert {p["targetPort"] for p in o["spec"]["ports"]} <= names, o["metadata"]


# --- rights ---

def test_roles_have_no_wildcard_and_read_no_secret():
    for name in CASES:
        for o in rendered(name):
            assert o["kind"] not in ("ClusterRole", "ClusterRoleBinding")
            for rule in o.get("rules", []) if o["kind"] == "Role" else []:
                assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
                assert "secrets" not in rule["resources"]
                assert "vpnpools" not in rule["resources"] or "update" not in rule["verbs"]


# --- files ---

@pytest.mark.parametrize("name", CASES)
def test_haproxy_takes_its_configuration(name, tmp_path):
    config = next(o for o in rendered(name) if o["kind"] == "ConfigMap"
                  and o["metadata"]["name"] == "vpn-haproxy")["data"]["haproxy.cfg"]
    config = config.replace("/run/haproxy", str(tmp_path))
    # As many connections as in a Pod may be more than this machine allows.
    config = re.sub(r"(maxconn) \d{4,}", r"\1 100", config)
    (tmp_path / "haproxy.cfg").write_text(config)
    done = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", tmp_path / "haproxy.cfg"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def test_dashboard_and_alerts_ask_for_metrics_that_there_are():
    text = (CHART / "files/dashboard.json").read_text()
    json.loads(text)
    rules = next(o for o in rendered("full") if o["kind"] == "PrometheusRule")
    text += json.dumps(rules)
    asked = set(re.findall(r"\b((?:vpn|controller_runtime|workqueue|rest_client|leader_election)_[a-z_]+)", text))
    sources = subprocess.run(["grep", "-rhoE", r'"[a-z]+_[a-z_]+"', "--include=*.c", "--include=*.h",
                              ROOT / "controller", ROOT / "sidecar-proxy", ROOT / "common"],
                             check=True, capture_output=True, text=True).stdout
    there = set(sources.replace('"', "").split())
    missing = {name for name in asked if re.sub(r"_(bucket|sum|count)$", "", name) not in there}
    assert missing == set()


def test_shell_scripts_parse():
    subprocess.run(["bash", "-n", CHART / "files/serves.sh"], check=True)
