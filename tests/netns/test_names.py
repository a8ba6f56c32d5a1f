"""`getent hosts` on the machine: names of devices through the NSS module, in a process that has
nothing to do with us. It asks sockets in /run/openvpn, so it runs where that is the pool's folder."""

import pathlib

from conftest import BIN
from lab.device import new_uuid
from lab.wait import wait_until

LIBRARIES = pathlib.Path(BIN).resolve().parent / "lib"
SCRIPT = """mkdir -p /run/openvpn && mount --bind "$1" /run/openvpn && shift &&
LD_LIBRARY_PATH="$1" exec getent -s openvpn ahostsv4 "$2" """


def lookup(lab, name):
    """-> the address, None: not found"""
    done = lab.machine.run("unshare", "-m", "sh", "-c", SCRIPT, "sh", str(lab.pool.runtime),
                           str(LIBRARIES), name, check=False)
    return done.stdout.split()[0] if done.returncode == 0 else None


def test_names_of_devices(make_lab):
    lab = make_lab(replicas=2)
    for _ in range(3):
        lab.device(services=False)
    for device in lab.devices:
        device.wait_online()
        for tld in ("balena", "vpn", "resin"):
            assert lookup(lab, "%s.%s" % (device.uuid, tld)) == device.vpn_address
    assert lookup(lab, new_uuid() + ".balena") is None
    assert lookup(lab, "localhost.balena") is None

    gone = lab.devices[0]
    gone.stop()
    wait_until(lambda: lookup(lab, gone.uuid + ".balena") is None, 10, "an offline device has none")


def test_status_files_answer_while_a_sidecar_is_dead(make_lab):
    lab = make_lab(openvpn={"statusIntervalSeconds": 1})
    device = lab.device(services=False).wait_online()
    status = lab.pool.runtime / "server-1.status"
    row = "%s,%s" % (device.vpn_address, device.uuid)  # of its routing table: complete
    wait_until(lambda: row in status.read_text(), 10, "OpenVPN has written it")
    lab.pool.kill9("vpn-controller")
    lab.pool.kill9("vpn-sidecar")
    assert lookup(lab, device.uuid + ".balena") == device.vpn_address
    lab.pool.start().wait_ready()
