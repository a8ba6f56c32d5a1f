"""One cluster for all tests in this folder, made by the first that needs it."""

import os
import socket

import pytest

from clusterlab.cluster import Cluster
from clusterlab.given import choose
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


def make_cluster(name):
    """One of ours, unless that of KUBECONFIG is meant: VPN_CLUSTER_API_HOST is set for nothing else."""
    return choose(name) if os.environ.get("VPN_CLUSTER_API_HOST") else Cluster(name)


_name, _lock = free_name()
the_cluster = make_cluster(os.environ.get("VPN_CLUSTER_NAME", _name))
_unable = the_cluster.why_unable()


def pytest_configure(config):
    config.addinivalue_line("markers", "own: does to nodes, processes or the API server what only a"
                                       " cluster of ours lets it, or needs a route to Pods")


def pytest_collection_modifyitems(items):
    if _unable and not the_cluster.own:  # somebody wants them to run there
        raise pytest.UsageError(_unable)
    for item in items:
        if _unable:
            item.add_marker(pytest.mark.skip(reason="CLUSTER TESTS SKIPPED: " + _unable))
        elif not the_cluster.own and item.get_closest_marker("own"):
            item.add_marker(pytest.mark.skip(reason="needs a cluster of ours"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure is told when it happens: what follows may take long."""
    report = (yield).get_result()
    if report.failed:
        item.failed = True
        print("\n" + report.longreprtext)


@pytest.fixture(scope="session")
def cluster():
    the_cluster.up()
    yield the_cluster
    the_cluster.down()


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
