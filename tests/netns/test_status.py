"""How long until a session's start and end are known.

Measured from outside: from the device's own log line that it is online, and from the moment at
which its process was ended, so OpenVPN's own time is included.
"""

import time

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
    devices = [lab.device(start=False, services=False) for _ in range(DEVICES)]
    watch = lab.pool.state.watch()
    wait_until(lambda: watch.of("synced"), 10, "the watch is in step")
    up_state, up_api, down_state, down_api = [], [], [], []
    for number in range(ROUNDS):
        for device in devices:
            since = lab.api.health()["seq"]
            device.start(restart_after=None).wait_online(more_than=number)
            event = wait_until(lambda: watch.of("up", device.uuid)[number:], 5, "state: up")[0]
            reported = wait_until(lambda: api_time(lab, "client-connect", device.uuid, since), 5,
                                  "API: connected")
            up_state.append(event["seen"] - device.last_online())
            up_api.append(reported - device.last_online())
        for device in devices:
            since = lab.api.health()["seq"]
            ended = time.time()
            device.stop(kill=number % 2 == 1)
            event = wait_until(lambda: watch.of("down", device.uuid)[number:], 5, "state: down")[0]
            reported = wait_until(lambda: api_time(lab, "client-disconnect", device.uuid, since),
                                  5, "API: disconnected")
            down_state.append(event["seen"] - ended)
            down_api.append(reported - ended)
    watch.close()
    print()
    assert distribution("start -> state service", up_state) < 0.05
    assert distribution("end -> state service", down_state) < 0.05
    distribution("start -> API", up_api)
    distribution("end -> API", down_api)
    assert max(up_api + down_api) < 2
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
