"""One create for each instance and no other, whatever the watch does; many pools at once."""

import pytest

from clusterlab.wait import wait_until
from controller_lab import (Controller, Kubelet, LateWatches, acts_on_pods, phases, settled,
                            api_server, control_plane_and_api)  # noqa: F401

POD_CREATES = ("create", "")
POD_DELETES = ("delete", "")


@pytest.fixture
def lab(control_plane_and_api):
    control_plane, api = control_plane_and_api
    running = []
    yield control_plane, api, control_plane.folder, running
    for one in running:
        one.close()


def scale_to_100(control_plane, api, kubeconfig=None):
    controller = Controller(control_plane, kubeconfig=kubeconfig).start()
    controller.wait_leading(60)
    api.create_pool(replicas=0)
    wait_until(lambda: "observedGeneration" in api.status(), 30, "the pool is looked at")
    api.scale(100)
    wait_until(lambda: api.status()["replicas"] == 100, 10, "status says 100")
    wait_until(lambda: settled(api), 120, "100 are ready")
    counts = acts_on_pods(control_plane)
    assert counts[POD_CREATES] == {201: 100}, controller.log()
    assert POD_DELETES not in counts, counts
    assert sorted(i["index"] for i in api.status()["instances"]) == list(range(1, 101))
    assert len({i["subnet"] for i in api.status()["instances"]}) == 100
    assert controller.metric('vpn_pool_ready{namespace="vpn",pool="fleet"}') == 100
    controller.stop()


def test_from_0_to_100_are_100_creates_and_no_delete(lab):
    control_plane, api, _, running = lab
    running.append(Kubelet(api))
    scale_to_100(control_plane, api)


def test_the_same_when_watches_are_5_s_late(lab):
    control_plane, api, folder, running = lab
    running.append(Kubelet(api))
    late = LateWatches(api, folder, 5)
    running.append(late)
    scale_to_100(control_plane, api, late.kubeconfig)


def test_down_again_deletes_each_once(lab):
    control_plane, api, _, running = lab
    running.append(Kubelet(api))
    controller = Controller(control_plane).start().wait_leading()
    api.create_pool(replicas=20, drain={"timeoutSeconds": 1})
    wait_until(lambda: settled(api), 60, "20 are ready")
    api.scale(3)
    wait_until(lambda: api.status()["replicas"] == 3, 2, "status says 3")
    wait_until(lambda: settled(api), 60, "3 are left")
    assert acts_on_pods(control_plane)[POD_DELETES] == {200: 17}, controller.log()
    assert len(api.pods()) == 3
    assert len(api.status()["freed"]) == 17
    controller.stop()


def test_100_pools_of_5_settle(lab):
    control_plane, api, _, running = lab
    running.append(Kubelet(api))
    controller = Controller(control_plane).start().wait_leading()
    names = ["fleet-%d" % n for n in range(100)]
    for n, name in enumerate(names):
        api.create_pool(name, replicas=5)
    for name in names:
        wait_until(lambda name=name: settled(api, name), 180, "%s is settled" % name, step=0.2)
        assert set(phases(api, name).values()) == {"Ready"}
    counts = acts_on_pods(control_plane)
    assert counts[POD_CREATES] == {201: 500}, controller.log()
    assert POD_DELETES not in counts
    controller.stop()
