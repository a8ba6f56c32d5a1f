"""Two controllers, one leader: who acts when one ends, when the API server is away, and when a leader
dies in the middle of a scale-down."""

import collections
import time

import pytest

from clusterlab.wait import holds, wait_until
from controller_lab import (NAMESPACE, Controller, Kubelet, Sidecars, acts_on_pods, audit, phases,
                            settled, api_server, control_plane_and_api)  # noqa: F401

LEASE = "/apis/coordination.k8s.io/v1/namespaces/%s/leases/vpn-controller" % NAMESPACE


class Lab:
    def __init__(self, control_plane, api):
        self.control_plane, self.api = control_plane, api
        self.sidecars = Sidecars(self.api)
        self.kubelet = Kubelet(self.api, self.sidecars.address)
        self.controllers = []

    def start(self, name):
        controller = Controller(self.control_plane, name, api_port=self.sidecars.state_port)
        self.controllers.append(controller.start())
        return controller

    def create(self, replicas, **spec):
        self.api.create_pool(replicas=replicas, kubernetes={
            "state": "127.0.0.1:%d" % self.sidecars.state_port}, **spec)
        wait_until(lambda: settled(self.api), 60, "%d are ready" % replicas)

    def close(self):
        for controller in self.controllers:
            print(controller.log())
            controller.stop()
        self.kubelet.close()
        self.sidecars.close()


@pytest.fixture
def lab(control_plane_and_api):
    lab = Lab(*control_plane_and_api)
    yield lab
    lab.close()


def pair(lab):
    first = lab.start("first").wait_leading()
    second = lab.start("second")
    wait_until(lambda: second.get("/readyz") == (200, "ok, stands by\n"), 30, "another stands by")
    lab.create(2)
    return first, second


def acts(lab, controller):
    """It leads, and a change is carried out."""
    wait_until(controller.leads, 30, "the other one leads")
    took = time.monotonic()
    lab.api.scale(3)
    wait_until(lambda: len(lab.api.pods()) == 3, 5, "it acts")
    return took


def test_a_leader_that_ends_in_order_hands_over_within_3_s(lab):
    first, second = pair(lab)
    begun = time.monotonic()
    first.stop()
    took = acts(lab, second) - begun
    assert took < 3, "%.1f s" % took
    wait_until(lambda: acts_on_pods(lab.control_plane)[("create", "")] == {201: 3}, 20,
               "three creates in the log, which is written behind")


def test_a_leader_that_is_killed_is_succeeded_within_18_s(lab):
    first, second = pair(lab)
    begun = time.monotonic()
    first.stop(kill=True)
    took = acts(lab, second) - begun
    assert took < 18, "%.1f s" % took
    wait_until(lambda: acts_on_pods(lab.control_plane)[("create", "")] == {201: 3}, 20,
               "three creates in the log, which is written behind")


def test_a_leader_that_was_frozen_does_not_act_any_more(lab):
    first, second = pair(lab)
    lab.control_plane.processes.freeze("first")
    acts(lab, second)
    lab.control_plane.processes.thaw("first")
    wait_until(lambda: lab.control_plane.processes.pid("first") is None, 20, "it ends")
    wait_until(lambda: acts_on_pods(lab.control_plane)[("create", "")] == {201: 3}, 20,
               "three creates in the log, which is written behind")
    wait_until(lambda: settled(lab.api), 30, "all is well")


def test_an_api_server_that_is_frozen_for_a_minute(lab):
    """The leader ends, because it cannot renew its lease; who stood by goes on."""
    first, second = pair(lab)
    uids = {p["metadata"]["uid"] for p in lab.api.pods()}
    processes = lab.control_plane.processes
    before = second.rss_kib()
    processes.freeze("kube-apiserver")
    frozen = time.monotonic()
    wait_until(lambda: processes.pid("first") is None, 30, "the leader ends")
    first.start()  # as a cluster does
    holds(lambda: processes.pid("second") is not None, frozen + 60 - time.monotonic(),
          "the other one waits")
    processes.thaw("kube-apiserver")
    back = time.monotonic()
    wait_until(lambda: lab.control_plane.get("/readyz")[0] == 200, 30, "the API server is back")
    lab.api.scale(3)
    wait_until(lambda: len(lab.api.pods()) == 3, 30 - (time.monotonic() - back), "it is acted on")
    assert uids < {p["metadata"]["uid"] for p in lab.api.pods()}
    assert ("delete", "") not in acts_on_pods(lab.control_plane)
    assert second.rss_kib() < before + 8192, (before, second.rss_kib())


