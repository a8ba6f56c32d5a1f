"""Images of a single static program, written as `docker save` would, without any engine."""

import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

_PAUSE = """#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void reap(int n) { (void)n; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
static void end(int n) { (void)n; _exit(0); }
int main(void) { signal(SIGCHLD, reap); signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
"""


def build_pause(folder):
    """What holds a Pod's namespaces. -> the program"""
    source, program = pathlib.Path(folder) / "pause.c", pathlib.Path(folder) / "pause"
    source.write_text(_PAUSE)
    subprocess.run(["gcc", "-Os", "-static", "-s", "-o", program, source], check=True)
    return program


def write(file, name, program):
    """An image called name whose entry point is the program."""
    program = pathlib.Path(program)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tar.gettarinfo(program, arcname=program.name)
        info.mode, info.uid, info.gid, info.uname, info.gname = 0o755, 0, 0, "", ""
        with program.open("rb") as content:
            tar.addfile(info, content)
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": machine(), "os": "linux", "config": {"Entrypoint": ["/" + program.name]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name],
                            "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(file, "w") as tar:
        for entry, content in (("manifest.json", manifest), ("config.json", config),
                               ("layer.tar", layer)):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return pathlib.Path(file)


def machine():
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True,
                          text=True).stdout.strip()
