"""An instance's life on a real API server: scaled, rolled, deleted by hand, in the way of others;
and what the status says of it."""

import pytest

from clusterlab.wait import holds, wait_until
from controller_lab import (NAMESPACE, RIGHTS, Controller, Kubelet, Sidecars, acts_on_pods,
                            conditions_of, phases, rights_used, settled, without_rules,
                            api_server, control_plane_and_api)  # noqa: F401

PODS = "/api/v1/namespaces/%s/pods" % NAMESPACE


class Lab:
    def __init__(self, control_plane, api):
        self.control_plane, self.api = control_plane, api
        self.sidecars = Sidecars(self.api)
        self.kubelet = Kubelet(self.api, self.sidecars.address)
        self.controller = Controller(self.control_plane, api_port=self.sidecars.state_port)
        self.controller.start().wait_leading()

    def create(self, replicas, kubernetes=None, **spec):
        state = "127.0.0.1:%d" % self.sidecars.state_port
        self.api.create_pool(replicas=replicas, kubernetes={"state": state, **(kubernetes or {})},
                             **spec)
        wait_until(lambda: settled(self.api), 60, "%d are ready" % replicas)

    def close(self):
        self.controller.stop()
        self.kubelet.close()
        self.sidecars.close()


@pytest.fixture
def lab(control_plane_and_api):
    lab = Lab(*control_plane_and_api)
    yield lab
    print(lab.controller.log())
    lab.close()


def degraded(api):
    for c in api.status().get("conditions", []):
        if c["type"] == "Degraded":
            return c["reason"] if c["status"] == "True" else None
    return None


def test_scale_down_drains_before_it_deletes(lab):
    api, sidecars = lab.api, lab.sidecars
    lab.create(3, drain={"timeoutSeconds": 60, "ratePerMinute": 77})
    wait_until(lambda: api.status()["sessions"] == 6, 30, "sessions are counted")
    api.scale(2)
    wait_until(lambda: sidecars.told, 10, "a sidecar is told to drain")
    # The one with the fewest sessions, with the pool's figures.
    assert sidecars.told[0] == (1, {"ratePerMinute": 77, "timeoutSeconds": 60})
    status = api.status()
    assert phases(api)[1] == "Draining" and status["replicas"] == 2 and status["draining"] == 1
    wait_until(lambda: conditions_of(api.pod("fleet-1")["status"])
               ["vpn.openbalena.io/balanced"] == "False", 5, "its gate is closed")
    holds(lambda: "deletionTimestamp" not in api.pod("fleet-1")["metadata"], 2,
          "it is not deleted while it has devices")
    sidecars.drained.add(1)
    wait_until(lambda: api.pod("fleet-1") is None, 10, "it is gone")
    wait_until(lambda: settled(api), 15, "the pool is settled")
    assert api.status()["freed"][0]["index"] == 1
    assert acts_on_pods(lab.control_plane)[("delete", "")] == {200: 1}


def test_one_marked_by_a_person_goes_first(lab):
    lab.create(3, drain={"timeoutSeconds": 60})
    lab.api.call("PATCH", PODS + "/fleet-3", {"metadata": {"annotations": {
        "vpn.openbalena.io/delete-first": "true"}}}, "application/merge-patch+json")
    lab.api.scale(2)
    wait_until(lambda: lab.sidecars.told, 10, "a sidecar is told to drain")
    assert lab.sidecars.told[0][0] == 3


def test_an_instance_is_ready_once_a_balancer_lists_it(lab):
    api = lab.api
    server = "127.0.0.1:%d" % lab.sidecars.state_port
    api.create_pool(replicas=2, kubernetes={"state": server, "balancers": server})

    def reasons():
        return [i["reason"] for i in api.status()["instances"]]

    wait_until(lambda: reasons() == ["WaitingForBalancer"] * 2, 20, "both wait for a balancer")
    lab.sidecars.listed = ["fleet-2"]
    wait_until(lambda: phases(api) == {1: "Starting", 2: "Ready"}, 10, "the listed one serves")
    lab.sidecars.listed = ["fleet-1", "fleet-2"]
    wait_until(lambda: settled(api), 10, "both serve")
    lab.sidecars.listed = []  # a balancer that is started anew
    holds(lambda: settled(api), 3, "they go on serving")


