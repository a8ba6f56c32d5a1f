"""The CRD and the parser of pool files are one schema: the same fields, ranges and defaults."""

import json
import os
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRD = ROOT / "deploy/helm/open-balena-vpn/files/vpnpools.yaml"
ONE_MACHINE = ("spec.haproxy", "spec.connectProxy", "spec.state", "spec.local")

TYPES = {
    "object": "object", "text": "string", "path": "string", "number": "integer",
    "bool": "boolean", "rate": "string", "subnet": "string", "ipv4": "string",
    "address": "string", "enum": "string", "words": "array", "name": "string",
    "hostport": "string", "names": "array", "labels": "object", "annotations": "object",
    "map": "object", "list": "array",
}
WHOLE = ("labels", "annotations", "map", "list", "names", "words")  # nothing of ours inside


def schema():
    crd = yaml.safe_load(CRD.read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.fixture(scope="module")
def parser():
    lines = subprocess.run([os.environ["VPN_POOL_SCHEMA"]], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    fields = [json.loads(line) for line in lines]
    return {field["path"]: field for field in fields if field["path"].startswith("spec.")}


@pytest.fixture(scope="module")
def crd(parser):
    found = {}

    def walk(node, path):
        for name, inner in node.get("properties", {}).items():
            found["%s.%s" % (path, name)] = inner
            if parser.get("%s.%s" % (path, name), {}).get("kind") not in WHOLE:
                walk(inner, "%s.%s" % (path, name))

    walk(schema()["properties"]["spec"], "spec")
    return found


def test_every_field_of_one_is_in_the_other(parser, crd):
    assert sorted(parser) == sorted(crd)


def test_kubectl_explains_every_field():
    def silent(node, path):
        found = [] if path in ("", ".apiVersion", ".kind", ".metadata") or "description" in node else [path]
        for name, inner in node.get("properties", {}).items():
            found += silent(inner, "%s.%s" % (path, name))
        return found + (silent(node["items"], path) if "properties" in node.get("items", {}) and
                        node["items"].setdefault("description", "-") else [])
    assert silent(schema(), "") == []


def test_types_are_the_same(parser, crd):
    wrong = {path: crd[path].get("type") for path, field in parser.items()
             if crd[path].get("type") != TYPES[field["kind"]]}
    assert wrong == {}


def test_ranges_are_the_same(parser, crd):
    for path, field in parser.items():
        if field["kind"] == "number":
            assert (crd[path]["minimum"], crd[path]["maximum"]) == (field["min"], field["max"]), path
        elif field["kind"] in ("text", "path"):
            assert (crd[path]["minLength"], crd[path]["maxLength"]) == (field["min"], field["max"]), path
        elif field["kind"] == "enum":
            assert crd[path]["enum"] == field["names"], path
        elif field["kind"] in ("labels", "annotations"):
            assert crd[path]["maxProperties"] == 64, path
        elif field["kind"] in ("names", "list"):
            assert crd[path]["maxItems"] == 64, path


# Of which the API server cannot know the default, or shall not write it down.
FOLLOWS = {
    "spec.haproxy.idleTimeoutSeconds": 0,  # openvpn.keepalive.timeoutSeconds
    # written as "unset": the list may become longer in a later version
    "spec.openvpn.dataCiphers": "AES-128-GCM:AES-192-GCM:AES-256-GCM:"
                                "AES-128-CBC:AES-192-CBC:AES-256-CBC",
}


def test_defaults_are_the_same(parser, crd):
    for path, field in parser.items():
        if field["kind"] == "object":
            continue
        if path in FOLLOWS:
            assert "default" not in crd[path] and field["default"] == FOLLOWS[path], path
        else:
            assert crd[path].get("default") == field["default"], path


def test_defaults_are_written_where_they_mean_something(crd):
    """`kubectl get -o yaml` shows what counts, and nothing that only one machine reads."""
    for path, node in crd.items():
        if node.get("type") == "object" and "default" in node:
            assert path not in ONE_MACHINE
            for name, value in node["default"].items():  # of the fields inside, said again
                assert node["properties"][name]["default"] == value, path
    for path in ONE_MACHINE:
        assert "default" not in crd[path]
        assert "One machine only" in crd[path]["description"]


def test_what_is_required_is_required(parser, crd):
    assert [path for path, field in parser.items() if field["required"]] == []
    assert schema()["required"] == ["spec"]


def test_what_has_no_shape_is_kept(crd, parser):
    """A field of Pods that this version does not know yet gets through."""
    for path, field in parser.items():
        if field["kind"] == "map":
            assert crd[path]["x-kubernetes-preserve-unknown-fields"] is True, path
        elif field["kind"] == "list":
            assert crd[path]["items"]["x-kubernetes-preserve-unknown-fields"] is True, path


def rules_in(node):
    yield from node.get("x-kubernetes-validations", [])
    for inner in node.get("properties", {}).values():
        yield from rules_in(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from rules_in(node[key])


def test_every_rule_has_a_message_for_people():
    rules = list(rules_in(schema()))
    assert len(rules) > 40
    for rule in rules:
        assert rule.get("message") and "failed rule" not in rule["message"], rule


def test_every_field_is_in_the_architecture_table(parser):
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| `spec.")]
    named = set()
    for line in table:
        words = [word.strip("`") for word in line.split("|")[1].replace(",", " ").split()]
        first = words[0]
        for word in words:
            if not word.startswith("."):
                named.add(word)
                continue
            # ".keyFile" beside "spec.openvpn.tls.caFile"; ".resources.sidecar" beside
            # "spec.kubernetes.resources.openvpn"
            depth = word.count(".")
            named.add(first.rsplit(".", depth)[0] + word)
    wanted = {path for path, field in parser.items() if field["kind"] != "object"}
    assert wanted - named == set()
    assert {path for path in named if path not in parser} == set()
