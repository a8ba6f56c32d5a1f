"""One cluster for all tests in this folder, made by the first that needs it."""

import os
import socket

import pytest

from clusterlab.cluster import Cluster
from clusterlab.image import load
from clusterlab.world import World


def free_name():
    """Of a cluster that no other run has now; what a killed run left under it is cleaned up."""
    for name in ("vct", *("vct%d" % n for n in range(2, 10))):
        lock = socket.socket(socket.AF_UNIX)  # abstract: nothing to clean up
        try:
            lock.bind("\0openbalena-vpn-cluster-" + name)
        except OSError:
            lock.close()
            continue
        return name, lock
    raise RuntimeError("nine clusters run")


_name, _lock = free_name()
cluster_of_ours = Cluster(os.environ.get("VPN_CLUSTER_NAME", _name))
_unable = cluster_of_ours.why_unable()


def pytest_collection_modifyitems(items):
    if _unable:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="CLUSTER TESTS SKIPPED: " + _unable))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure is told when it happens: what follows may take long."""
    report = (yield).get_result()
    if report.failed:
        item.failed = True
        print("\n" + report.longreprtext)


@pytest.fixture(scope="session")
def cluster():
    cluster_of_ours.up()
    yield cluster_of_ours
    cluster_of_ours.down()


@pytest.fixture(scope="session")
def image(cluster):
    """Ours, on every node."""
    return load(cluster)


@pytest.fixture(scope="session")
def installation(cluster, image):
    """The chart with a pool of two, and four devices; said with times, as a user would see them."""
    world = World(cluster)
    try:
        with cluster.step("helm install until all Deployments are ready"):
            world.install()
        with cluster.step("the pool serves"):
            world.wait_pool(2)
        with cluster.step("four devices are online"):
            for device in [world.device() for _ in range(4)]:
                device.wait_online()
    except BaseException:
        world.tell()
        world.close()
        raise
    yield world
    world.close()


@pytest.fixture
def world(installation, request):
    """The installation as it was at first. After a failure it tells all there is to know."""
    installation.wait_well()
    yield installation
    if getattr(request.node, "failed", False):
        installation.tell()
