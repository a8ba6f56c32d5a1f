"""One cluster for all tests in this folder, made by the first that needs it."""

import os
import pathlib
import subprocess

import pytest

from clusterlab.cluster import Cluster, why_unable
from clusterlab.world import IMAGE

ROOT = pathlib.Path(__file__).resolve().parents[3]
_unable = why_unable()


def pytest_collection_modifyitems(items):
    if _unable:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="CLUSTER TESTS SKIPPED: " + _unable))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture(scope="session")
def cluster():
    cluster = Cluster(os.environ.get("VPN_CLUSTER_NAME", "vct"))
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def image(cluster):
    """Ours, on every node: built now, or the archive that VPN_IMAGE_ARCHIVE names."""
    archive = os.environ.get("VPN_IMAGE_ARCHIVE")
    if not archive:
        archive = cluster.folder / "image.tar"
        subprocess.run([ROOT / "scripts/image", "--tag", IMAGE, "--archive", archive], check=True)
    with cluster.step("the image on every node"):
        cluster.load(archive)
    return IMAGE
