"""The API as a caller: reaches a device's supervisor through the VPN's CONNECT proxy."""

import asyncio
import base64
import time

PROXY_PORT = 3128
DEADLINE_SECONDS = 50


def connect_head(uuid, port, api_key):
    """Exactly the bytes that the real API sends."""
    credentials = base64.b64encode(b"resin_api:" + api_key.encode()).decode()
    return ("CONNECT {0}.balena:{1} HTTP/1.1\r\n"
            "host: {0}.balena:{1}\r\n"
            "Proxy-Authorization: Basic {2}\r\n"
            "Connection: close\r\n\r\n").format(uuid, port, credentials).encode()


async def dial(host, proxy_port, uuid, port, api_key, device_key):
    """-> what came of it: status (502 for all that the API would call so), died (a byte was glued to
    the head of the 200), proxy_status, reply of the device."""
    started = time.monotonic()
    try:
        result = await asyncio.wait_for(
            _dial(host, proxy_port, uuid, port, api_key, device_key), DEADLINE_SECONDS)
    except (OSError, asyncio.TimeoutError, ValueError) as failure:
        result = {"status": 502, "why": "%s: %s" % (type(failure).__name__, failure)}
    result["ms"] = round((time.monotonic() - started) * 1000, 1)
    return result


async def _dial(host, proxy_port, uuid, port, api_key, device_key):
    reader, writer = await asyncio.open_connection(host, proxy_port)
    try:
        writer.write(connect_head(uuid, port, api_key))
        head = b""
        while b"\r\n\r\n" not in head:
            data = await reader.read(65536)  # one read, as the real one sees it
            if not data:
                raise ValueError("closed after %d bytes of a head" % len(head))
            head += data
        head, _, glued = head.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status != 200:
            return {"status": 502, "proxy_status": status, "head": head.decode("latin-1")}
        if glued:
            return {"status": None, "died": True, "proxy_status": 200,
                    "why": "%d bytes in one read with the 200's head" % len(glued)}
        writer.write(("GET /ping?apikey=%s HTTP/1.1\r\nHost: %s.balena:%s\r\n"
                      "Connection: close\r\n\r\n" % (device_key, uuid, port)).encode())
        reply = await reader.read()
        return {"status": 200, "proxy_status": 200, "reply": reply.decode("latin-1")}
    finally:
        writer.close()
