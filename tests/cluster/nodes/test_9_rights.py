"""After all others: what our accounts asked of the API server, from its audit log."""

import json

import pytest

from clusterlab.world import NAMESPACE

OURS = "system:serviceaccount:%s:" % NAMESPACE
# Counts an Event that is told again: whether one is in this run is chance.
BY_CHANCE = {("vpn-controller", "patch", "events.k8s.io", "events")}


def calls(cluster):
    """Of our accounts: (account, verb, group, resource with its subresource, code)"""
    for line in cluster.control_plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        name = event["user"].get("username", "")
        if name.startswith(OURS) and "objectRef" in event:
            where = event["objectRef"]
            resource = "/".join(filter(None, [where["resource"], where.get("subresource")]))
            # Applying what is not there yet is a patch that takes the right to create.
            created = event["verb"] == "patch" and event["responseStatus"]["code"] == 201
            for verb in [event["verb"]] + ["create"] * created:
                yield (name.removeprefix(OURS), verb, where.get("apiGroup", ""), resource,
                       event["annotations"].get("authorization.k8s.io/decision"))


def granted(world):
    """(account, verb, group, resource) of every Role of the release"""
    bindings = {b["roleRef"]["name"]: b["subjects"] for b in
                world.kubectl.get("rolebindings", namespace=NAMESPACE)}
    for role in world.kubectl.get("roles", namespace=NAMESPACE):
        for subject in bindings.get(role["metadata"]["name"], []):
            for rule in role["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        for verb in rule["verbs"]:
                            yield subject["name"], verb, group, resource


@pytest.mark.own
def test_no_call_was_denied(world):
    denied = sorted({c[:4] for c in calls(world.cluster) if c[4] == "forbid"})
    assert not denied, "\n".join(map(str, denied))


@pytest.mark.own
def test_every_right_was_used(world):
    """Or is what a watch begins with at an API server that is too old to stream a list."""
    used = {c[:4] for c in calls(world.cluster) if c[4] == "allow"}
    used |= {(account, "list", *what) for account, verb, *what in used if verb == "watch"}
    unused = sorted(set(granted(world)) - used - BY_CHANCE)
    assert not unused, "\n".join(map(str, unused))


def test_roles_have_no_wildcard_and_read_no_secret(world):
    for _, verb, group, resource in granted(world):
        assert "*" not in (verb, group, resource)
        assert resource != "secrets"