def test_silent_balancers_are_told(lab):
    """They serve as before, but whether a device gets in is not known."""
    lab.sidecars.listed = ["fleet-1"]
    lab.create(1, {"balancers": "127.0.0.1:%d" % lab.sidecars.state_port})
    lab.sidecars.listed = None
    holds(lambda: degraded(lab.api) is None, 20, "a balancer may be away for a moment")
    wait_until(lambda: degraded(lab.api) == "BalancersSilent", 20, "it is told")
    assert phases(lab.api) == {1: "Ready"}
    lab.sidecars.listed = ["fleet-1"]
    wait_until(lambda: degraded(lab.api) is None, 10, "it is over")


def test_the_state_service_is_told_who_exists(lab):
    lab.create(2)
    uids = {i["uid"] for i in lab.api.status()["instances"]}
    wait_until(lambda: {e["epoch"] for e in lab.sidecars.expected["instances"]} == uids, 10,
               "the list is there")
    assert {i["serviceId"] for i in lab.api.status()["instances"]} == {101, 102}


def test_a_pod_deleted_by_hand_has_a_successor_at_once(lab):
    api = lab.api
    lab.create(2)
    lab.sidecars.ill = True
    lab.kubelet.holds.add("fleet-1")
    api.call("DELETE", PODS + "/fleet-1")
    wait_until(lambda: phases(api).get(3) == "Ready", 15, "a successor under another index")
    assert phases(api)[1] == "Terminating"
    assert [i["reason"] for i in api.status()["instances"] if i["index"] == 1] == ["PodDeleted"]
    lab.kubelet.holds.clear()
    wait_until(lambda: api.pod("fleet-1") is None, 15, "the old one is gone")
    # 101 is its service instance: the API is ill, so it is not buried, and the index is not free.
    wait_until(lambda: phases(api)[1] == "Burying", 15, "it is being buried")
    assert [b["serviceId"] for b in api.status()["burials"]] == [101]
    lab.sidecars.ill = False
    wait_until(lambda: settled(api), 30, "it is buried")
    assert lab.sidecars.asked == {101} and api.status()["burials"] == []


def test_a_failed_pod_is_replaced(lab):
    api = lab.api
    lab.create(1)
    lab.kubelet.dead = lab.sidecars.ill = True
    api.call("PATCH", PODS + "/fleet-1/status", {"status": {
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory",
        "conditions": [{"type": "Ready", "status": "False"},
                       {"type": "ContainersReady", "status": "False"}]}},
             "application/strategic-merge-patch+json")
    wait_until(lambda: phases(api).get(2) == "Starting", 15, "a successor")
    assert [i["reason"] for i in api.status()["instances"] if i["index"] == 1] == ["Evicted"]
    lab.kubelet.dead = lab.sidecars.ill = False
    wait_until(lambda: settled(api), 30, "all is well")


