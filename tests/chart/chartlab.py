"""Rendering the chart, and reading what came out."""

import functools
import pathlib
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "deploy/helm/open-balena-vpn"
CASES = sorted(path.stem for path in (HERE / "cases").glob("*.yaml"))
KUBE_VERSION = "1.34.0"


@functools.cache
def program(name):
    """One of the cluster's; built the first time."""
    tool = ROOT / "tests/cluster/tools/install"
    subprocess.run([tool, name], check=True, stdout=sys.stderr)
    return subprocess.run([tool, "--print-path", name], check=True, capture_output=True,
                          text=True).stdout.strip()


def helm(*words, check=True, **more):
    return subprocess.run([program("helm"), *map(str, words)], check=check, capture_output=True,
                          text=True, **more)


def case(name):
    return HERE / "cases" / (name + ".yaml")


def template(*words, check=True):
    return helm("template", "vpn", CHART, "--namespace", "vpn", "--kube-version", KUBE_VERSION, *words,
                check=check)


@functools.cache
def rendered(name):
    """The objects of a case"""
    return [o for o in yaml.safe_load_all(template("--values", case(name)).stdout) if o]


def pod_specs(objects):
    """-> (kind/name, Pod's metadata, Pod's spec) of all that makes Pods"""
    for o in objects:
        name = "%s/%s" % (o["kind"], o["metadata"]["name"])
        if o["kind"] == "Pod":
            yield name, o["metadata"], o["spec"]
        elif o["kind"] in ("Deployment", "Job"):
            template = o["spec"]["template"]
            yield name, template["metadata"], template["spec"]
