"""The hosted checks cannot be run here. What can be said of them: they are YAML of the right shape, their
actions have versions, and each step calls what the repository has."""

import re

import pytest
import yaml

from chartlab import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def steps(workflow):
    for job in workflow["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_have_a_version(file):
    for step in steps(yaml.safe_load(file.read_text())):
        assert ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]), step["uses"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_what_steps_call_is_there(file):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for step in steps(yaml.safe_load(file.read_text())):
        for line in step.get("run", "").splitlines():
            for target in re.findall(r"(?:^|&& |sudo )make ([a-z-]+)", line):
                assert target in targets, line
            for path in re.findall(r"(?:^|[ \"])((?:scripts|tests|deploy|\.github)/[\w./-]+)", line):
                assert (ROOT / path).exists(), line


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_rights_are_said(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"]["contents"] in ("read", "write")
    assert all(job["runs-on"] for job in workflow["jobs"].values())


def test_the_readme_names_the_versions_that_are_tried():
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    tried = ci["jobs"]["kind"]["strategy"]["matrix"]["kubernetes"]
    minors = ["1." + version.split(".")[1] for version in tried]
    assert "Kubernetes %s to %s" % tuple(minors) in (ROOT / "README.md").read_text()
    chart = yaml.safe_load((ROOT / "deploy/helm/open-balena-vpn/Chart.yaml").read_text())
    assert chart["kubeVersion"] == ">=%s.0-0" % minors[0]
    assert "Kubernetes %s to %s" % tuple(minors) in (
        ROOT / "deploy/helm/open-balena-vpn/README.md").read_text()
