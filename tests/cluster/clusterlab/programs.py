"""The cluster's programs, built and kept by tools/install."""

import functools
import pathlib
import subprocess
import sys

INSTALL = pathlib.Path(__file__).resolve().parent.parent / "tools/install"


def install(*names):
    """Builds what is not there yet: the first time takes minutes and says so."""
    subprocess.run([INSTALL, *names], check=True, stdout=sys.stderr)


@functools.cache
def path(name):
    return subprocess.run([INSTALL, "--print-path", name], check=True, capture_output=True,
                          text=True).stdout.strip()
