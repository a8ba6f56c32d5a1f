"""The control port: what a test tells the stand-in and asks it. JSON over HTTP; README.md."""

import json
import re

from standin import dial, model
from standin.calls import as_json
from standin.outage import Outage
from standin.server import Answer, Server


class Control:
    ROUTES = [
        ("GET", r"/health", "health"),
        ("GET", r"/view", "view"),
        ("GET", r"/log", "log"),
        ("PUT", r"/mode", "mode"),
        ("POST", r"/start", "start"),
        ("PUT", r"/devices/([^/]+)", "put_device"),
        ("DELETE", r"/devices/([^/]+)", "drop_device"),
        ("PUT", r"/keys/([^/]+)", "put_key"),
        ("DELETE", r"/keys/([^/]+)", "drop_key"),
        ("DELETE", r"/service_instances/([0-9]+)", "drop_instance"),
        ("POST", r"/dial", "dial"),
    ]

    def __init__(self, api):
        self.api = api
        self.server = Server(self.handle)

    async def handle(self, request, connection):
        for method, path, name in self.ROUTES:
            match = re.fullmatch(path, request.path)
            if match and request.method == method:
                return await self.call(name, request, match.groups())
        return as_json(404, {"error": "no such request"})

    async def call(self, name, request, groups):
        try:
            body = json.loads(request.body) if request.body else {}
            return await getattr(self, name)(dict(request.parameters()), body, *groups)
        except (KeyError, TypeError, ValueError) as bad:
            return as_json(400, {"error": "%s: %s" % (type(bad).__name__, bad)})

    async def health(self, query, body):
        return as_json(200, {"address": list(self.api.address), "dead": self.api.dead,
                             "mode": self.api.outage.view(), "seq": self.api.journal.seq})

    async def view(self, query, body):
        return as_json(200, {"seq": self.api.journal.seq, **self.api.db.view()})

    async def log(self, query, body):
        """?since=SEQ&wait_ms=MS&limit=N"""
        since = int(query.get("since", "0"))
        await self.api.journal.wait(since, int(query.get("wait_ms", "0")) / 1000)
        return as_json(200, self.api.journal.since(since, int(query.get("limit", "10000"))))

    async def mode(self, query, body):
        await self.api.set_outage(Outage(**body))
        return as_json(200, self.api.outage.view())

    async def start(self, query, body):
        await self.api.start()
        return Answer(204)

    async def put_device(self, query, body, uuid):
        device = self.api.db.put_device(uuid, body["key"], body.get("api_port"))
        self.api.journal.write("device", uuid=uuid, id=device.id)
        return as_json(200, device.view())

    async def drop_device(self, query, body, uuid):
        found = self.api.db.drop_device(uuid)
        return Answer(204) if found else as_json(404, {"error": "no such device"})

    async def put_key(self, query, body, name):
        """{"key": "...", "kind": "user", "tunnel": [{"uuid": "*", "ports": ["any", 22]}]}"""
        kinds = (model.SERVICE, model.API, model.GUEST, model.USER, model.PROVISIONING,
                 model.SESSION)
        if body["kind"] not in kinds:
            raise ValueError("kind: one of %s" % ", ".join(kinds))
        for grant in body.get("tunnel", []):
            if not isinstance(grant["uuid"], str) or not isinstance(grant["ports"], list):
                raise ValueError("tunnel: [{uuid, ports}]")
        who = model.Key(body["kind"], name, body.get("tunnel", []))
        self.api.db.put_key(body["key"], who)
        self.api.journal.write("key", name=name, kind=who.kind)
        return Answer(204)

    async def drop_key(self, query, body, name):
        self.api.db.drop_key(name)
        return Answer(204)

    async def drop_instance(self, query, body, number):
        found = self.api.db.drop_instance(int(number))
        self.api.journal.write("service_instance_deleted", id=int(number))
        return Answer(204) if found else as_json(404, {"error": "no such service instance"})

    async def dial(self, query, body):
        """{"uuid": "..."[, "service_instance": id][, "address": "..."][, "proxy_port": 3128]}: the
        service instance that manages the device unless one is named."""
        device = self.api.db.devices[body["uuid"]]
        number = body.get("service_instance", device.service_instance)
        instance = self.api.db.instances.get(number)
        address = body.get("address") or (instance.address if instance else None)
        if address is None:
            return as_json(200, {"status": 503, "why": "no service instance manages it"})
        key = next((k for k, who in self.api.db.keys.items() if who.kind == model.API), "")
        result = await dial.dial(address, body.get("proxy_port", dial.PROXY_PORT), device.uuid,
                                 device.api_port or 80, key, device.key)
        self.api.journal.write("dial", uuid=device.uuid, address=address, **result)
        if result.get("died"):
            self.api.die(result["why"])
        return as_json(200, result)
