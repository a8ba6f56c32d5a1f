"""Our image, built and put on every node."""

import os
import pathlib
import subprocess
import sys

from clusterlab.world import IMAGE

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "scripts/image"


def load(cluster, tag=IMAGE):
    """VPN_IMAGE_ARCHIVE: an archive that was built before, to be used instead."""
    archive = os.environ.get("VPN_IMAGE_ARCHIVE") if tag == IMAGE else None
    built = None
    if not archive:
        archive = built = cluster.folder / "image.tar"
        with cluster.step("the image is built"):
            subprocess.run([SCRIPT, "--tag", tag, "--archive", built], check=True,
                           stdout=sys.stderr)
    with cluster.step("the image is on every node"):
        cluster.load(archive)
    if built:
        built.unlink()
    return tag
