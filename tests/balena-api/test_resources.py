"""The /v7 calls: service instances, who may tunnel, where a device is."""

import json

import pytest
from conftest import ABSENT, U1, U2

CONNECTED = "/v7/device(@id)?$select=id&$filter=is_connected_to_vpn&@id=%d"
HOST = ("/v7/service_instance?$select=id,ip_address&$filter=manages__device/any("
        "d:(d/uuid%%20eq%%20'%s')%%20and%%20(d/is_connected_to_vpn))")
MANAGER = "/v7/device(uuid=@uuid)?$select=is_managed_by__service_instance&@uuid='%s'"
LIST = ("/v7/device?$select=uuid&$filter=is_managed_by__service_instance%%20eq%%20%d"
        "%%20and%%20is_connected_to_vpn")


# --- service instances ---

def test_each_registration_is_a_new_row(api):
    replies = [api("POST", "/v7/service_instance", "svc", {"ip_address": "192.0.2.1"})
               for _ in range(2)]
    assert [r.status for r in replies] == [201, 201]
    assert replies[0].json["id"] < replies[1].json["id"]


def test_registration_without_address_takes_the_peers(api, standin):
    one = api("POST", "/v7/service_instance", "svc", {}).json["id"]
    rows = {i["id"]: i for i in standin.view()["service_instances"]}
    assert rows[one]["ip_address"] == "127.0.0.1"


@pytest.mark.parametrize("address,status", [
    ("300.1.1.1", 400), ("host.example", 400), ("1" * 40, 400), (7, 400),
    ("2001:db8::1", 201)])
def test_registered_address_is_checked(api, address, status):
    assert api("POST", "/v7/service_instance", "svc", {"ip_address": address}).status == status


def test_heartbeat(api, standin):
    one = api.register()
    reply = api("PATCH", "/v7/service_instance(%d)" % one, "svc", {"is_alive": True})
    assert (reply.status, reply.body) == (200, b"")
    assert {i["id"]: i["heartbeats"] for i in standin.view()["service_instances"]}[one] == 1


def test_heartbeat_of_a_row_that_is_gone_is_200_as_well(api):
    assert api("PATCH", "/v7/service_instance(99999)", "svc", {"is_alive": True}).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_row_may_not_be_read_or_deleted(api, method):
    assert api(method, "/v7/service_instance(%d)" % api.register(), "svc").status == 401


@pytest.mark.parametrize("key", [None, "key-1", "user-1", "guest"])
def test_only_the_service_key_registers_and_beats(api, key):
    assert api("POST", "/v7/service_instance", key, {"ip_address": "192.0.2.1"}).status == 401
    assert api("PATCH", "/v7/service_instance(1)", key, {"is_alive": True}).status == 401


# --- canAccess ---

@pytest.mark.parametrize("uuid,key,port,status", [
    (U1, "user-1", 8080, 200),
    (U1, "user-2", 22, 200), (U1, "user-2", 23, 401), (U2, "user-2", 22, 401),
    (U1, "apikey", 48484, 200), (U1, "apikey", 80, 401),
    (U1, "guest", 22, 401), (U1, "svc", 22, 401), (U1, "key-1", 22, 401), (U1, None, 22, 401),
    (ABSENT, "user-1", 22, 401)])
def test_who_may_tunnel(api, standin, uuid, key, port, status):
    reply = api.can_access(uuid, key, port)
    assert reply.status == status
    if status == 200:
        assert reply.json == {"d": [{"id": standin.devices()[uuid]["id"]}]}
    else:
        assert reply.body == b""


def test_guest_may_be_given_a_grant(api, standin):
    standin.key("guest", "guest", kind="guest", tunnel=[{"uuid": U1, "ports": [8080]}])
    assert api.can_access(U1, "guest", 8080).status == 200
    standin.key("guest", "guest", kind="guest")


