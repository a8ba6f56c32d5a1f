"""A caller of the CONNECT proxy that sends and sees raw bytes."""

import base64
import time


class Answer:
    """head of the answer; sock is the tunnel after a 200. rest: bytes in one read with the head."""

    def __init__(self, sock, head, rest, seconds):
        self.sock = sock
        self.rest = rest
        self.seconds = seconds
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.version, status, self.reason = (lines[0].split(" ", 2) + ["", ""])[:3]
        self.status = int(status)
        self.headers = {k.strip().lower(): v.strip()
                        for k, _, v in (line.partition(":") for line in lines[1:] if line)}

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def read_all(self):
        data = self.rest
        while chunk := self.sock.recv(65536):
            data += chunk
        return data

    def read_line(self):
        data = self.rest
        while not data.endswith(b"\n"):
            byte = self.sock.recv(1)
            if not byte:
                break
            data += byte
        self.rest = b""
        return data

    def say(self, line):
        self.sock.sendall(line + b"\n")
        return self.read_line()

    def get(self, path="/"):
        """GET through the tunnel. -> the whole reply"""
        self.sock.sendall(("GET %s HTTP/1.1\r\nHost: device\r\nConnection: close\r\n\r\n"
                           % path).encode())
        return self.read_all()


def basic(token, user="user"):
    return "Basic " + base64.b64encode(("%s:%s" % (user, token)).encode()).decode()


def connect(machine, target, token=None, host="127.0.0.1", proxy_port=3128, timeout=15,
            headers=()):
    """CONNECT to target ("{uuid}.balena:8080"). Raises if no answer comes."""
    lines = ["CONNECT %s HTTP/1.1" % target, "Host: %s" % target]
    if token is not None:
        lines.append("Proxy-Authorization: " + basic(token))
    lines += headers
    return raw(machine, ("\r\n".join(lines) + "\r\n\r\n").encode(), host, proxy_port, timeout)


def raw(machine, head, host="127.0.0.1", proxy_port=3128, timeout=15):
    sock = machine.connect(host, proxy_port, timeout)
    try:
        began = time.monotonic()
        sock.sendall(head)
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                raise RuntimeError("closed after %r" % data)
            data += chunk
        seconds = time.monotonic() - began
        head, _, rest = data.partition(b"\r\n\r\n")
        return Answer(sock, head, rest, seconds)
    except BaseException:
        sock.close()
        raise