def test_a_lost_pod_keeps_its_index_and_has_a_successor(lab):
    """What the cluster does with the Pods of a node that is out of reach."""
    api = lab.api
    lab.create(2)
    lab.kubelet.holds.add("fleet-1")
    api.call("PATCH", PODS + "/fleet-1/status", {"status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}},
             "application/strategic-merge-patch+json")
    api.call("DELETE", PODS + "/fleet-1")
    wait_until(lambda: phases(api).get(3) == "Ready", 15, "a successor under another index")
    lost = next(i for i in api.status()["instances"] if i["index"] == 1)
    assert lost["lost"] and lost["reason"] == "DeletionByTaintManager"
    assert degraded(api) == "InstanceLost" and api.status()["replicas"] == 2
    lab.kubelet.holds.clear()  # the node is back, and ends what it was told to
    wait_until(lambda: settled(api), 30, "all is well")
    assert sorted(phases(api)) == [2, 3] and degraded(api) is None


def test_a_foreign_pod_is_left_alone(lab):
    api = lab.api
    foreign = {"metadata": {"name": "fleet-2", "labels": {"vpn.openbalena.io/pool": "fleet"}},
               "spec": {"containers": [{"name": "x", "image": "x"}]}}
    unlabelled = {"metadata": {"name": "fleet-3"}, "spec": foreign["spec"]}
    uids = [api.call("POST", PODS, pod)["metadata"]["uid"] for pod in (foreign, unlabelled)]
    lab.kubelet.dead = True
    state = {"state": "127.0.0.1:%d" % lab.sidecars.state_port}
    api.create_pool(replicas=3, kubernetes=state)
    # 2 is seen in the cache, 3 is met by its name only.
    wait_until(lambda: sorted(phases(api)) == [1, 4, 5] and
               all("uid" in i for i in api.status()["instances"]), 20, "other indices are taken")
    assert degraded(api) == "NameTaken"
    assert [api.pod(n)["metadata"]["uid"] for n in ("fleet-2", "fleet-3")] == uids
    assert ("delete", "") not in acts_on_pods(lab.control_plane)


def test_a_pod_of_an_earlier_pool_is_waited_for(lab):
    api = lab.api
    lab.create(1)
    lab.kubelet.dead = True
    api.call("DELETE", "/apis/vpn.openbalena.io/v1alpha1/namespaces/%s/vpnpools/fleet" % NAMESPACE)
    before = api.pod("fleet-1")["metadata"]["uid"]  # nobody collects garbage here
    state = {"state": "127.0.0.1:%d" % lab.sidecars.state_port}
    api.create_pool(replicas=1, kubernetes=state)
    wait_until(lambda: phases(api) == {2: "Starting"}, 15, "another index is taken")
    assert api.pod("fleet-1")["metadata"]["uid"] == before


def test_another_sidecar_image_is_patched_in_place_one_by_one(lab):
    api = lab.api
    lab.create(3, kubernetes={"sidecarImage": "vpn:1"})
    before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in api.pods()}
    api.patch_pool({"kubernetes": {"sidecarImage": "vpn:2"}})
    wait_until(lambda: {p["spec"]["initContainers"][0]["image"] for p in api.pods()} == {"vpn:2"},
               60, "all have it")
    assert {p["metadata"]["name"]: p["metadata"]["uid"] for p in api.pods()} == before
    assert {p["spec"]["containers"][0]["image"] for p in api.pods()} == {"vpn:1"}
    assert ("delete", "") not in acts_on_pods(lab.control_plane)


def test_another_template_rolls_one_by_one(lab):
    api = lab.api
    lab.create(2, drain={"timeoutSeconds": 30})
    lab.sidecars.drained.update(range(1, 10))  # nobody has sessions
    first = {p["metadata"]["uid"] for p in api.pods()}
    shunned = []
    api.patch_pool({"openvpn": {"keepalive": {"intervalSeconds": 7}}})

    def count(pods, condition):
        return sum(conditions_of(p["status"]).get(condition) == "True" for p in pods)

    def rolled():
        pods = api.pods()
        new = [p for p in pods if p["metadata"]["uid"] not in first]
        assert count(pods, "ContainersReady") >= 2, "fewer than wanted can serve"
        assert api.status()["ready"] >= 2, "fewer than wanted are said to be ready"
        assert count(pods, "Ready") >= 1, "newcomers have nowhere to go"
        if count(new, "Ready") > 0:
            shunned.append(count(pods, "Ready") == count(new, "Ready"))
        return settled(api) and not first & {p["metadata"]["uid"] for p in api.pods()}

    deadline_steps = wait_until_strict(rolled, 90)
    assert deadline_steps
    assert any(shunned) and sum(shunned) > len(shunned) / 2, "newcomers still went to the old ones"
    for pod in api.pods():
        assert "7" in pod["spec"]["containers"][0]["args"]
    events = api.list("/apis/events.k8s.io/v1/namespaces/%s/events" % NAMESPACE)
    notes = [e["note"] for e in events if e["reason"] == "RollingOut"]
    assert notes == ["instances are replaced: what changed is what OpenVPN runs with"]


def wait_until_strict(condition, seconds):
    """As wait_until(), but an AssertionError in condition ends the test at once."""
    failures = []

    def checked():
        try:
            return condition()
        except AssertionError as failure:
            failures.append(failure)
            return True

    wait_until(checked, seconds, "it has rolled")
    assert not failures, failures[0]
    return True


