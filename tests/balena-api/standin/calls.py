"""The calls of a VPN service, each answered as the real API answers it. README.md has the table."""

import ipaddress
import json
import re
import urllib.parse

from standin import model, odata
from standin.server import Answer

REPORT_MAX = 524_288  # bytes of a client-connect body


class Died(Exception):
    """The real API's process ends here, without an answer."""


class Ctx:
    """One call on its way: who asks, and what the journal will say about it."""

    def __init__(self, request, who):
        self.request = request
        self.who = who
        self.note = {}


def html(status, text):
    page = "<!DOCTYPE html>\n<html><body><pre>%s</pre></body></html>\n" % text
    return Answer(status, page.encode(), "text/html; charset=utf-8")


def as_json(status, value):
    return Answer(status, json.dumps(value, separators=(",", ":")).encode())


OK = Answer(200)
REFUSED = Answer(401)
BAD = Answer(400)


def key_required():
    return as_json(401, {"error": "API key required"})


def key_of(request):
    """The key shown, None for none. One blank after the scheme, which may be in any case."""
    match = re.fullmatch(r"(?i:bearer) (\S+)", request.headers.get("authorization", ""))
    if match:
        return match.group(1)
    return dict(request.parameters()).get("apikey")


def parameters_of(request):
    return [pair for pair in request.parameters() if pair[0] != "apikey"]


