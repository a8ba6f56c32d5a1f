"""`vpn-controller apply` on a real API server: what it waits for, what it says, how it ends."""

import os
import pathlib
import subprocess

import pytest

from conftest import make_definition, remove_definition
from clusterlab.wait import wait_until

CONTROLLER = pathlib.Path(os.environ["VPN_BIN"]) / "vpn-controller"
POOL = """apiVersion: vpn.openbalena.io/v1alpha1
kind: VPNPool
metadata: {name: fleet}
spec:
  openvpn: {tls: {secretName: a}}
  kubernetes: {image: %s}
"""


@pytest.fixture
def apply(control_plane, namespace, tmp_path):
    def start(text=POOL % "vpn:1", *words, kubeconfig=control_plane.kubeconfig):
        file = tmp_path / "pool.yaml"
        file.write_text(text)
        return subprocess.Popen(
            [CONTROLLER, "apply", "-f", file, "--namespace", namespace, *words], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "KUBECONFIG": str(kubeconfig)})

    def run(*words, **more):
        child = start(*words, **more)
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err
    run.start = start
    return run


def test_makes_changes_and_leaves(apply, namespace, definition):
    assert apply() == (0, "%s/fleet created\n" % namespace, "")
    assert apply() == (0, "%s/fleet unchanged\n" % namespace, "")
    assert apply(POOL % "vpn:2") == (0, "%s/fleet configured\n" % namespace, "")


def test_waits_for_a_kind_that_is_not_served_yet(apply, kubectl, namespace):
    remove_definition(kubectl)
    child = apply.start()
    try:
        assert child.poll() is None
        make_definition(kubectl)
        assert child.wait(60) == 0
        assert child.stdout.read() == "%s/fleet created\n" % namespace
    finally:
        child.kill()
        child.wait()
        remove_definition(kubectl)


def test_says_what_it_waited_for_when_the_time_is_over(apply, kubectl):
    remove_definition(kubectl)
    status, out, err = apply(POOL % "vpn:1", "--timeout-seconds", "2")
    assert (status, out) == (1, "")
    assert "404" in err and "vpnpools/fleet" in err


def test_the_api_servers_refusal_is_said_at_once(apply, definition):
    status, _, err = apply(POOL % "vpn:1" + "  network: {gateway: 10.0.0.1, baseSubnet: 10.0.0.0/8}\n")
    assert status == 0, err
    status, _, err = apply(POOL % "vpn:1" + "  network: {baseSubnet: 11.0.0.0/8}\n")
    assert status == 2
    assert "cannot be changed: the addresses of all instances come from it" in err


def test_a_faulty_file_is_not_sent(apply):
    status, out, err = apply(POOL % "vpn:1" + "  replica: 2\n")
    assert (status, out) == (2, "")
    assert "pool.yaml:7:3: spec.replica: unknown field, did you mean 'replicas'?" in err


def test_one_machines_file_is_refused(apply):
    status, _, err = apply("apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\n"
                           "metadata: {name: fleet}\nspec: {openvpn: {tls: {caFile: a}}}\n")
    assert status == 2
    assert "spec.kubernetes.image: is missing: a cluster needs an image" in err


def test_who_may_not_is_told(apply, control_plane, definition):
    nobody = control_plane.authority.kubeconfig(
        control_plane.folder / "nobody.kubeconfig", control_plane.server, "nobody", "nobody")
    status, _, err = apply(kubeconfig=nobody)
    assert status == 1
    assert 'User "nobody" cannot get resource "vpnpools"' in err


def test_an_api_server_that_does_not_answer_is_waited_for(apply, control_plane, namespace, definition):
    control_plane.processes.freeze("kube-apiserver")
    try:
        child = apply.start()
        assert child.poll() is None
    finally:
        control_plane.processes.thaw("kube-apiserver")
    try:
        assert child.wait(60) == 0
        assert child.stdout.read() == "%s/fleet created\n" % namespace
    finally:
        child.kill()
        child.wait()
    wait_until(control_plane.ready, 30, "the API server is well")