def test_a_template_that_does_not_get_ready_stops_the_roll(lab):
    api = lab.api
    lab.create(2)
    lab.kubelet.never_ready.add("fleet-3")
    before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in api.pods()}
    api.patch_pool({"openvpn": {"keepalive": {"intervalSeconds": 7}}})
    wait_until(lambda: phases(api).get(3) == "Starting", 15, "a new one is tried")
    # A minute to get ready in, then it is given up and nothing else is touched.
    wait_until(lambda: degraded(api) == "InstanceGivenUp", 90, "it is given up")
    assert before.items() <= {p["metadata"]["name"]: p["metadata"]["uid"]
                              for p in api.pods()}.items()
    assert api.status()["ready"] == 2


def test_a_spec_that_makes_no_sense_changes_nothing(lab):
    """What slipped through the API server's rules: here, no certificate's Secret is named."""
    api = lab.api
    lab.create(1)
    uid = api.pod("fleet-1")["metadata"]["uid"]
    without_rules(api)
    wait_until(lambda: api.patch_pool({"replicas": 3, "openvpn": {"tls": {"secretName": None}}}),
               30, "the API server takes it")
    wait_until(lambda: degraded(api) == "InvalidSpec", 15, "it is said")
    condition = next(c for c in api.status()["conditions"] if c["type"] == "Degraded")
    assert "secretName" in condition["message"]
    assert [p["metadata"]["uid"] for p in api.pods()] == [uid]
    api.patch_pool({"openvpn": {"tls": {"secretName": "fleet-tls"}}})
    wait_until(lambda: settled(api) and api.status()["ready"] == 3, 30, "it goes on")


def test_a_status_that_somebody_wiped_is_put_back(lab):
    api = lab.api
    lab.create(2)
    uids = {i["uid"] for i in api.status()["instances"]}
    api.call("PATCH", "/apis/vpn.openbalena.io/v1alpha1/namespaces/%s/vpnpools/fleet/status"
             % NAMESPACE, {"status": None}, "application/merge-patch+json")
    api.scale(3)
    wait_until(lambda: settled(api), 45, "it is settled")
    assert uids < {i["uid"] for i in api.status()["instances"]}
    assert acts_on_pods(lab.control_plane)[("create", "")] == {201: 3}


def test_the_status_is_right(lab):
    api = lab.api
    lab.create(2)
    pool = api.pool()
    status = pool["status"]
    assert status["observedGeneration"] == pool["metadata"]["generation"]
    assert (status["replicas"], status["ready"], status["draining"]) == (2, 2, 0)
    assert status["selector"] == "vpn.openbalena.io/pool=fleet"
    assert status["capacity"] == 1024
    assert conditions_of(status) == {"Available": "True", "Progressing": "False",
                                     "Degraded": "False"}
    assert [(i["index"], i["pod"], i["subnet"], i["node"], i["phase"])
            for i in status["instances"]] == [
                (1, "fleet-1", "100.64.0.0/20", "node-1", "Ready"),
                (2, "fleet-2", "100.64.16.0/20", "node-1", "Ready")]
    scale = api.get("/apis/vpn.openbalena.io/v1alpha1/namespaces/%s/vpnpools/fleet/scale"
                    % NAMESPACE)
    assert scale["status"] == {"replicas": 2, "selector": "vpn.openbalena.io/pool=fleet"}
    # Nothing to do: nothing is written.
    version = pool["metadata"]["resourceVersion"]
    wait_until(lambda: api.status()["sessions"] == 3, 30, "sessions are counted")
    version = api.pool()["metadata"]["resourceVersion"]
    holds(lambda: api.pool()["metadata"]["resourceVersion"] == version, 5, "it is left alone")


def test_all_of_this_took_the_rights_of_the_table_and_no_more(api_server):  # noqa: F811
    """Last: of all tests of this file. A server that can send initial events is not asked to list,
    and an Event is patched only if it repeats."""
    used, refused = rights_used(api_server[0])
    assert not refused
    granted = {(group, resource, verb) for group, resource, verbs in RIGHTS for verb in verbs}
    rare = {right for right in granted if right[2] == "list"} | {
        ("events.k8s.io", "events", "patch")}
    assert granted - rare <= {right for right in used if right[1]} <= granted
