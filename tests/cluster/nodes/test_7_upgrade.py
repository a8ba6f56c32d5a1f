"""`helm upgrade`: what changes decides what is touched."""


from clusterlab.wait import wait_until
from clusterlab.world import IMAGE, NAMESPACE, POOL, REGISTRY, REPOSITORY, restarts
from test_2_scale import History

NEXT = IMAGE + "-next"


def sidecar_image(pod):
    return next(c["image"] for c in pod["spec"]["initContainers"] if c["name"] == "sidecar")


def tag_next(world):
    """The same image under another name, on every node."""
    for node in world.cluster.nodes:
        node.ctr("images", "tag", "--force", IMAGE, NEXT)


def uids(world):
    return {n: p["metadata"]["uid"] for n, p in world.instances().items()}


def test_a_sidecar_image_alone_ends_no_openvpn(world):
    tag_next(world)
    before, connections = uids(world), [d.connections for d in world.devices]
    openvpn = {n: restarts(p)["openvpn"] for n, p in world.instances().items()}
    world.install(pool={"sidecarImage": NEXT})
    wait_until(lambda: {sidecar_image(p) for p in world.instances().values()} == {NEXT}, 60,
               "every sidecar is the next one")
    wait_until(lambda: all(restarts(p)["sidecar"] > 0 for p in world.instances().values()), 60,
               "every sidecar was started anew")
    world.wait_pool(2)
    assert uids(world) == before
    assert {n: restarts(p)["openvpn"] for n, p in world.instances().items()} == openvpn
    assert [d.connections for d in world.devices] == connections
    world.wait_agreed(10)
    world.install()


def test_other_openvpn_settings_roll_one_by_one(world):
    before, connections = uids(world), {d.uuid: d.connections for d in world.devices}
    history = History(world)
    world.install(pool={"openvpn": {"handWindowSeconds": 61}})
    try:
        wait_until(lambda: not set(uids(world).values()) & set(before.values())
                   and len(uids(world)) == 2, 180, "every Pod is another one")
        world.wait_pool(2)
        for device in world.devices:
            device.wait_online(60, more_than=connections[device.uuid])
        world.wait_agreed(10)
        history.check()
        moves = {d.number: d.connections - connections[d.uuid] for d in world.devices}
        print("\n  reconnects by device: %s" % moves)
        assert set(moves.values()) == {1}, "each is away once"
        status = world.pool()["status"]
        assert {c["type"]: c["status"] for c in status["conditions"]}["Available"] == "True"
    finally:
        history.close()


def test_an_upgrade_keeps_what_was_scaled(world):
    world.scale(3)
    world.wait_pool(3)
    world.install(pool={"openvpn": {"handWindowSeconds": 61}})
    assert world.pool()["spec"]["replicas"] == 3


def test_an_image_that_does_not_start_stops_the_roll(world):
    before = uids(world)
    connections = [d.connections for d in world.devices]
    world.install(pool={"openvpnImage": "%s/%s:there-is-none" % (REGISTRY, REPOSITORY),
                        "openvpn": {"handWindowSeconds": 61}})

    def told():
        conditions = {c["type"]: c for c in world.pool()["status"]["conditions"]}
        return conditions["Degraded"]["status"] == "True" and conditions["Degraded"]["message"]
    try:
        print("\n  " + wait_until(told, 90, "the pool says why it does not go on"))
        assert set(before.items()) <= set(uids(world).items()), "those that serve still do"
        assert [d.connections for d in world.devices] == connections
    finally:
        world.install(pool={"openvpnImage": IMAGE, "openvpn": {"handWindowSeconds": 61}})


def test_the_pool_can_be_deleted(world):
    """Its Pods drain, and go. Then it is made again."""
    world.kubectl.run("-n", NAMESPACE, "delete", "vpnpool", POOL, "--wait=true", "--timeout=90s")
    wait_until(lambda: not world.instances(), 90, "its Pods are gone")
    wait_until(lambda: not world.api.connected(), 30, "the API knows that nobody is connected")
    world.install()
    world.wait_pool(2)
    for device in world.devices:
        device.wait_online(150)
