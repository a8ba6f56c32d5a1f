"""POST /services/vpn/client-connect and client-disconnect"""

import json

import pytest
from conftest import ABSENT, U1, U2, U3


def test_connect_sets_status_and_manager(api, standin):
    one = api.register()
    reply = api.report("connect", one, [U1])
    assert (reply.status, reply.body) == (200, b"")
    device = standin.devices()[U1]
    assert device["is_connected_to_vpn"] and device["is_online"]
    assert device["is_managed_by__service_instance"] == one
    assert device["last_vpn_event"]


def test_connect_again_moves_the_event_time(api, standin):
    one = api.register()
    api.report("connect", one, [U1])
    before = standin.devices()[U1]
    assert api.report("connect", one, [U1]).status == 200
    after = standin.devices()[U1]
    assert after["vpn_events"] == before["vpn_events"] + 1
    assert after["last_vpn_event"] >= before["last_vpn_event"]


def test_last_connect_wins_and_only_the_manager_may_disconnect(api, standin):
    one, two = api.register(), api.register()
    api.report("connect", one, [U1])
    assert api.report("connect", two, [U1]).status == 200
    managed = standin.devices()[U1]
    assert managed["is_managed_by__service_instance"] == two

    assert api.report("disconnect", one, [U1]).status == 200
    assert standin.devices()[U1] == managed

    assert api.report("disconnect", two, [U1]).status == 200
    gone = standin.devices()[U1]
    assert not gone["is_connected_to_vpn"] and not gone["is_online"]
    assert gone["is_managed_by__service_instance"] is None
    assert gone["vpn_events"] == managed["vpn_events"] + 1

    assert api.report("disconnect", two, [U1]).status == 200
    assert standin.devices()[U1] == gone


def test_unknown_uuids_among_known(api, standin):
    assert api.report("connect", api.register(), [ABSENT, U1, "rubbish"]).status == 200
    assert standin.connected() == {U1}


@pytest.mark.parametrize("connected", [False, "maybe", None])
def test_path_decides_not_the_field(api, standin, connected):
    body = {"serviceId": api.register(), "uuids": [U1]}
    if connected is not None:
        body["connected"] = connected
    assert api("POST", "/services/vpn/client-connect", "svc", body).status == 200
    assert U1 in standin.connected()


@pytest.mark.parametrize("change", [
    {"uuids": []}, {"uuids": U1}, {"uuids": None}, {"serviceId": "1"}, {"serviceId": None}])
def test_bad_bodies(api, change):
    body = {"serviceId": api.register(), "uuids": [U1], "connected": True, **change}
    reply = api("POST", "/services/vpn/client-connect", "svc", body)
    assert (reply.status, reply.body) == (400, b"")


def test_other_content_type(api):
    body = json.dumps({"serviceId": api.register(), "uuids": [U1], "connected": True})
    reply = api("POST", "/services/vpn/client-connect", "svc", body,
                {"Content-Type": "text/plain"})
    assert reply.status == 400


def test_gone_service_instance_is_409_and_none_of_the_batch_is_done(api, standin):
    one = api.register()
    standin.delete_service_instance(one)
    assert api.report("connect", one, [U1, U2]).status == 409
    assert standin.connected() == set()
    assert api.report("disconnect", one, [U1]).status == 200


def test_8000_long_uuids_without_blanks_fit(api):
    uuids = ["%062x" % n for n in range(8000)]
    assert api.report("connect", api.register(), uuids).status == 200


def test_body_over_the_limit(api):
    reply = api("POST", "/services/vpn/client-connect", "svc",
                '{"serviceId":1,"uuids":["%s"]}' % ("a" * 524_288),
                {"Content-Type": "application/json"})
    assert reply.status == 413
    assert "html" in reply.headers["Content-Type"]


@pytest.mark.parametrize("key", [None, "key-1", "user-1", "guest", "nobody's"])
def test_only_the_service_key_reports(api, standin, key):
    assert api.report("connect", api.register(), [U1], key).status == 401
    assert standin.connected() == set()


def test_long_uuid(api, standin):
    standin.device(U3, "key-3")
    assert api.report("connect", api.register(), [U3]).status == 200
    assert standin.connected() == {U3}
    standin.ask("DELETE", "/devices/" + U3)
