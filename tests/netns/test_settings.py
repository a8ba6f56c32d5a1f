"""Settings that do not fit: each program says so by its name, names what is wrong, exits with 2."""

import base64
import os
import socket
import subprocess

import pytest

from conftest import BIN

PATH = os.environ["PATH"]
KEY = {"VPN_SERVICE_API_KEY": "service-key"}
API = {**KEY, "BALENA_API_INTERNAL_HOST": "127.0.0.1:9"}
SECRET = "hush"


def told(program, *words, **env):
    """-> exit status, standard output, what is said"""
    done = subprocess.run([str(BIN / program), *words], env={"PATH": PATH, **env}, text=True,
                          capture_output=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program, words, env, name", [
    ("vpn-connect-proxy", (), {}, "VPN_SERVICE_API_KEY"),
    ("vpn-connect-proxy", ("--bogus",), API, "--bogus"),
    ("vpn-connect-proxy", ("--workers", "1000"), API, "--workers: 1000"),
    ("vpn-connect-proxy", ("--listen", "foo"), API, "--listen: 'foo'"),
    ("vpn-connect-proxy", ("--metrics-listen", "foo"), API, "--metrics-listen: 'foo'"),
    ("vpn-connect-proxy", ("--tls-cert", "/nope", "--tls-key", "/nope"), API, "/nope"),
    ("vpn-connect-proxy", (), {**API, "VPN_GUEST_API_KEY": SECRET + "\n"}, "VPN_GUEST_API_KEY: "),
    ("vpn-connect-proxy", (), {**API, "LOG_LEVEL": "loud"}, "LOG_LEVEL: 'loud'"),
    ("vpn-state", ("--listen", "foo"), KEY, "--listen: 'foo'"),
    ("vpn-state", ("--listen", "127.0.0.1:99999"), KEY, "--listen: '127.0.0.1:99999'"),
    ("vpn-state", (), {"VPN_SERVICE_API_KEY": SECRET + "\n"}, "VPN_SERVICE_API_KEY: "),
    ("vpn-controller", ("local", "--log-level", "loud"), API, "--log-level: 'loud'"),
    ("vpn-controller", ("local", "--runtime-dir", "run"), API, "--runtime-dir: 'run'"),
    ("vpn-controller", ("local", "--runtime-dir", "/tmp/" + 110 * "a"), API, "--runtime-dir: "),
    ("vpn-controller", ("--bogus",), {}, "'--bogus'"),
    ("vpn-controller", ("bogus",), {}, "no command 'bogus'"),
    ("vpn-controller", ("status",), {}, "did you mean 'vpn-controller local status'?"),
])
def test_bad_setting_is_named(program, words, env, name):
    status, _, said = told(program, *words, **env)
    assert status == 2, said
    assert program + ": " in said.splitlines()[0] and name in said.splitlines()[0]
    assert SECRET not in said


@pytest.mark.parametrize("program, env", [("vpn-state", KEY), ("vpn-connect-proxy", API)])
def test_taken_port_is_no_bad_setting(program, env):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = ("--metrics-listen", "127.0.0.1:0") if program == "vpn-connect-proxy" else ()
        status, _, said = told(program, "--listen", "127.0.0.1:%d" % taken.getsockname()[1], *more,
                               **env)
    assert status == 1, said


# --- the pool of the environment ---

@pytest.fixture
def pool(make_lab):
    """-> one that the environment makes, as it would be started; what is its is cleared away"""
    lab = make_lab(ready=False)
    encoded = {name: base64.b64encode((lab.tls / file).read_bytes()).decode() for name, file in (
        ("VPN_OPENVPN_CA_CRT", "ca.crt"), ("VPN_OPENVPN_SERVER_CRT", "server.crt"),
        ("VPN_OPENVPN_SERVER_KEY", "server.key"))}
    lab.pool.env = {**lab.pool.env, **encoded, "VPN_INSTANCE_COUNT": "1"}
    lab.pool.file = None
    return lab.pool


def asked(pool, *words, runtime=None, **env):
    """-> exit status, all that it says"""
    words += ("--runtime-dir", runtime or str(pool.runtime), "--state-dir", str(pool.state_dir))
    done = subprocess.run(pool.command(*words), env={**pool.env, **env}, text=True, timeout=30,
                          capture_output=True, cwd=pool.folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", [("check",), ()], ids=["check", "start"])
def test_variables_that_do_not_fit_are_named(pool, words):
    bad = (("VPN_DATA_CIPHERS", "NOPE"), ("VPN_DATA_CIPHERS", "FOO BAR"),
           ("VPN_OPENSSL_PROVIDERS", "nope"), ("VPN_SERVICE_API_KEY", SECRET + "\n"),
           ("VPN_SERVICE_API_KEY", SECRET + "\n" + SECRET), ("VPN_GUEST_API_KEY", SECRET + "\x01"),
           ("MONITOR_SECRET_TOKEN", SECRET + "\n"), ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"),
           ("BALENA_API_INTERNAL_HOST", "127.0.0.1:99999"),
           ("BALENA_API_INTERNAL_HOST", "x:99999"))
    for name, value in bad:
        status, said = asked(pool, *words, **{name: value})
        assert status == 2 and "is fine" not in said, (name, value, said)
        assert name + ": " in said and SECRET not in said, (name, value, said)
    assert pool.processes() == [] and not pool.runtime.exists()


def test_good_variables_are_fine(pool):
    status, said = asked(pool, "check", MONITOR_SECRET_TOKEN="two words")
    assert status == 0 and "is fine" in said, said


@pytest.mark.parametrize("folder", ["/tmp/two words", "/tmp/" + 110 * "a"])
@pytest.mark.parametrize("words", [("check",), ()], ids=["check", "start"])
def test_runtime_directory_that_does_not_fit_is_named(pool, words, folder):
    status, said = asked(pool, *words, runtime=folder)
    assert status == 2 and "--runtime-dir: " in said and "haproxy's settings" not in said, said


def test_check_says_once_that_no_api_is_named():
    status, _, said = told("vpn-controller", "local", "check")
    assert status == 2 and said.count("no balena API is named") == 1, said
