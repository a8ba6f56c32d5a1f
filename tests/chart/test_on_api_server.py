"""The chart on a real API server without nodes: are its objects taken, do its Pods keep Pod Security
"restricted" where that is enforced, and what do install, upgrade and uninstall leave of the pool?"""

import json
import os
import pathlib
import subprocess

import pytest
import yaml

from chartlab import CASES, CHART, helm, pod_specs, rendered
from conftest import DEFINITION, remove_definition
from clusterlab.wait import wait_until

OTHERS = ("monitoring.coreos.com", "cert-manager.io")  # definitions that are not ours
CONTROLLER = pathlib.Path(os.environ["VPN_BIN"]) / "vpn-controller"


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_takes_every_object(kubectl, definition, name):
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vpn"}})
    objects = [o for o in rendered(name) if not o["apiVersion"].startswith(OTHERS)
               and o["kind"] != "CustomResourceDefinition"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    said = kubectl.run("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                       stdin=text)
    assert said.count("serverside-applied") == len(objects), said


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_takes_the_pool(kubectl, definition, name):
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vpn"}})
    for o in rendered(name):
        if o["metadata"]["name"] == "vpn-pool":
            kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=o["data"]["pool.yaml"])


def test_pods_are_admitted_where_restricted_is_enforced(kubectl, namespace):
    kubectl.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    tried = 0
    for name in CASES:
        for which, metadata, spec in pod_specs(rendered(name)):
            spec = {k: v for k, v in spec.items() if k not in (
                "serviceAccountName", "priorityClassName")}  # which need not be there
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": "pod", "labels": metadata["labels"]}, "spec": {"restartPolicy": "Never", **spec}}
            if which.startswith("Deployment"):
                pod["spec"]["restartPolicy"] = "Always"
            kubectl.run("-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
            tried += 1
    assert tried >= 20


# --- install, upgrade, uninstall ---

@pytest.fixture
def release(control_plane, namespace):
    def run(*words, check=True):
        done = helm("--kubeconfig", control_plane.kubeconfig, "--namespace", namespace, *words,
                    check=False)
        if check and done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout + done.stderr
    return run


GIVEN = ["--set", "api.host=a", "--set", "keys.serviceKey=b"]


def apply_pool(control_plane, kubectl, namespace, tmp_path, values):
    """What the Job does: there is no node for it here. Options and file are those of its Pod."""
    objects = [o for o in yaml.safe_load_all(helm(
        "template", "vpn", CHART, "--namespace", namespace, "--kube-version", "1.34.0", *values).stdout) if o]
    container = next(o for o in objects if o["kind"] == "Job")["spec"]["template"]["spec"]["containers"][0]
    file = tmp_path / "pool.yaml"
    file.write_text(kubectl.get("configmap", "vpn-pool", namespace)["data"]["pool.yaml"])
    words = [str(file) if w == "/etc/vpn/pool.yaml" else w for w in container["command"] + container["args"]]
    assert words[0] == "vpn-controller"
    done = subprocess.run([CONTROLLER, *words[1:]], capture_output=True, text=True,
                          env={**os.environ, "KUBECONFIG": str(control_plane.kubeconfig)})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def images(pool):
    return pool["spec"]["kubernetes"]["image"], pool["spec"]["kubernetes"]["sidecarImage"]


def test_a_release_of_everything_else_leaves_scale_and_openvpn(control_plane, kubectl, namespace, release,
                                                              tmp_path):
    """From a cluster that knows no VPNPool to one that has none any more."""
    remove_definition(kubectl)
    release("install", "vpn", CHART, *GIVEN, "--no-hooks")
    say = lambda values: apply_pool(control_plane, kubectl, namespace, tmp_path, values)  # noqa: E731
    assert say(GIVEN) == "%s/fleet created" % namespace
    before = kubectl.get("vpnpool", "fleet", namespace)
    assert before["spec"]["replicas"] == 2
    assert images(before) == ("openbalena-vpn:0.1.0", "openbalena-vpn:0.1.0")

    kubectl.run("-n", namespace, "scale", "vpnp/fleet", "--replicas=5")
    values = [*GIVEN, "--set", "image.tag=next", "--set", "pool.replicas=3"]
    release("upgrade", "vpn", CHART, *values, "--no-hooks")
    assert say(values) == "%s/fleet configured" % namespace
    pool = kubectl.get("vpnpool", "fleet", namespace)
    assert pool["metadata"]["uid"] == before["metadata"]["uid"]
    assert pool["spec"]["replicas"] == 5
    assert images(pool) == ("openbalena-vpn:0.1.0", "openbalena-vpn:next")
    assert say(values) == "%s/fleet unchanged" % namespace

    values += ["--set", "pool.openvpnImage=openbalena-vpn:next", "--set", "pool.keepReplicas=false"]
    release("upgrade", "vpn", CHART, *values, "--no-hooks")
    say(values)
    pool = kubectl.get("vpnpool", "fleet", namespace)
    assert pool["spec"]["replicas"] == 3
    assert images(pool) == ("openbalena-vpn:next", "openbalena-vpn:next")

    release("uninstall", "vpn")
    assert kubectl.get("vpnpool", namespace=namespace) == []
    assert kubectl.get("crd", DEFINITION)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    remove_definition(kubectl)


def test_values_that_were_set_and_are_not_any_more_are_taken_back(control_plane, kubectl, namespace,
                                                                 release, tmp_path, definition):
    values = GIVEN
    more = [*values, "--set", "pool.drain.timeoutSeconds=60", "--set", "pool.throttle.down=1mbit",
            "--set", "pool.throttle.up=1mbit"]
    release("install", "vpn", CHART, *more, "--no-hooks")
    apply_pool(control_plane, kubectl, namespace, tmp_path, more)
    release("upgrade", "vpn", CHART, *values, "--no-hooks")
    apply_pool(control_plane, kubectl, namespace, tmp_path, values)
    spec = kubectl.get("vpnpool", "fleet", namespace)["spec"]
    assert spec["drain"]["timeoutSeconds"] == 120 and "throttle" not in spec
    release("uninstall", "vpn")


def test_as_part_of_the_manifest(kubectl, namespace, release, definition):
    """pool.by=manifest: what stays is looked up; uninstalling removes the pool with the rest."""
    values = [*GIVEN, "--set", "pool.by=manifest"]
    release("install", "vpn", CHART, *values)
    kubectl.run("-n", namespace, "scale", "vpnp/fleet", "--replicas=7")
    release("upgrade", "vpn", CHART, *values, "--set", "image.tag=next", "--set", "pool.replicas=3",
            "--set", "pool.drain.timeoutSeconds=60")
    pool = kubectl.get("vpnpool", "fleet", namespace)
    assert pool["spec"]["replicas"] == 7
    assert pool["spec"]["drain"]["timeoutSeconds"] == 60
    assert images(pool) == ("openbalena-vpn:0.1.0", "openbalena-vpn:next")
    release("uninstall", "vpn")
    assert kubectl.get("vpnpool", namespace=namespace) == []


def test_an_upgrade_brings_a_new_definition(control_plane, kubectl, namespace, release):
    """Of the release before this one: a field less."""
    remove_definition(kubectl)
    release("install", "vpn", CHART, *GIVEN, "--no-hooks")
    old = kubectl.get("crd", DEFINITION)
    spec = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["auth"]
    kubectl.run("replace", "-f", "-", stdin=json.dumps(old))
    release("upgrade", "vpn", CHART, *GIVEN, "--set", "log.level=debug", "--no-hooks")

    def there():
        now = kubectl.get("crd", DEFINITION)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return "auth" in now["properties"]["spec"]["properties"]
    wait_until(there, 10, "the definition is this chart's")
    release("uninstall", "vpn")
    remove_definition(kubectl)


def test_the_definition_is_one_releases(kubectl, namespace, release, definition, control_plane):
    """One that is there is left alone, until it is said to be this release's."""
    annotations = lambda: kubectl.get("crd", DEFINITION)["metadata"].get("annotations", {})  # noqa: E731
    kubectl.run("annotate", "crd", DEFINITION, "note=mine")
    assert "belongs to nobody, and was left as it is" in release("install", "vpn", CHART, *GIVEN, "--no-hooks")
    assert "helm.sh/resource-policy" not in annotations()
    kubectl.run("label", "crd", DEFINITION, "app.kubernetes.io/managed-by=Helm")
    kubectl.run("annotate", "crd", DEFINITION, "meta.helm.sh/release-name=vpn",
                "meta.helm.sh/release-namespace=" + namespace)
    assert "was left as it is" not in release("upgrade", "vpn", CHART, *GIVEN, "--no-hooks")
    assert annotations()["helm.sh/resource-policy"] == "keep" and annotations()["note"] == "mine"
    kubectl.run("create", "namespace", "other")
    done = helm("--kubeconfig", control_plane.kubeconfig, "--namespace", "other", "install", "vpn", CHART, *GIVEN,
                "--no-hooks")
    assert "belongs to release vpn in namespace " + namespace in done.stdout
    helm("--kubeconfig", control_plane.kubeconfig, "--namespace", "other", "uninstall", "vpn")
    release("uninstall", "vpn")
    assert kubectl.get("crd", DEFINITION)


@pytest.mark.parametrize("kind, words", [
    ("LoadBalancer", "loadBalancer.ingress"), ("NodePort", "nodePort"),
    ("ClusterIP", "vpn-devices.{ns}.svc:443")])
def test_notes_say_how_to_connect(namespace, release, kind, words):
    said = release("install", "vpn", CHART, *GIVEN, "--dry-run=server", "--set", "service.type=" + kind)
    notes = said.partition("NOTES:")[2]
    assert words.format(ns=namespace) in notes, notes
    assert "kubectl -n %s scale vpnp/fleet" % namespace in notes
    assert "curl -p -x http://any:TOKEN@" in notes


def test_the_jobs_role_suffices_for_its_pool_and_no_other(control_plane, kubectl, namespace, release, tmp_path,
                                                          definition):
    values = GIVEN
    release("install", "vpn", CHART, *values, "--no-hooks")
    account = "system:serviceaccount:%s:vpn-setup" % namespace
    as_job = control_plane.authority.kubeconfig(
        control_plane.folder / (namespace + ".kubeconfig"), control_plane.server, "job", account)
    file = tmp_path / "pool.yaml"
    text = kubectl.get("configmap", "vpn-pool", namespace)["data"]["pool.yaml"]

    def run(text):
        file.write_text(text)
        return subprocess.run([CONTROLLER, "apply", "-f", file, "--namespace", namespace], text=True,
                              capture_output=True, env={**os.environ, "KUBECONFIG": str(as_job)})
    assert run(text).stdout == "%s/fleet created\n" % namespace
    assert run(text.replace("replicas: 2", "replicas: 3")).stdout == "%s/fleet configured\n" % namespace
    assert "forbidden" in run(text.replace("name: fleet", "name: other")).stderr
    release("uninstall", "vpn")


def test_a_pool_beyond_the_rules_is_refused_in_words(control_plane, kubectl, namespace, release, tmp_path,
                                                    definition):
    values = [*GIVEN, "--set", "pool.network.baseSubnet=10.0.0.1/8"]
    release("install", "vpn", CHART, *values, "--no-hooks")
    with pytest.raises(AssertionError, match="has host bits set"):
        apply_pool(control_plane, kubectl, namespace, tmp_path, values)
    release("uninstall", "vpn")
