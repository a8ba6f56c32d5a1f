"""kubectl with one kubeconfig, speaking in parsed JSON; and a watch that remembers."""

import json
import subprocess
import threading
import time

from clusterlab import programs


class Failed(RuntimeError):
    """kubectl ended with another status than 0; the text is what it said."""


class Kubectl:
    def __init__(self, kubeconfig, program=None):
        self.kubeconfig = str(kubeconfig)
        self.program = program or programs.path("kubectl")

    def command(self, *words):
        return [self.program, "--kubeconfig", self.kubeconfig, *map(str, words)]

    def run(self, *words, stdin=None, timeout=120):
        """-> what it prints"""
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True,
                              timeout=timeout)
        if done.returncode != 0:
            raise Failed("kubectl %s: %s" % (" ".join(map(str, words)), done.stderr.strip()))
        return done.stdout

    def json(self, *words, **more):
        return json.loads(self.run(*words, "-o", "json", **more))

    def get(self, kind, name=None, namespace=None, **more):
        """One object, None if there is none; without a name the list's items."""
        words = ["get", kind, *([name] if name else []), *(["-n", namespace] if namespace else [])]
        for option, value in more.items():
            words.append("--%s=%s" % (option.replace("_", "-"), value))
        if name is None:
            return self.json(*words)["items"]
        text = self.run(*words, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def apply(self, *objects, namespace=None, server_side=False):
        words = ["apply", "-f", "-", *(["-n", namespace] if namespace else []),
                 *(["--server-side"] if server_side else [])]
        return self.run(*words, stdin=json.dumps({"apiVersion": "v1", "kind": "List",
                                                  "items": list(objects)}))

    def raw(self, path):
        return self.run("get", "--raw", path)

    def watch(self, kind, namespace, **more):
        return Watch(self, kind, namespace, **more)


class Watch(threading.Thread):
    """Every event of a kind in a namespace from now on: events is [(Unix s, type, object)]."""

    def __init__(self, kubectl, kind, namespace, selector=None):
        super().__init__(daemon=True)
        self.events = []
        words = ["get", kind, "-n", namespace, "--watch", "--output-watch-events", "-o", "json"]
        self.process = subprocess.Popen(
            kubectl.command(*words, *(["-l", selector] if selector else [])),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.start()

    def run(self):
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append((time.time(), event["type"], event["object"]))

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.join()
        self.process.stdout.close()
