"""`cmake --install` into a prefix, as packagers do: all is there, and runs from there."""

import os

from conftest import BIN
from lab.netns import run

PROGRAMS = {"vpn-balancer", "vpn-connect-proxy", "vpn-controller", "vpn-sidecar", "vpn-state"}
GETENT = """mkdir -p /run/openvpn && mount --bind "$1" /run/openvpn &&
LD_LIBRARY_PATH="$2" exec getent -s openvpn ahostsv4 "$3" """


def test_a_pool_runs_from_its_prefix(make_lab):
    lab = make_lab(ready=False)
    prefix = lab.folder / "usr"
    run("cmake", "--install", str(BIN.resolve().parent), "--prefix", str(prefix))
    assert {p.name for p in (prefix / "bin").iterdir()} >= PROGRAMS
    (library,) = prefix.rglob("libnss_openvpn.so.2")

    lab.pool.program = str(prefix / "bin/vpn-controller")
    lab.pool.start().wait_ready()
    device = lab.device().wait_online()
    lab.wait_agreed()
    assert lab.reaches(device)
    found = lab.machine.run("unshare", "-m", "sh", "-c", GETENT, "sh", str(lab.pool.runtime),
                            str(library.parent), device.uuid + ".balena").stdout
    assert found.split()[0] == device.vpn_address
    for pid, name, _ in lab.pool.processes():
        if name.startswith("vpn-"):
            assert os.readlink("/proc/%d/exe" % pid) == str(prefix / "bin" / name)
