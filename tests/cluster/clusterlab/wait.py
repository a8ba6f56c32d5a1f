"""Waiting for conditions: the one that the tests of one machine use."""

import pathlib
import sys

_tests = pathlib.Path(__file__).resolve().parent.parent.parent
for _folder in ("netns", "balena-api"):
    if str(_tests / _folder) not in sys.path:
        sys.path.append(str(_tests / _folder))

from lab.wait import Hopeless, holds, wait_until  # noqa: E402, F401
