"""Without a pool file: the variables that the original service reads make the pool."""

import base64
import os
import subprocess

from lab.subnets import Block


def variables(lab, **more):
    encoded = {name: base64.b64encode((lab.tls / file).read_bytes()).decode() for name, file in (
        ("VPN_OPENVPN_CA_CRT", "ca.crt"), ("VPN_OPENVPN_SERVER_CRT", "server.crt"),
        ("VPN_OPENVPN_SERVER_KEY", "server.key"))}
    lab.pool.env = {**lab.pool.env, **encoded, **more}
    lab.pool.file = None
    return lab


def test_variables_make_the_pool(make_lab):
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="2", VPN_PORT="1194",
                    VPN_BASE_SUBNET="10.240.0.0/16", VPN_INSTANCE_SUBNET_BITMASK="24",
                    VPN_CONNECT_PROXY_PORT="3129", DEFAULT_SIGTERM_TIMEOUT="5")
    lab.pool.start().wait_ready(replicas=2)
    for _ in range(2):
        lab.device(port=1194)
    for device in lab.devices:
        device.wait_online()
        index = lab.pool.state.device(device.uuid)["instance"]["index"]
        assert Block(index, "10.240.0.0/16", 24).offset(device.vpn_address) == 3
        with lab.connect(device, proxy_port=3129) as answer:
            assert answer.status == 200 and device.uuid.encode() in answer.get()
    lab.wait_agreed()
    assert base64.b64encode((lab.tls / "server.key").read_bytes()).decode() not in lab.pool.log()


def test_original_compose_file_needs_no_more(make_lab):
    """What openBalena's compose file sets, and no more: an instance for each core."""
    lab = variables(make_lab(ready=False))
    lab.pool.start().wait_ready(replicas=len(os.sched_getaffinity(0)))
    device = lab.device().wait_online()
    assert lab.reaches(device)


def test_metrics_of_all_sidecars_are_on_port_80(make_lab):
    """With a password, where the original service has its own as well."""
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="2", MONITOR_SECRET_TOKEN="secret")
    lab.pool.start().wait_ready(replicas=2)
    device = lab.device().wait_online()
    basic = {"Authorization": "Basic " + base64.b64encode(b"monitor:secret").decode()}

    def get(path, headers):
        connection = lab.machine.http("127.0.0.1", 80)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    assert get("/cluster_metrics", {})[0] == 401
    index = lab.pool.state.device(device.uuid)["instance"]["index"]
    for path in ("/cluster_metrics", "/metrics/sidecars"):
        status, text = get(path, basic)
        assert status == 200
        online = [line for line in text.splitlines() if line.startswith("vpn_online_devices{")]
        assert sorted(online) == sorted('vpn_online_devices{index="%d"} %d' % (i, i == index)
                                        for i in (1, 2))
        assert text.count("# TYPE vpn_online_devices ") == 1
    for path in ("/metrics/haproxy", "/metrics/state", "/metrics/connect-proxy",
                 "/metrics/controller"):
        assert get(path, basic)[0] == 200, path
    assert get("/metrics/other", basic)[0] == 404


def refused(lab):
    """-> what it says before it ends with status 2"""
    done = subprocess.run(lab.pool.command("--runtime-dir", str(lab.pool.runtime), "--state-dir",
                                           str(lab.pool.state_dir)),
                          env=lab.pool.env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done
    assert lab.pool.processes() == []
    return done.stdout + done.stderr


def test_wrong_variables_are_named(make_lab):
    lab = variables(make_lab(ready=False), VPN_INSTANCE_COUNT="many", VPN_BASE_SUBNET="10.0.0.0",
                    VPN_DOWNRATE="1mbit")
    said = refused(lab)
    for name in ("VPN_INSTANCE_COUNT", "VPN_BASE_SUBNET", "VPN_UPRATE"):
        assert name in said
    lab.pool.env = {k: v for k, v in lab.pool.env.items() if k != "VPN_OPENVPN_SERVER_KEY"}
    assert "VPN_OPENVPN_SERVER_KEY" in refused(lab)
