"""vpn-balancer between a real API server and the real haproxy."""

import json
import secrets
import subprocess

import pytest
from clusterlab.wait import holds, wait_until
from clusterlab.balancing import BIN, SLICES, Balancing, endpoint


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = Balancing(tmp_path_factory.mktemp("b"), "vb-" + secrets.token_hex(2))
    try:
        for n in range(1, 7):
            world.pod("10.20.0.%d" % n)
        world.pod("fd20::1")
        yield world
    finally:
        world.close()


@pytest.fixture
def lab(world):
    """With haproxy and a balancer that has nothing to balance."""
    world.start_haproxy()
    world.start_balancer()
    wait_until(world.ready, 20, "ready")
    yield world
    print(world.logs())  # seen if it failed
    report = world.stop_balancer()
    world.processes.stop("haproxy", kill=True)
    for item in world.api("GET", SLICES)["items"]:
        world.delete_slice(item["metadata"]["name"])
    assert not report


def servers(lab):
    status, body = lab.told("/v1/servers")
    assert status == 200, body
    return json.loads(body)


def settled(lab):
    return wait_until(lambda: servers(lab)["settled"], 10, "settled")


def test_endpoints_become_servers(lab):
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"), endpoint("fleet-2", "10.20.0.2", ready=False))
    lab.slice("other", endpoint("web-1", "10.20.0.3"), service="web")
    lab.wait_servers(fleet_1="ready", fleet_2="drain")
    assert lab.in_haproxy()["fleet-1"][0] == "10.20.0.1:1194"
    assert lab.client().pod_address == "10.20.0.1"
    lab.slice("a", endpoint("fleet-1", "10.20.0.1", ready=False, terminating=True),
              endpoint("fleet-2", "10.20.0.2"))
    lab.wait_servers(fleet_1="drain", fleet_2="ready")
    assert lab.client().pod_address == "10.20.0.2"
    settled(lab)
    assert {s["name"]: (s["address"], s["mode"]) for s in servers(lab)["servers"]} == \
        lab.in_haproxy()


def test_slices_are_one_service(lab):
    """A Pod in two slices is one server, and stays one when it leaves one of them."""
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"), endpoint("fleet-2", "10.20.0.2"))
    lab.slice("b", endpoint("fleet-2", "10.20.0.2"), endpoint("fleet-3", "10.20.0.3"))
    lab.wait_servers(fleet_1="ready", fleet_2="ready", fleet_3="ready")
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.slice("c", endpoint("fleet-4", "10.20.0.4"))
    lab.wait_servers(fleet_1="ready", fleet_2="ready", fleet_3="ready", fleet_4="ready")
    lab.delete_slice("b")
    lab.wait_servers(fleet_1="ready", fleet_4="ready")


def test_both_families(lab):
    lab.slice("six", endpoint("fleet-1", "fd20::1"), family="IPv6")
    lab.wait_servers(fleet_1="ready")
    assert lab.in_haproxy()["fleet-1"][0] == "[fd20::1]:1194"
    assert lab.client().pod_address == "fd20::1"
    settled(lab)
    lab.slice("four", endpoint("fleet-1", "10.20.0.1"))
    wait_until(lambda: lab.in_haproxy()["fleet-1"] == ("10.20.0.1:1194", "ready"), 10, "IPv4 wins")


def test_haproxy_that_was_restarted_has_all_again(lab):
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"), endpoint("fleet-2", "10.20.0.2", ready=False))
    lab.wait_servers(fleet_1="ready", fleet_2="drain")
    lab.processes.stop("haproxy", kill=True)
    wait_until(lambda: not lab.ready(), 10, "not ready without haproxy")
    assert lab.told("/v1/servers")[0] == 503
    lab.start_haproxy()
    lab.wait_servers(fleet_1="ready", fleet_2="drain")
    wait_until(lab.ready, 5, "ready")


def test_who_is_connected_to_a_pod_that_goes_is_not_cut(lab):
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.wait_servers(fleet_1="ready")
    device = lab.client()
    lab.slice("a", endpoint("fleet-2", "10.20.0.2"))
    lab.wait_servers(fleet_1="drain", fleet_2="ready")
    assert device.pod_address == "10.20.0.1" and device.alive
    assert {lab.client().pod_address for _ in range(3)} == {"10.20.0.2"}
    assert device.alive
    device.close()
    lab.wait_servers(fleet_2="ready")
    assert lab.metric("vpn_balancer_cut_connections_total") == 0


