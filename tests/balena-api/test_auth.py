"""GET /services/vpn/auth/{uuid}"""

import http.client

import pytest
from conftest import ABSENT, U1, U2


@pytest.mark.parametrize("uuid,key,status,body", [
    (U1, "key-1", 200, b""),
    (U1, "nobody's", 401, b'{"error":"API key required"}'),
    (U1, None, 401, b'{"error":"API key required"}'),
    (U1, "session", 401, b'{"error":"API key required"}'),
    (U1, "key-2", 401, b""),
    (U1, "svc", 401, b""),
    (U1, "guest", 401, b""),
    (U1, "prov", 401, b""),
    (ABSENT, "key-1", 401, b""),
    (U1.upper(), "key-1", 401, b""),
    (U1[:7], "key-1", 401, b""),
    (U1 + "'", "key-1", 401, b""),
    (U1, "user-1", 200, b""),
    (U2, "user-1", 200, b""),
    (ABSENT, "user-1", 401, b""),
])
def test_answer_depends_on_key_and_uuid(api, uuid, key, status, body):
    reply = api.auth(uuid, key)
    assert (reply.status, reply.body) == (status, body)


def test_deleted_device_is_refused(api, standin):
    standin.ask("DELETE", "/devices/" + U1)
    assert api.auth(U1, "key-1").status == 401


@pytest.mark.parametrize("header,status", [
    ("Bearer key-1", 200), ("bearer key-1", 200), ("BEARER key-1", 200),
    ("Bearer  key-1", 401), ("Basic key-1", 401), ("key-1", 401)])
def test_scheme_in_any_case_but_one_blank(api, header, status):
    assert api.auth(U1, headers={"Authorization": header}).status == status


def test_key_may_be_in_the_query(api, standin):
    assert api.auth(U1 + "?apikey=key-1").status == 200
    assert "key-1" not in standin.log()[-1]["target"]


@pytest.mark.parametrize("path,status", [
    ("/services/vpn/auth", 404), ("/services/vpn/auth/", 404),
    ("/services/vpn/auth/a/b", 404), ("/services/vpn/auth/%zz", 400),
    ("/services/vpn/auth/%", 400), ("/services/vpn/auth/%ff", 400)])
def test_odd_paths(api, path, status):
    assert api("GET", path, "key-1").status == status


def test_nul_ends_the_process(api, standin):
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        api.auth("%00", "key-1")
    with pytest.raises(ConnectionRefusedError):
        api.auth(U1, "key-1")
    assert standin.health()["dead"] == "NUL in the uuid"
    standin.ask("POST", "/start")
    assert api.auth(U1, "key-1").status == 200


@pytest.mark.parametrize("headers,status", [
    ({"X-Forwarded-For": "192.0.2.9"}, 301),
    ({"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "http"}, 301),
    ({"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}, 200)])
def test_forwarded_without_https_is_sent_to_https(api, headers, status):
    reply = api.auth(U1, "key-1", headers=headers)
    assert reply.status == status
    if status == 301:
        assert reply.headers["Location"].startswith("https://")
