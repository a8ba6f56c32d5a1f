"""Processes that outlive who started them, each known by name, pid and time of start."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time


def start_time(pid):
    """In clock ticks since boot, None if there is no such process or it is a zombie to the last thread:
    until that has ended the sockets are open, and who is started in its place finds its port taken."""
    try:
        fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
        gone = fields[0] == "Z" and len(os.listdir("/proc/%d/task" % pid)) <= 1
    except OSError:
        return None
    return None if gone else int(fields[19])


class Processes:
    """What runs is in folder/processes/NAME, so that another process can end it; what they print
    is in folder/logs/NAME.log."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.logs = self.folder / "logs"
        self.records = self.folder / "processes"
        self.children = {}

    def start(self, name, *command, env=None, **popen):
        assert self.pid(name) is None, "%s runs already" % name
        for folder in (self.logs, self.records):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.logs / (name + ".log")).open("ab") as log:
            child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log, start_new_session=True,
                                     env={**os.environ, **(env or {})}, **popen)
        self.adopt(name, child)
        return child.pid

    def adopt(self, name, child):
        """One that somebody else has started."""
        self.records.mkdir(parents=True, exist_ok=True)
        self.children[name] = child
        record = {"pid": child.pid, "start": start_time(child.pid)}
        (self.records / name).write_text(json.dumps(record))

    def names(self):
        return sorted(p.name for p in self.records.iterdir()) if self.records.exists() else []

    def pid(self, name):
        """None: it does not run, or that pid is someone else's by now."""
        self.reap(name)
        try:
            record = json.loads((self.records / name).read_text())
        except (OSError, ValueError):
            return None
        alive = record["start"] is not None and start_time(record["pid"]) == record["start"]
        return record["pid"] if alive else None

    def reap(self, name):
        if name in self.children:
            self.children[name].poll()

    def signal(self, name, number):
        pid = self.pid(name)
        assert pid is not None, "%s does not run: see %s" % (name, self.log_file(name))
        os.kill(pid, number)

    def freeze(self, name):
        self.signal(name, signal.SIGSTOP)

    def thaw(self, name):
        self.signal(name, signal.SIGCONT)

    def stop(self, name, kill=False, timeout=10):
        """SIGTERM, or SIGKILL at once or when the time is over."""
        pid = self.pid(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
            deadline = time.monotonic() + timeout
            while self.pid(name) is not None:
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    deadline += timeout
                time.sleep(0.02)
        (self.records / name).unlink(missing_ok=True)

    def stop_all(self, first=()):
        """Those in first in that order, then the rest."""
        names = self.names()
        for name in [n for n in first if n in names] + [n for n in names if n not in first]:
            self.stop(name)

    def log_file(self, name):
        return self.logs / (name + ".log")

    def tail(self, name, lines=15):
        file = self.log_file(name)
        text = file.read_text(errors="replace") if file.exists() else ""
        return "\n".join(line[:300] for line in text.splitlines()[-lines:])