@pytest.mark.parametrize("target,body", [
    ("/v7/device(uuid=@uuid)/canAccess?@uuid='a'b'", {"action": {"or": ["tunnel-any", "tunnel-1"]}}),
    ("/v7/device(uuid=@uuid)/canAccess?@uuid='%s'" % U1, {}),
    ("/v7/device(uuid=@uuid)/canAccess?@uuid='%s'" % U1, {"action": "tunnel-any"}),
    ("/v7/device(uuid=@uuid)/canAccess", {"action": {"or": ["tunnel-any", "tunnel-1"]}})])
def test_can_access_bad_requests(api, target, body):
    assert api("POST", target, "user-1", body).status == 400


# --- where is it? ---

@pytest.mark.parametrize("key,status", [("svc", 200), ("guest", 401), (None, 401)])
def test_is_connected_by_key(api, standin, key, status):
    assert api("GET", CONNECTED % standin.devices()[U1]["id"], key).status == status


def test_is_connected_follows_the_reports(api, standin):
    number, one = standin.devices()[U1]["id"], api.register()
    assert api("GET", CONNECTED % number, "svc").json == {"d": []}
    api.report("connect", one, [U1])
    assert api("GET", CONNECTED % number, "svc").json == {"d": [{"id": number}]}
    assert api("GET", CONNECTED % 99999, "svc").json == {"d": []}


@pytest.mark.parametrize("key", ["svc", "apikey", "guest", "key-1", None])
def test_host_is_told_to_users_only(api, key):
    assert api("GET", HOST % U1, key).status == 401


def test_host_of_a_device(api):
    assert api("GET", HOST % U1, "user-1").json == {"d": []}
    one = api.register("192.0.2.7")
    api.report("connect", one, [U1])
    assert api("GET", HOST % U1, "user-1").json == {"d": [{"id": one, "ip_address": "192.0.2.7"}]}


def test_manager_but_not_its_address(api):
    one = api.register()
    api.report("connect", one, [U1])
    answer = api("GET", MANAGER % U1, "svc")
    assert answer.json["d"][0]["is_managed_by__service_instance"] == {"__id": one}
    expand = "&$expand=is_managed_by__service_instance($select=ip_address)"
    assert api("GET", MANAGER % U1 + expand, "svc").status == 401


def test_list_of_an_instances_devices(api):
    one, two = api.register(), api.register()
    api.report("connect", one, [U1, U2])
    ask = lambda query: api("GET", query, "svc").json["d"]  # noqa: E731
    assert ask(LIST % one) == [{"uuid": U1}, {"uuid": U2}]
    assert ask(LIST % two) == []
    assert ask(LIST % one + "&$orderby=uuid%20desc&$top=1") == [{"uuid": U2}]
    assert ask(LIST % one + "&$orderby=uuid%20asc&$skip=1") == [{"uuid": U2}]
    assert ask((LIST % one).replace("device?$select=uuid&", "device/$count?")) == 2
    assert api("GET", LIST % one, "user-1").status == 401


@pytest.mark.parametrize("target", [
    "/v7/device", "/v7/device?$select=uuid",
    "/v7/device?$select=uuid,id&$filter=is_managed_by__service_instance%20eq%201%20and%20"
    "is_connected_to_vpn",
    "/v7/device?$select=uuid&$filter=is_managed_by__service_instance%20eq%201",
    "/v7/device?$select=uuid&$filter=is_managed_by__service_instance+eq+1+and+is_connected_to_vpn",
    "/v7/device(@id)?$select=id&$filter=is_online&@id=1",
    "/v7/device(@id)?$select=id&$filter=is_connected_to_vpn&@id=x",
    "/v7/device(@id)?$select=id&$filter=is_connected_to_vpn&@id=1&$top=1",
    "/v7/service_instance?$select=id&$filter=true",
    "/v7/service_instance"])
def test_unknown_query_is_400_never_an_empty_yes(api, target):
    reply = api("GET", target, "svc")
    assert reply.status == 400
    assert "d" not in json.loads(reply.body)
