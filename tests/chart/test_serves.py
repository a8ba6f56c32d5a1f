"""The script of `helm test`: what it takes for a pool that serves, and what not. OpenVPN is told by its words; the
real one, against a real pool, is in tests/cluster."""

import os
import socketserver
import subprocess
import threading

import pytest

from chartlab import CHART

CONNECTED = "TCP connection established with [AF_INET]192.0.2.1:443\nTLS: Initial packet from [AF_INET]192.0.2.1:443\n"
REFUSED = CONNECTED + "AUTH: Received control message: AUTH_FAILED\n"
LATER = CONNECTED + "AUTH: Received control message: AUTH_FAILED,TEMP[backoff 7]:the API has no answer\n"


@pytest.fixture
def caller_gets():
    """A CONNECT proxy with one answer for all -> its port, and what it was asked"""
    servers = []

    def start(answer):
        asked = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                asked.append(self.rfile.readline().decode())
                while self.rfile.readline().strip():  # what is left unread would end in a reset
                    pass
                self.wfile.write(answer.encode())

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1], asked
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run(tmp_path):
    def run(openvpn_says, port, tls="false"):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin/openvpn"
        program.write_text("#!/bin/sh\necho \"$@\" >%s/arguments\ncat <<'END'\n%sEND\nexit 1\n" % (tmp_path, openvpn_says))
        program.chmod(0o755)
        return subprocess.run(["sh", CHART / "files/serves.sh"], capture_output=True, text=True, timeout=60, env={
            "PATH": "%s/bin:%s" % (tmp_path, os.environ["PATH"]), "WORK_DIR": str(tmp_path), "ATTEMPTS": "2",
            "PAUSE_SECONDS": "0", "DEVICES_HOST": "vpn-devices", "DEVICES_PORT": "443", "PROTO": "tcp-client",
            "CALLERS_HOST": "127.0.0.1", "CALLERS_PORT": str(port), "CALLERS_TLS": tls})
    return run


def test_refusals_mean_that_it_serves(run, caller_gets, tmp_path):
    port, asked = caller_gets("HTTP/1.0 407 Proxy Authorization Required\r\n\r\n")
    done = run(REFUSED, port)
    assert done.returncode == 0, done.stdout + done.stderr
    uuid = (tmp_path / "credentials").read_text().split()[0]
    assert len(uuid) == 32 and asked == ["CONNECT %s.balena:80 HTTP/1.1\r\n" % uuid]
    arguments = (tmp_path / "arguments").read_text()
    assert "--remote vpn-devices 443" in arguments and uuid not in arguments


@pytest.mark.parametrize("says", ["", CONNECTED, LATER, "AUTH_FAILED\n"],
                         ids=["nothing", "no answer", "the API is ill", "without a connection"])
def test_a_device_without_a_true_refusal_is_a_fault(run, caller_gets, says):
    port, asked = caller_gets("HTTP/1.0 407 Proxy Authorization Required\r\n\r\n")
    done = run(says, port)
    assert done.returncode == 1 and asked == []
    assert "not yet: an unknown device is refused" in done.stdout and says.strip() in done.stdout


@pytest.mark.parametrize("answer", ["HTTP/1.0 502 Bad Gateway\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", ""],
                         ids=["the API is ill", "let in", "nothing"])
def test_a_caller_without_a_refusal_is_a_fault(run, caller_gets, answer):
    port, _ = caller_gets(answer)
    done = run(REFUSED, port)
    assert done.returncode == 1
    assert "not yet: an unknown caller is refused" in done.stdout and answer.strip() in done.stdout


def test_a_proxy_behind_tls_is_left_out(run):
    assert run(REFUSED, 9, tls="true").returncode == 0
