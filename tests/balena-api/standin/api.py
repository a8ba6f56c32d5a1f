"""The API as a process: listens, answers through Calls, is unwell when told to, may die."""

import asyncio

from standin import calls, model
from standin.journal import Journal
from standin.outage import Outage
from standin.server import Answer, Server

GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is not HTTP\r\n\r\n"


class Api:
    def __init__(self, journal=None):
        self.db = model.Model()
        self.journal = journal or Journal()
        self.calls = calls.Calls(self.db, on_auth=self.on_uncached)
        self.server = Server(self.handle, on_malformed=self.on_malformed)
        self.outage = Outage()
        self.address = None
        self.dead = None  # why, once the process "ended"
        self.on_death = lambda why: None

    # --- life ---

    async def listen(self, host, port):
        await self.server.listen(host, port)
        self.address = (host, self.server.port)

    async def start(self):
        """Comes (back) up on the same address. What the database knows outlives the process."""
        if self.server.listener is None:
            await self.server.listen(*self.address)
        if self.dead is not None:
            self.db.known_devices.clear()
            self.dead = None
            self.journal.write("started")

    async def set_outage(self, outage):
        self.outage = outage
        self.journal.write("mode", **outage.view())
        if outage.mode == "down":
            self.server.close()
        else:
            await self.start()

    def die(self, why):
        """What a crash of the real one looks like from outside: no answer, then nobody there."""
        self.dead = why
        self.journal.write("died", why=why)
        self.server.close()
        self.on_death(why)

    # --- a request ---

    def on_malformed(self, connection, head, bad):
        self.journal.write("malformed", peer=connection.peer, head=head.decode("latin-1"),
                           why=str(bad), status=bad.status)

    def on_uncached(self):
        if self.outage.mode == "redis-down":
            raise calls.Died("auth of an uncached device without Redis")

    async def handle(self, request, connection):
        name, match = self.calls.route(request)
        key = calls.key_of(request)
        who = self.db.keys.get(key)
        ctx = calls.Ctx(request, who)
        entry = {"call": name, "method": request.method, "target": redacted(request, key),
                 "who": who.name if who else ("unknown" if key else None)}
        if "traceparent" in request.headers:
            entry["traceparent"] = request.headers["traceparent"]
        try:
            if self.outage.hits(name):
                answer = await self.unwell(name, match, ctx, connection)
            else:
                answer = self.calls.answer(name, match, ctx)
        except calls.Died as died:
            self.journal.write("request", **entry, **ctx.note, status=None)
            self.die(str(died))
            return None
        status = answer.status if isinstance(answer, Answer) else None
        self.journal.write("request", **entry, **ctx.note, status=status)
        return answer

    async def unwell(self, name, match, ctx, connection):
        """The answer under an outage; None: none. Raises Died."""
        outage = self.outage
        ctx.note["mode"] = outage.mode
        if outage.mode == "ill":
            return self.ill(name, ctx)
        if outage.mode == "slow":
            await asyncio.sleep(outage.ms / 1000)
            return self.calls.answer(name, match, ctx)
        if outage.mode == "hang":
            await asyncio.sleep(outage.ms / 1000)
            raise calls.Died("the database hangs")
        if outage.mode == "5xx":
            return calls.html(outage.status, "from a proxy before the API")
        if outage.mode == "html":
            return calls.html(200, "welcome to this network")
        if outage.mode == "garbage":
            asyncio.get_running_loop().call_later(0.1, connection.transport.close)
            return GARBAGE
        if outage.mode == "reset":
            connection.reset()
            return None
        if outage.mode == "silent":
            return None
        return self.calls.answer(name, match, ctx)  # redis-down

    def ill(self, name, ctx):
        """No key is found without the database, not even the VPN service's own."""
        if name != "auth":
            return Answer(401)
        raw = ctx.request.path[len("/services/vpn/auth/"):]
        cached = ctx.who is not None and (raw, ctx.who.name) in self.db.known_devices
        if not cached and self.outage.uncached == "die":
            raise calls.Died("auth of an uncached device without the database")
        return calls.key_required()


def redacted(request, key):
    """The target without the key that may be in it."""
    target = request.target
    if key and "apikey=" in target:
        target = target.replace("apikey=" + key, "apikey=***")
    return target
