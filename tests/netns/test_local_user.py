"""Another user of the machine: may look up names and read the status, and do nothing else."""

import json

PROBE = """
import socket, sys
for path in sys.argv[1:]:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    try:
        s.connect(path)
        s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\nstatus\\n")
        print(path, "bytes" if s.recv(100) else "closed")
    except OSError as e:
        print(path, "refused" if isinstance(e, PermissionError) else "closed")
"""
STRANGER = ("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "--")


def test_stranger_reaches_no_socket_that_does_anything(lab):
    device = lab.device(services=False).wait_online()
    run = lab.pool.runtime
    done = lab.machine.run(*STRANGER, "/usr/bin/python3", "-c", PROBE,
                           *(str(socket) for socket in run.glob("*.sock")))
    answers = {path.removeprefix(str(run) + "/"): answer for path, answer in
               (line.split() for line in done.stdout.splitlines())}
    assert {name for name, answer in answers.items() if answer == "bytes"} == {
        "nss-1.sock", "controller.sock"}, answers
    assert set(answers) >= {"server-1.sock", "sidecar-1.sock", "haproxy.sock"}
    assert device.online and lab.pool.state.device(device.uuid)


def test_stranger_reads_no_secret(lab):
    for process, name, _ in lab.pool.processes():
        done = lab.machine.run(*STRANGER, "cat", "/proc/%d/environ" % process, check=False)
        assert done.stdout == "", "environment of " + name
        words = lab.machine.run(*STRANGER, "cat", "/proc/%d/cmdline" % process, check=False).stdout
        assert "service-key" not in words and "guest-key" not in words
    secret_files = [lab.pool.runtime / "controller.json", lab.pool.runtime / "sidecar-1.json",
                    lab.pool.runtime / "haproxy.cfg", *lab.pool.state_dir.glob("*")]
    for file in secret_files:
        done = lab.machine.run(*STRANGER, "cat", str(file), check=False)
        assert done.returncode != 0, "a stranger reads %s" % file
    assert json.loads((lab.pool.runtime / "controller.json").read_text())
