"""SIGTERM ends a pool in order: devices are sent away one by one, all is reported, nothing stays."""

import re
import time

from lab.device import LINES_PORT
from lab.wait import wait_until


def test_sigterm_drains_reports_and_leaves_nothing(make_lab):
    lab = make_lab(replicas=2, drain={"ratePerMinute": 60, "timeoutSeconds": 30})
    lab.devices_online(4, services=False)
    sidecars = [lab.pool.sidecar(i)["serviceId"] for i in (1, 2)]
    assert lab.pool.stop() == 0

    assert lab.pool.processes() == []
    assert lab.machine.run("nft", "list", "tables").stdout == ""
    assert not re.search(r"tun\d", lab.machine.run("ip", "-o", "link").stdout)
    assert list(lab.pool.runtime.glob("*.sock")) == []
    assert lab.api.connected() == set()
    for device in lab.devices:
        assert device.times("Connection reset command was pushed"), "sent away, not cut off"
        assert lab.reports(device.uuid)[-1] == "disconnect"
    assert {d["is_managed_by__service_instance"] for d in lab.api.view()["devices"]
            if d["is_connected_to_vpn"]}.isdisjoint(sidecars)


def test_a_pool_starts_again_where_one_has_stopped(lab):
    device = lab.device().wait_online()
    lab.wait_agreed()
    assert lab.pool.stop() == 0
    lab.pool.start().wait_ready()
    device.wait_online(120, more_than=1)
    lab.wait_agreed()
    wait_until(lambda: lab.reaches(device), 10, "the device is reached")


def test_a_tunnel_whose_device_was_sent_away_is_not_waited_for(lab):
    """A caller keeps it open: within 10 s all the same, which is what `docker stop` gives."""
    device = lab.device().wait_online()
    with lab.connect(device, LINES_PORT) as tunnel:
        assert device.uuid.encode() in tunnel.read_line()
        began = time.monotonic()
        assert lab.pool.stop() == 0
        assert time.monotonic() - began < 9
    assert lab.api.connected() == set()