# A leader is killed when the pool's status, or the Pod, says that a step has been reached. Its
# successor goes on from there.
STEPS = {
    "reserved": lambda lab: "Starting" in phases(lab.api).values(),
    "made": lambda lab: lab.api.pod("fleet-3") is not None,
    "ready": lambda lab: phases(lab.api).get(3) == "Ready",
    "draining": lambda lab: phases(lab.api)[1] == "Draining",
    "told": lambda lab: bool(lab.sidecars.told),
    "terminating": lambda lab: phases(lab.api)[1] == "Terminating",
    "deleted": lambda lab: "deletionTimestamp" in lab.api.pod("fleet-1")["metadata"],
    "gone": lambda lab: lab.api.pod("fleet-1") is None,
    "burying": lambda lab: phases(lab.api)[1] == "Burying",
}


def check_creates(control_plane):
    """One Pod for each name. A leader that was killed while its answer was on its way leaves a create
    that the log calls timed out."""
    codes = collections.defaultdict(list)
    for event in audit(control_plane):
        ref = event["objectRef"]
        if event["verb"] == "create" and ref.get("resource") == "pods" and "subresource" not in ref:
            codes[ref["name"]].append(event["responseStatus"]["code"])
    assert sorted(codes) == ["fleet-1", "fleet-2", "fleet-3"]
    for name, answers in codes.items():
        assert answers.count(201) == 1 or (201 not in answers and 504 in answers), (name, answers)


@pytest.mark.parametrize("steps", [("reserved", "draining", "deleted"),
                                   ("made", "told", "gone"),
                                   ("ready", "terminating", "burying")])
def test_a_leader_killed_at_any_step_of_a_change(lab, steps):
    """Up by one, then down by one with devices to move, then their burial."""
    api, sidecars, lives = lab.api, lab.sidecars, iter("abcdefgh")

    def succeed(leader):
        leader.stop(kill=True)
        api.call("DELETE", LEASE)  # nobody has to wait for it to expire
        return lab.start(next(lives)).wait_leading()

    leader = lab.start(next(lives)).wait_leading()
    lab.create(2, drain={"timeoutSeconds": 60})
    up, down, end = steps
    lab.kubelet.dead = up != "ready"
    api.scale(3)
    wait_until(lambda: STEPS[up](lab), 15, up, step=0.005)
    leader = succeed(leader)
    lab.kubelet.dead = False
    wait_until(lambda: settled(api), 30, "three are ready")

    sidecars.ill = end == "burying"
    lab.kubelet.holds.add("fleet-1")
    if down == "terminating":
        sidecars.drained.add(1)
    api.scale(2)
    wait_until(lambda: STEPS[down](lab), 15, down, step=0.005)
    leader = succeed(leader)
    told = len(sidecars.told)
    if down != "terminating":
        wait_until(lambda: len(sidecars.told) >= max(1, told), 15, "it is told to drain")
        assert "deletionTimestamp" not in api.pod("fleet-1")["metadata"]
        sidecars.drained.add(1)
    wait_until(lambda: "deletionTimestamp" in api.pod("fleet-1")["metadata"], 15, "it is deleted")
    if end == "deleted":
        leader = succeed(leader)
    lab.kubelet.holds.clear()
    wait_until(lambda: STEPS["gone"](lab), 15, "it is gone")
    if end != "deleted":
        wait_until(lambda: STEPS[end](lab) or settled(api), 15, end, step=0.005)
        leader = succeed(leader)
    sidecars.ill = False
    wait_until(lambda: settled(api), 30, "two are left")
    assert sorted(phases(api)) == [2, 3]
    assert 101 in sidecars.asked and api.status()["burials"] == []
    check_creates(lab.control_plane)
    deletes = acts_on_pods(lab.control_plane)[("delete", "")]
    assert set(deletes) <= {200, 202, 404, 409} and sum(deletes.values()) <= 2, deletes