def test_who_stays_too_long_is_cut(lab):
    lab.processes.stop("vpn-balancer")
    lab.start_balancer(gone_seconds=2)
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.wait_servers(fleet_1="ready")
    device = lab.client()
    lab.delete_slice("a")
    lab.wait_servers(fleet_1="drain")
    assert device.alive
    lab.wait_servers()
    assert not device.alive
    assert lab.metric("vpn_balancer_cut_connections_total") == 1


def test_another_address_waits_for_the_connections_to_the_old(lab):
    """A Pod that was made again under its name."""
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.wait_servers(fleet_1="ready")
    device = lab.client()
    lab.slice("a", endpoint("fleet-1", "10.20.0.5"))
    lab.wait_servers(fleet_1="drain")
    holds(lambda: lab.in_haproxy()["fleet-1"] == ("10.20.0.1:1194", "drain") and device.alive, 2,
          "the address stays while somebody is connected")
    device.close()
    wait_until(lambda: lab.in_haproxy().get("fleet-1") == ("10.20.0.5:1194", "ready"), 10, "new")
    assert lab.client().pod_address == "10.20.0.5"


def test_balancer_that_was_killed_goes_on(lab):
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"), endpoint("fleet-2", "10.20.0.2", ready=False))
    lab.wait_servers(fleet_1="ready", fleet_2="drain")
    device = lab.client()
    lab.processes.stop("vpn-balancer", kill=True)
    lab.slice("a", endpoint("fleet-2", "10.20.0.2"))
    assert device.alive
    lab.start_balancer()
    lab.wait_servers(fleet_1="drain", fleet_2="ready")
    assert device.alive, "gone while nobody looked, and yet not cut"
    device.close()
    lab.wait_servers(fleet_2="ready")


def test_api_server_that_hangs_takes_nothing_away(lab):
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.wait_servers(fleet_1="ready")
    device = lab.client()
    lab.freeze_api()
    try:
        holds(lambda: lab.ready() and device.alive and lab.client().alive, 3, "all goes on")
        lab.processes.stop("haproxy", kill=True)
        lab.start_haproxy()
        lab.wait_servers(fleet_1="ready")
        assert lab.client().pod_address == "10.20.0.1"
    finally:
        lab.thaw_api()
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"), endpoint("fleet-2", "10.20.0.2"))
    lab.wait_servers(timeout=40, fleet_1="ready", fleet_2="ready")


def test_no_reload_ever(lab):
    pid = lab.processes.pid("haproxy")
    before = lab.haproxy("show info")
    for n in range(1, 7):
        lab.slice("a", *(endpoint("fleet-%d" % k, "10.20.0.%d" % k) for k in range(1, n + 1)))
    lab.wait_servers(**{"fleet_%d" % k: "ready" for k in range(1, 7)})
    lab.delete_slice("a")
    lab.wait_servers()
    after = lab.haproxy("show info")
    assert lab.processes.pid("haproxy") == pid
    line = lambda text, name: [x for x in text.splitlines() if x.startswith(name)]  # noqa: E731
    print("with haproxy", line(after, "Version"))
    assert line(before, "Pid") == line(after, "Pid")
    assert line(after, "Stopping") == ["Stopping: 0"]
    assert lab.metric('vpn_haproxy_commands_total{result="refused"}') == 0


def test_rights_are_those_that_are_used(lab):
    """Denied nothing that it asks for, and asks for both that it may."""
    lab.slice("a", endpoint("fleet-1", "10.20.0.1"))
    lab.wait_servers(fleet_1="ready")
    calls = [json.loads(line) for line in lab.cluster.audit_log.read_text().splitlines()]
    ours = [c for c in calls if c["user"]["username"] == "vpn-balancer"
            and c["stage"] != "ResponseStarted"]
    assert ours
    assert not [c for c in ours if c.get("responseStatus", {}).get("code", 0) in (401, 403)]
    assert {c["verb"] for c in calls if c["user"]["username"] == "vpn-balancer"} <= {"list", "watch"}
    assert {c["objectRef"]["resource"] for c in ours} == {"endpointslices"}


def test_settings_that_do_not_fit():
    for words, text in ((["--service", "x", "--haproxy", "/run/x"], "--haproxy"),
                        (["--service", "x", "--backend", "a b"], "--backend"),
                        ([], "--service"),
                        (["--service", "x", "--kubeconfig", "/nonexistent"], "/nonexistent")):
        done = subprocess.run([BIN / "vpn-balancer", *words], capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 2 and text in done.stderr, done.stderr
