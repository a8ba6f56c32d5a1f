"""Fixtures: `make_lab(**spec)` builds a world with a running pool, `lab` one with the defaults."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "balena-api")]

from lab.lab import Lab  # noqa: E402
from lab.netns import why_unable  # noqa: E402

BIN = pathlib.Path(os.environ.get("VPN_BIN", HERE.parent.parent / "build/dev/bin"))
_unable = why_unable()


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not (BIN / "vpn-controller").exists():
        pytest.exit("no programs in %s: build them, or say where with VPN_BIN" % BIN, 2)


def pytest_collection_modifyitems(items):
    if _unable:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="END-TO-END TESTS SKIPPED: " + _unable))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture
def make_lab(request):
    labs = []

    def make(ready=True, **spec):
        lab = Lab(BIN, **spec)
        labs.append(lab)
        if ready:
            lab.pool.start().wait_ready()
        return lab

    yield make
    failed = getattr(request.node, "failed", False)
    problems = []
    for lab in labs:
        if not lab.stop_pool():
            problems.append("the controller did not stop in order")
        reports = lab.sanitizer_reports()
        problems += reports
        if failed or problems:
            lab.print_logs()
        lab.close(keep=failed or bool(problems))
    assert not problems, "\n".join(problems)


@pytest.fixture
def lab(make_lab):
    return make_lab()
