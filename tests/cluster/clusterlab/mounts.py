"""Taking down what a node leaves: mounts, control groups, namespaces."""

import contextlib
import pathlib
import subprocess

from clusterlab.wait import wait_until

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def mounts_below(folder):
    """The last made first."""
    prefix = str(folder) + "/"
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split(" ")[1].replace("\\040", " ") for line in lines]
    return [p for p in reversed(points) if p.startswith(prefix)]


def unmount_below(folder):
    for point in mounts_below(folder):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def hierarchies():
    """The control group hierarchies of this machine: many (v1), or one."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [h for h in CGROUPS.iterdir() if (h / "cgroup.procs").exists() and not h.is_symlink()]


def make_cgroup(name):
    """With all that a kubelet wants of its root."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            with contextlib.suppress(OSError):
                (group / file).write_text((hierarchy / file).read_text())
        controllers = hierarchy / "cgroup.controllers"
        if controllers.exists():
            wanted = " ".join("+" + c for c in controllers.read_text().split())
            for parent in (hierarchy, group):
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(wanted)


def pids_in_cgroup(name):
    found = set()
    for hierarchy in hierarchies():
        for file in (hierarchy / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(p) for p in file.read_text().split())
    return sorted(found)


def remove_cgroup(name):
    def gone():
        left = False
        for hierarchy in hierarchies():
            groups = [p for p in (hierarchy / name).rglob("*") if p.is_dir()]
            for group in [*sorted(groups, reverse=True), hierarchy / name]:
                with contextlib.suppress(OSError):
                    group.rmdir()
            left = left or (hierarchy / name).exists()
        return not left

    wait_until(gone, 20, "the control groups of %s are gone" % name)
