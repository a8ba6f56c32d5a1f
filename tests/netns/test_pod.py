"""An instance as in a Pod: containers that may nothing, one directory between them, drains from
OpenVPN's preStop, state services that come and go."""

import hashlib
import hmac
import json
import os
import stat

import pytest
from conftest import BIN
from lab.lab import SERVICE_KEY
from lab.pod import USER, PodLab
from lab.wait import holds, wait_until

STATE_A, STATE_B, STATE_C = "127.0.0.11", "127.0.0.12", "127.0.0.13"


def token(purpose):
    return hmac.new(SERVICE_KEY.encode(), purpose.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def pod(request):
    pod = PodLab(BIN)
    yield pod
    failed = getattr(request.node, "failed", False)
    wrong = pod.stop()
    if failed or wrong:
        pod.print_logs()
    pod.close(keep=failed or bool(wrong))
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def running(pod):
    pod.start_state(STATE_A)
    pod.start_sidecar("--drain-delay-seconds", "2")
    pod.start_openvpn()
    return pod.wait_ready()


def status(pod):
    return json.loads(pod.http("GET", "/v1/status")[1])


def test_containers_that_may_nothing_serve_a_device(running):
    pod = running
    device = pod.device().wait_online()
    wait_until(lambda: pod.reaches(device), 10, "reached through the sidecar's own proxy")
    for name, owner, mode in (("management", 0, 0o777), ("control", USER, 0o660),
                              ("nss-1", USER, 0o666)):
        found = os.stat(pod.socket(name))
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (owner, USER, mode)
    wait_until(lambda: pod.api.connected() == {device.uuid}, 5, "reported")
    assert wait_until(lambda: pod.state(STATE_A).device(device.uuid), 5, "known")


def test_control_over_tcp_changes_nothing_without_the_token(running):
    pod = running
    assert pod.http("GET", "/healthz")[0] == 200
    assert "vpn_online_devices" in pod.http("GET", "/metrics")[1]
    assert pod.http("POST", "/v1/drain", body="{}")[0] == 401
    assert pod.http("POST", "/v1/drain", body="{}", token=token("vpn-state feed"))[0] == 401
    assert status(pod)["phase"] == "ready"
    assert pod.http("POST", "/v1/drain", body="{}", token=token("vpn-sidecar control"))[0] == 202
    assert status(pod)["phase"] == "draining"
    assert not pod.ready()


def test_drain_of_a_pod_that_ends(running):
    """preStop, then OpenVPN, then the sidecar: every device is told to go, every end is reported."""
    pod = running
    devices = [pod.device(services=False) for _ in range(3)]
    for device in devices:
        device.wait_online()
    done = pod.drain_command("--rate-per-minute", "600", "--timeout-seconds", "20")
    assert done.returncode == 0, done.stderr
    assert status(pod)["phase"] == "drained"
    for device in devices:
        device.wait_offline(10)
    pod.processes["openvpn"].terminate()
    pod.processes["openvpn"].wait(10)
    pod.processes["sidecar"].terminate()
    assert pod.processes["sidecar"].wait(20) == 0
    assert pod.api.connected() == set()
    for device in devices:
        assert pod.reports(device.uuid) == ["connect", "disconnect"]
    assert pod.state(STATE_A).devices() == {}


def test_drain_lets_newcomers_in_until_haproxy_had_its_time(pod):
    pod.start_state(STATE_A)
    pod.start_sidecar("--drain-delay-seconds", "30")
    pod.start_openvpn()
    pod.wait_ready()
    first = pod.device(services=False).wait_online()
    body = json.dumps({"ratePerMinute": 600, "timeoutSeconds": 120})
    assert pod.http("POST", "/v1/drain", body=body, token=token("vpn-sidecar control"))[0] == 202
    assert not pod.ready()
    late = pod.device(services=False).wait_online(20)
    assert first.connections == 1 and late.refusals() == []
    assert status(pod)["phase"] == "draining"


def test_drain_without_a_sidecar_is_an_error_that_says_so(pod):
    done = pod.drain_command("--timeout-seconds", "five")
    assert done.returncode == 2 and "--timeout-seconds" in done.stderr
    done = pod.drain_command("--control", "nowhere")
    assert done.returncode == 2 and "--control" in done.stderr


def test_openvpn_of_a_pod_restarts(running):
    pod = running
    device = pod.device().wait_online()
    wait_until(lambda: pod.reports(device.uuid) == ["connect"], 5, "reported")
    before = status(pod)
    pod.kill9("openvpn")
    wait_until(lambda: pod.reports(device.uuid) == ["connect", "disconnect"], 15, "its end")
    wait_until(lambda: not pod.ready(), 5, "not ready")
    pod.start_openvpn()
    device.wait_online(60, more_than=1)
    wait_until(lambda: pod.reports(device.uuid) == ["connect", "disconnect", "connect"], 5, "again")
    after = status(pod)
    assert (after["epoch"], after["serviceId"]) == (before["epoch"], before["serviceId"])
    assert after["openvpnPid"] != before["openvpnPid"]
    found = pod.state(STATE_A).device(device.uuid)
    assert found["session"].startswith("2."), "a new generation of the same epoch"
    wait_until(lambda: pod.reaches(device), 10, "reached again")


def test_sidecar_of_a_pod_restarts(running):
    pod = running
    device = pod.device().wait_online()
    wait_until(lambda: pod.reports(device.uuid) == ["connect"], 5, "reported")
    before = status(pod)
    pod.kill9("sidecar")
    pod.start_sidecar()
    pod.wait_ready()
    after = status(pod)
    assert (after["epoch"], after["serviceId"]) == (before["epoch"], before["serviceId"])
    assert after["sessions"] == 1 and device.connections == 1
    assert pod.reports(device.uuid) == ["connect"]
    assert "new life" not in pod.log("sidecar").split("going on")[1]
    wait_until(lambda: pod.reaches(device), 10, "reached")


def test_openvpn_waits_for_its_sidecar(pod):
    pod.start_openvpn()
    wait_until(lambda: os.path.exists(pod.socket("management")), 10, "the socket")
    assert "tun1" not in pod.machine.run("ip", "-br", "link").stdout
    pod.start_state(STATE_A)
    pod.start_sidecar()
    pod.wait_ready()
    assert "tun1" in pod.machine.run("ip", "-br", "link").stdout


def test_pod_with_an_ipv6_address(pod):
    """$(POD_IP):3128 has no brackets there."""
    pod.start_state(STATE_A)
    pod.start_sidecar("--proxy-advertise", "fd00::5:3128")
    pod.start_openvpn()
    pod.wait_ready()
    wait_until(lambda: [i["proxy"] for i in pod.state(STATE_A).instances()] == ["[fd00::5]:3128"],
               10, "told with brackets")


# --- state services ---


def expect(pod, address, *instances):
    body = json.dumps({"instances": [{"index": i, "epoch": e} for i, e in instances]})
    return pod.http("PUT", "/v1/expected", 8090, address, body, token("vpn-state feed"))[0]


def test_each_state_service_is_fed_and_one_may_die(pod):
    pod.name(STATE_A, STATE_B)
    for address in (STATE_A, STATE_B):
        pod.start_state(address, "--start-grace-seconds", "300")
    pod.start_sidecar()
    pod.start_openvpn()
    pod.wait_ready()
    device = pod.device().wait_online()
    for address in (STATE_A, STATE_B):
        assert wait_until(lambda: expect(pod, address, (1, pod.epoch)) == 204, 5, "listens")
        wait_until(lambda: pod.state(address).ready(), 10, "ready: all were heard")
        wait_until(lambda: pod.state(address).device(device.uuid), 5, "knows")

    pod.kill9("state-" + STATE_A)
    second = pod.device().wait_online()
    wait_until(lambda: pod.state(STATE_B).device(second.uuid), 5, "the other goes on")
    pod.start_state(STATE_A, "--start-grace-seconds", "300")
    wait_until(lambda: {i["index"] for i in pod.state(STATE_A).instances()} == {1}, 10, "fed again")
    assert not pod.state(STATE_A).ready(), "it does not know yet whether that is all"
    expect(pod, STATE_A, (1, pod.epoch), (2, "another"))
    wait_until(lambda: set(pod.state(STATE_A).devices()) == {device.uuid, second.uuid}, 5, "knows")
    assert not pod.state(STATE_A).ready(), "index 2 has not been heard"
    assert pod.state(STATE_A).get("/v1/devices/" + "0" * 32)[0] == 503
    expect(pod, STATE_A, (1, pod.epoch))
    wait_until(lambda: pod.state(STATE_A).ready(), 10, "ready")
    assert pod.state(STATE_A).get("/v1/devices/" + "0" * 32)[0] == 404
    assert device.connections == 1 and second.connections == 1


def feeds(pod):
    return sum(i["connected"] for address in (STATE_A, STATE_B, STATE_C)
               if "state-" + address in pod.processes
               and pod.processes["state-" + address].poll() is None
               for i in pod.state(address).instances())


def test_feeds_follow_the_name(pod):
    pod.name(STATE_A, STATE_B)
    for address in (STATE_A, STATE_B, STATE_C):
        pod.start_state(address, "--lost-seconds", "1")
    pod.start_sidecar()
    pod.start_openvpn()
    pod.wait_ready()
    wait_until(lambda: feeds(pod) == 2, 10, "one feed for each address")
    pod.name(STATE_B, STATE_C)
    wait_until(lambda: [i["connected"] for i in pod.state(STATE_C).instances()] == [True], 15, "new")
    wait_until(lambda: pod.state(STATE_A).instances() == [], 15, "left")
    assert feeds(pod) == 2
    pod.name()  # a look-up that fails
    holds(lambda: feeds(pod) == 2, 6, "what is known stays")
    assert pod.ready()
