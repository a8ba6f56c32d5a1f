"""How long until a session's start and end are known.

Measured from OpenVPN's own event: the moment at which `>CLIENT:ESTABLISHED` or `>CLIENT:DISCONNECT`
came out of its management socket, noted by a tap between it and the sidecar. Beside it, as seen
from outside: from the moment at which the device's process was ended.
"""

import time

from lab.tap import Tap
from lab.wait import wait_until

ROUNDS = 4
DEVICES = 4


def distribution(name, seconds):
    ordered = sorted(1000 * s for s in seconds)
    at = lambda p: ordered[min(len(ordered) - 1, int(p * len(ordered)))]  # noqa: E731
    print("%-34s n=%d  min %.1f  p50 %.1f  p90 %.1f  max %.1f ms" % (
        name, len(ordered), ordered[0], at(0.5), at(0.9), ordered[-1]))
    return at(0.5) / 1000


def api_time(lab, call, uuid, since):
    """When the API took in the report about uuid, Unix s."""
    entries = [e for e in lab.api.log(since, call=call) if uuid in e.get("changed", ())]
    return entries[-1]["wall_ms"] / 1000 if entries else None


def test_starts_and_ends_are_known_at_once(lab):
    tap = Tap(lab.pool, 1)
    try:
        measure(lab, tap)
    finally:
        tap.close()


def measure(lab, tap):
    devices = [lab.device(start=False, services=False) for _ in range(DEVICES)]
    watch = lab.pool.state.watch()
    wait_until(lambda: watch.of("synced"), 10, "the watch is in step")
    found = {name: [] for name in ("start -> state service", "end -> state service",
                                   "start -> API", "end -> API", "process's end -> state service")}

    def known(device, number, kind, event, call, since):
        """Waits until all know, notes how long it took. -> when the state service said so"""
        seen = wait_until(lambda: watch.of(kind, device.uuid)[number:], 5, "state: " + kind)[0]
        api = wait_until(lambda: api_time(lab, call, device.uuid, since), 5, "API: " + kind)
        began = wait_until(lambda: tap.times(event, device.uuid)[number:], 5, "the tap: " + kind)[0]
        what = "start" if kind == "up" else "end"
        found[what + " -> state service"].append(seen["seen"] - began)
        found[what + " -> API"].append(api - began)
        return seen["seen"]

    for number in range(ROUNDS):
        for device in devices:
            since = lab.api.health()["seq"]
            device.start(restart_after=None).wait_online(more_than=number)
            known(device, number, "up", "ESTABLISHED", "client-connect", since)
        for device in devices:
            since = lab.api.health()["seq"]
            ended = time.time()
            device.stop(kill=number % 2 == 1)
            at = known(device, number, "down", "DISCONNECT", "client-disconnect", since)
            found["process's end -> state service"].append(at - ended)
    watch.close()
    print()
    typical = {name: distribution(name, seconds) for name, seconds in found.items()}
    assert typical["start -> state service"] < 0.05
    assert typical["end -> state service"] < 0.05
    assert max(found["start -> API"] + found["end -> API"]) < 2
    assert min(map(min, found.values())) > 0, "nothing is known before OpenVPN's own event"
    for device in devices:
        assert lab.reports(device.uuid) == ["connect", "disconnect"] * ROUNDS


def test_quick_reconnect_ends_connected(lab):
    """The end of the old session and the start of the new one are reported in that order."""
    device = lab.device(services=False).wait_online()
    for number in range(1, 4):
        device.stop(kill=True)
        device.start().wait_online(more_than=number)
    lab.wait_agreed()
    assert lab.reports(device.uuid)[-1] == "connect"
    assert lab.api.connected() == {device.uuid}
