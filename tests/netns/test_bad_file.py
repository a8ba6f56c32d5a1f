"""A pool file with mistakes: all are named at once, the exit status is 2, nothing was started."""

import pathlib
import re
import subprocess

import pytest

# What is written where, and what is said about it. The file alone can tell, then only the machine.
OF_THE_FILE = (("replicas: 1", "replicas: many\n  colour: blue", "6:13", "spec.replicas"),
               ("", "", "7:3", "spec.colour"),
               ("timeoutSeconds: 10", "timeoutSeconds: -1", "14:21", "spec.drain.timeoutSeconds"))
OF_OPENVPN = (("  openvpn:\n", "  openvpn:\n    dataCiphers: [AES-256-GCM, NOPE]\n", "8:32",
               "spec.openvpn.dataCiphers"),)
OF_THE_MACHINE = (("caFile: ", "caFile: /no/such", "9:15", "spec.openvpn.tls.caFile"),
                  ("server.key", "server.crt", "11:16", "spec.openvpn.tls.keyFile"))


def spoil(file, mistakes):
    text = file.read_text()
    for good, bad, _, _ in mistakes:
        assert good in text, text
        text = text.replace(good, bad)
    file.write_text(text)


def told(lab, *words):
    """-> exit status, what it says. Under pool.yaml, as its user would call it."""
    done = subprocess.run(lab.pool.command(*words), env=lab.pool.env, capture_output=True,
                          text=True, timeout=30, cwd=lab.folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mistakes", [OF_THE_FILE, OF_THE_MACHINE, OF_OPENVPN],
                         ids=["file", "machine", "openvpn"])
def test_all_mistakes_are_named_and_nothing_is_started(make_lab, mistakes):
    lab = make_lab(ready=False)
    spoil(lab.pool.file, mistakes)
    for words in (("-f", "pool.yaml", "--runtime-dir", str(lab.pool.runtime), "--state-dir",
                   str(lab.pool.state_dir)), ("check", "-f", "pool.yaml")):
        status, said = told(lab, *words)
        assert status == 2, said
        for _, _, place, field in mistakes:
            assert re.search(r"pool\.yaml:%s: .*%s" % (place, re.escape(field)), said), said
    assert lab.pool.processes() == []
    assert lab.machine.run("nft", "list", "tables").stdout == ""
    assert not lab.pool.runtime.exists() and not lab.pool.state_dir.exists()
    assert lab.api.log(call="register") == []


def test_check_finds_nothing_wrong_with_a_good_file(make_lab):
    lab = make_lab(ready=False)
    status, said = told(lab, "check", "-f", "pool.yaml")
    assert status == 0, said
    assert not pathlib.Path(lab.pool.runtime).exists()