def json_of(request):
    """The body, None if it is not JSON or not called so."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        return None
    try:
        return json.loads(request.body)
    except ValueError:
        return None


def rows(objects):
    return as_json(200, {"d": objects})


class Calls:
    def __init__(self, db, on_auth=None):
        self.db = db
        # Called before a device's rights are read that the API has not in its cache.
        self.on_uncached = on_auth or (lambda: None)

    ROUTES = [
        ("auth", "GET", r"/services/vpn/auth/.*"),
        ("client-connect", "POST", r"/services/vpn/client-connect/?"),
        ("client-disconnect", "POST", r"/services/vpn/client-disconnect/?"),
        ("register", "POST", r"/v7/service_instance"),
        ("find-host", "GET", r"/v7/service_instance"),
        ("heartbeat", "PATCH", r"/v7/service_instance\((?P<id>[0-9]+)\)"),
        ("read-instance", "GET|DELETE", r"/v7/service_instance\((?P<id>[0-9]+)\)"),
        ("can-access", "POST", r"/v7/device\(uuid=@uuid\)/canAccess"),
        ("is-connected", "GET", r"/v7/device\(@id\)"),
        ("managed-by", "GET", r"/v7/device\(uuid=@uuid\)"),
        ("count-devices", "GET", r"/v7/device/\$count"),
        ("list-devices", "GET", r"/v7/device"),
    ]
    _ROUTES = [(name, re.compile(methods), re.compile(path)) for name, methods, path in ROUTES]

    def route(self, request):
        """-> name of the call, its path's match. (None, None): no such call."""
        path = request.path
        if path.startswith("/v7/"):
            path = urllib.parse.unquote(path)
        for name, methods, pattern in self._ROUTES:
            match = pattern.fullmatch(path)
            if match and methods.fullmatch(request.method):
                return name, match
        return None, None

    def answer(self, name, match, ctx):
        """The API's answer. Raises Died where its process ends."""
        if "x-forwarded-for" in ctx.request.headers and (
                ctx.request.headers.get("x-forwarded-proto") != "https"):
            host = ctx.request.headers.get("host", "localhost")
            return Answer(301, b"", "text/plain", Location="https://%s%s" % (
                host, ctx.request.target))
        if name is None:
            return html(404, "Cannot %s %s" % (
                re.sub(r"\W", "", ctx.request.method), "that"))
        try:
            return getattr(self, name.replace("-", "_"))(ctx, match)
        except odata.Unknown as unknown:
            ctx.note["unknown"] = str(unknown)
            return as_json(400, {"error": str(unknown)})
        except PermissionError:
            return REFUSED

    # --- devices that connect ---

    def auth(self, ctx, match):
        raw = ctx.request.path[len("/services/vpn/auth/"):].removesuffix("/")
        if not raw or "/" in raw:
            return html(404, "Cannot GET that")
        if re.search(r"%(?![0-9A-Fa-f]{2})", raw):
            return html(400, "Failed to decode parameter")
        try:
            uuid = urllib.parse.unquote(raw, errors="strict")
        except UnicodeDecodeError:
            return html(400, "Failed to decode parameter")
        if "\0" in uuid:
            raise Died("NUL in the uuid")
        ctx.note["uuid"] = uuid
        if ctx.who is None or ctx.who.kind == model.SESSION:
            return key_required()
        cached = (uuid, ctx.who.name) in self.db.known_devices
        if not cached:
            self.on_uncached()
        allowed = uuid in self.db.devices and (
            ctx.who.uuid == uuid or (ctx.who.kind == model.USER and ctx.who.sees(uuid)))
        if allowed:
            self.db.known_devices.add((uuid, ctx.who.name))
        return OK if allowed else REFUSED

    def client_connect(self, ctx, match):
        return self.report(ctx, True)

    def client_disconnect(self, ctx, match):
        return self.report(ctx, False)

    def report(self, ctx, connected):
        if len(ctx.request.body) > REPORT_MAX:
            return html(413, "request entity too large")
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        body = json_of(ctx.request)
        ctx.note["body"] = body
        if not isinstance(body, dict):
            return BAD
        uuids, service_id = body.get("uuids"), body.get("serviceId")
        if not isinstance(uuids, list) or not uuids or not all(isinstance(u, str) for u in uuids):
            return BAD
        if not isinstance(service_id, int) or isinstance(service_id, bool):
            return BAD
        changed = self.db.report(connected, service_id, uuids)
        if changed is None:
            return Answer(409)
        ctx.note["changed"] = changed
        return OK

    # --- service instances ---

    def register(self, ctx, match):
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        body = json_of(ctx.request)
        address = body.get("ip_address") if isinstance(body, dict) else None
        if address is None:
            address = ctx.request.peer
        try:
            if not isinstance(address, str) or len(address) > 39:
                raise ValueError
            ipaddress.ip_address(address)
        except ValueError:
            return BAD
        instance = self.db.add_instance(address)
        ctx.note.update(id=instance.id, ip_address=address)
        return as_json(201, {"id": instance.id})

    def heartbeat(self, ctx, match):
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        ctx.note["body"] = json_of(ctx.request)
        if ctx.note["body"] != {"is_alive": True}:
            return BAD
        instance = self.db.instances.get(int(match["id"]))
        if instance is not None:
            instance.beat()
        return OK

    def read_instance(self, ctx, match):
        return REFUSED

    def find_host(self, ctx, match):
        uuid = odata.find_host(parameters_of(ctx.request))
        if ctx.who is None or ctx.who.kind != model.USER:
            return REFUSED
        device = self.db.devices.get(uuid)
        if device is None or not device.connected or not ctx.who.sees(uuid):
            return rows([])
        instance = self.db.instances.get(device.service_instance)
        if instance is None:
            return rows([])
        return rows([{"id": instance.id, "ip_address": instance.address}])

    # --- questions about devices ---

    def can_access(self, ctx, match):
        body = json_of(ctx.request)
        ctx.note["body"] = body
        action = body.get("action") if isinstance(body, dict) else None
        uuid, actions = odata.can_access(parameters_of(ctx.request), action)
        device = self.db.devices.get(uuid)
        if device is None or ctx.who is None or not ctx.who.may_tunnel(uuid, actions):
            return REFUSED
        return rows([{"id": device.id}])

    def is_connected(self, ctx, match):
        device = self.db.by_id.get(odata.is_connected(parameters_of(ctx.request)))
        if ctx.who is None or ctx.who.kind not in (model.SERVICE, model.USER):
            return REFUSED
        if device is None or not device.connected or not ctx.who.sees(device.uuid):
            return rows([])
        return rows([{"id": device.id}])

    def managed_by(self, ctx, match):
        uuid = odata.managed_by(parameters_of(ctx.request))
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        device = self.db.devices.get(uuid)
        if device is None:
            return rows([])
        managed_by = device.service_instance
        return rows([{"is_managed_by__service_instance":
                      None if managed_by is None else {"__id": managed_by}}])

    def list_devices(self, ctx, match):
        listing = odata.Listing(parameters_of(ctx.request), count=False)
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        return rows([{"uuid": d.uuid} for d in listing.cut(self.db.managed(listing.service_id))])

    def count_devices(self, ctx, match):
        listing = odata.Listing(parameters_of(ctx.request), count=True)
        if ctx.who is None or ctx.who.kind != model.SERVICE:
            return REFUSED
        return rows(len(self.db.managed(listing.service_id)))
