#!/usr/bin/python3
"""What listens on a device: a web page on one port, a line-based service on another.

    services.py UUID HTTP_PORT[,...] LINES_PORT
"""

import asyncio
import contextlib
import sys

PAGE = """<!DOCTYPE html>
<title>device {uuid}</title>
<h1>Hello from device {short}</h1>
<p>You reached {uuid} through its VPN.</p>
"""


async def page(uuid, reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    body = PAGE.format(uuid=uuid, short=uuid[:7]).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def lines(uuid, reader, writer):
    """Speaks first; then each line comes back."""
    writer.write(b"device %s\r\n" % uuid.encode())
    while line := await reader.readline():
        writer.write(b"you said: " + line)
        await writer.drain()


def on_connection(service, uuid):
    async def serve(reader, writer):
        try:
            await service(uuid, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()
    return serve


async def main(uuid, http_ports, lines_port):
    for port in http_ports.split(","):
        await asyncio.start_server(on_connection(page, uuid), "", int(port))
    await asyncio.start_server(on_connection(lines, uuid), "", int(lines_port))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
