"""A small HTTP/1.1 server on asyncio: as much of Node's as its callers can notice.

Answers without a body are chunked with a last chunk, connections say `Keep-Alive: timeout=5` and
are closed when idle that long. No request is answered out of order.
"""

import asyncio
import collections
import urllib.parse

HEAD_MAX = 16 * 1024
BODY_MAX = 4 * 1024 * 1024  # what is read at all; a handler may refuse less
KEEP_ALIVE_SECONDS = 5

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 400: "Bad Request",
    401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    413: "Payload Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}


class Request:
    """One request. target is as sent; path and query are split, still percent-encoded."""

    __slots__ = ("method", "target", "path", "query", "headers", "body", "peer", "version")

    def __init__(self, method, target, version, headers, peer):
        self.method = method
        self.target = target
        self.version = version
        self.path, _, self.query = target.partition("?")
        self.headers = headers  # lower-case names; of repeated ones the last
        self.body = b""
        self.peer = peer

    def parameters(self):
        """[(name, value)] of the query, decoded. A `+` stays one: OData does not mean a blank."""
        pairs = []
        for part in self.query.split("&"):
            if part:
                name, _, value = part.partition("=")
                pairs.append((urllib.parse.unquote(name), urllib.parse.unquote(value)))
        return pairs


class Answer:
    """What goes back. body None: an empty answer, chunked as the API sends it."""

    __slots__ = ("status", "body", "headers")

    def __init__(self, status, body=None, content_type="application/json; charset=utf-8", **headers):
        self.status = status
        self.body = body
        self.headers = [(k.replace("_", "-"), v) for k, v in headers.items()]
        if body is not None:
            self.headers.append(("Content-Type", content_type))

    def encode(self, keep):
        lines = ["HTTP/1.1 %d %s" % (self.status, REASONS.get(self.status, "Status"))]
        lines += ["%s: %s" % pair for pair in self.headers]
        if keep:
            lines += ["Connection: keep-alive", "Keep-Alive: timeout=%d" % KEEP_ALIVE_SECONDS]
        else:
            lines.append("Connection: close")
        if self.body is None:
            lines.append("Transfer-Encoding: chunked")
            payload = b"0\r\n\r\n"
        else:
            lines.append("Content-Length: %d" % len(self.body))
            payload = self.body
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + payload


class BadRequest(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def parse_head(head, peer):
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        raise BadRequest(400, "request line")
    if any(byte <= 0x20 or byte == 0x7F for byte in parts[1]):
        raise BadRequest(400, "control byte in the target")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, "header line")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return Request(parts[0].decode("latin-1"), parts[1].decode("latin-1"),
                   parts[2].decode("latin-1"), headers, peer)


class Chunks:
    """Decoder of a chunked body."""

    def __init__(self):
        self.body = bytearray()

    def feed(self, buffer):
        """Takes whole chunks off buffer. True at the last one."""
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                return False
            try:
                size = int(bytes(buffer[:end]).split(b";")[0], 16)
            except ValueError:
                raise BadRequest(400, "chunk size") from None
            if len(buffer) < end + 2 + size + 2:
                return False
            self.body += buffer[end + 2:end + 2 + size]
            del buffer[:end + 2 + size + 2]
            if len(self.body) > BODY_MAX:
                raise BadRequest(413, "body")
            if size == 0:
                return True


class Connection(asyncio.Protocol):
    """One connection: bytes -> requests -> handler -> answers, in order."""

    def __init__(self, server):
        self.server = server
        self.transport = None
        self.peer = ""
        self.buffer = bytearray()
        self.request = None  # the one whose body is awaited
        self.chunks = None
        self.missing = 0
        self.waiting = collections.deque()
        self.task = None
        self.idle = None

    def connection_made(self, transport):
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else "local"
        self.server.connections.add(self)
        self.server.on_accept(self)
        self.rest()

    def connection_lost(self, exc):
        self.server.connections.discard(self)
        self.busy()
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data):
        self.busy()
        self.buffer += data
        try:
            self.parse()
        except BadRequest as bad:
            self.server.on_malformed(self, bytes(self.buffer[:200]), bad)
            self.transport.write(Answer(bad.status).encode(keep=False))
            self.transport.close()
            return
        self.next()

    def parse(self):
        while True:
            if self.request is None and not self.parse_one_head():
                return
            if not self.parse_body():
                return
            self.waiting.append(self.request)
            self.request = None

    def parse_one_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > HEAD_MAX:
                raise BadRequest(431, "head")
            return False
        self.request = parse_head(bytes(self.buffer[:end]), self.peer)
        del self.buffer[:end + 4]
        headers = self.request.headers
        self.chunks = Chunks() if "chunked" in headers.get("transfer-encoding", "") else None
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_MAX:
            raise BadRequest(413 if length.isdigit() else 400, "content-length")
        self.missing = int(length)
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def parse_body(self):
        if self.chunks is not None:
            if not self.chunks.feed(self.buffer):
                return False
            self.request.body = bytes(self.chunks.body)
            return True
        if len(self.buffer) < self.missing:
            return False
        self.request.body = bytes(self.buffer[:self.missing])
        del self.buffer[:self.missing]
        return True

    def next(self):
        if self.task is None and self.waiting:
            self.task = asyncio.ensure_future(self.answer(self.waiting.popleft()))
        elif self.task is None:
            self.rest()

    async def answer(self, request):
        keep = (request.headers.get("connection", "").lower() != "close"
                and request.version == "HTTP/1.1")
        try:
            answer = await self.server.handler(request, self)
        finally:
            self.task = None
        if self.transport.is_closing() or answer is None:
            return  # the handler has done to the connection what there was to do
        self.transport.write(answer if isinstance(answer, bytes) else answer.encode(keep))
        if keep:
            self.next()
        else:
            self.transport.close()

    def rest(self):
        self.busy()
        self.idle = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def busy(self):
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def reset(self):
        """Ends the connection by RST."""
        self.transport.abort()


class Server:
    """Listens on one address. handler(request, connection) -> Answer, bytes or None (no answer)."""

    def __init__(self, handler, on_accept=None, on_malformed=None):
        self.handler = handler
        self.on_accept = on_accept or (lambda connection: None)
        self.on_malformed = on_malformed or (lambda connection, head, bad: None)
        self.connections = set()
        self.listener = None

    @property
    def port(self):
        return self.listener.sockets[0].getsockname()[1]

    async def listen(self, host, port):
        self.listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, backlog=1024)

    async def listen_unix(self, path):
        self.listener = await asyncio.get_running_loop().create_unix_server(
            lambda: Connection(self), path)

    def close(self):
        """Connection refused from now on; the connections that exist are cut."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        for connection in list(self.connections):
            connection.transport.abort()
