"""An API server without nodes, for the tests that want one."""

import itertools
import sys

import pytest

from chartlab import CHART, ROOT

sys.path.append(str(ROOT / "tests/cluster"))
from clusterlab.control_plane import ControlPlane  # noqa: E402
from clusterlab.kubectl import Kubectl  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402

DEFINITION = "vpnpools.vpn.openbalena.io"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory):
    plane = ControlPlane(tmp_path_factory.mktemp("chart"))
    try:
        yield plane.up()
    finally:
        plane.down()


@pytest.fixture(scope="module")
def kubectl(control_plane):
    return Kubectl(control_plane.kubeconfig)


@pytest.fixture
def namespace(kubectl):
    name = "n%d" % next(numbers)
    kubectl.run("create", "namespace", name)
    return name


def make_definition(kubectl):
    kubectl.run("apply", "--server-side", "-f", CHART / "files/vpnpools.yaml")


def remove_definition(kubectl):
    kubectl.run("delete", "crd", DEFINITION, "--ignore-not-found", "--wait=true")


@pytest.fixture
def definition(kubectl):
    """Is there, and belongs to no release."""
    make_definition(kubectl)
    wait_until(lambda: kubectl.run("get", "vpnpools", "--ignore-not-found") == "", 30, "pools are served")
    yield
    remove_definition(kubectl)
