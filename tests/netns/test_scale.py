"""More and fewer instances: newcomers land on the new one, victims are drained at the set rate."""

from lab.subnets import Block
from lab.wait import wait_until

RATE = 60  # devices a minute


def by_index(lab):
    found = {}
    known = lab.pool.state.devices()
    for device in lab.devices:
        found.setdefault(known[device.uuid]["instance"]["index"], []).append(device)
    return found


def test_up_and_down(make_lab):
    lab = make_lab(replicas=2, drain={"ratePerMinute": RATE, "timeoutSeconds": 60})
    lab.devices_online(6, services=False)
    assert {i: len(d) for i, d in by_index(lab).items()} == {1: 3, 2: 3}

    lab.pool.change(replicas=3)
    lab.pool.wait_ready(30)
    new = [lab.device(services=False) for _ in range(3)]
    for device in new:
        device.wait_online()
    lab.wait_agreed()
    assert sorted(d.number for d in by_index(lab)[3]) == sorted(d.number for d in new)
    assert {Block(3).offset(d.vpn_address) for d in new} == {3, 4, 5}
    assert all(d.connections == 1 for d in lab.devices), "nobody was moved for it"

    shrink(lab)


def shrink(lab):
    before = by_index(lab)
    ids = {i: lab.pool.sidecar(i)["serviceId"] for i in before}
    lab.pool.change(replicas=1)
    wait_until(lambda: len(lab.pool.pids("openvpn")) == 1, 150, "one instance is left")
    (kept,) = [i for i in before if lab.pool.pids("openvpn", i)]
    moved = [d for i, devices in before.items() if i != kept for d in devices]
    for device in moved:
        device.wait_online(60, more_than=1)
    lab.wait_agreed(10)

    assert set(by_index(lab)) == {kept}
    assert all(d.connections == 1 for d in before[kept])
    for device in moved:
        assert lab.reports(device.uuid) in (["connect", "disconnect", "connect"],
                                            ["connect", "connect"])
    assert all(d["is_managed_by__service_instance"] == ids[kept]
               for d in lab.api.view()["devices"])
    for index, devices in before.items():
        if index != kept:
            drained_at_the_rate(devices)
    wait_until(lambda: lab.pool.in_haproxy() and len(lab.pool.in_haproxy()) == 1, 20,
               "one server in haproxy")


def drained_at_the_rate(devices):
    """Told one by one: no two of an instance within half of the rate's interval."""
    told = sorted(d.times("Connection reset command was pushed")[0] for d in devices)
    gaps = [b - a for a, b in zip(told, told[1:])]
    assert min(gaps) >= 60 / RATE / 2, "gaps %s" % gaps


def test_to_none_and_back(make_lab):
    lab = make_lab(replicas=1, drain={"timeoutSeconds": 5})
    device = lab.device(services=False).wait_online()
    lab.wait_agreed()
    lab.pool.change(replicas=0)
    wait_until(lambda: lab.pool.pids("openvpn") == [], 60, "no instance runs")
    wait_until(lambda: lab.api.connected() == set(), 10, "reported disconnected")
    lab.pool.change(replicas=1)
    lab.pool.wait_ready(60)
    device.wait_online(180, more_than=1)
    lab.wait_agreed(10)


def test_a_roll_moves_each_device_once(make_lab):
    """From what was there to what is new, never from one that is to go to the next."""
    lab = make_lab(replicas=2)
    lab.devices_online(4, services=False)
    old = set(by_index(lab))
    lab.pool.change(openvpn={"handWindowSeconds": 61})
    wait_until(lambda: not any(lab.pool.pids("openvpn", i) for i in old), 120, "the old are gone")
    for device in lab.devices:
        device.wait_online(60, more_than=1)
    lab.wait_agreed(10)
    assert [d.connections for d in lab.devices] == [2] * 4
    assert len(by_index(lab)) == 2 and not set(by_index(lab)) & old
