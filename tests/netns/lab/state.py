"""Asks vpn-state."""

import json
import threading
import time


class State:
    def __init__(self, machine, port=8090, host="127.0.0.1"):
        self.machine = machine
        self.port = port
        self.host = host

    def get(self, path, timeout=10):
        """-> status, body (bytes)"""
        connection = self.machine.http(self.host, self.port, timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ready(self):
        return self.get("/readyz")[0] == 200

    def device(self, uuid):
        """What is known of an online device, None if it is offline. Raises while not ready."""
        status, body = self.get("/v1/devices/" + uuid)
        if status == 404:
            return None
        if status != 200:
            raise RuntimeError("state service: %d %r" % (status, body))
        return json.loads(body)

    def devices(self):
        status, body = self.get("/v1/devices")
        if status != 200:
            raise RuntimeError("state service: %d %r" % (status, body))
        return {d["uuid"]: d for d in map(json.loads, body.splitlines())}

    def instances(self):
        status, body = self.get("/v1/instances")
        if status != 200:
            raise RuntimeError("state service: %d %r" % (status, body))
        return json.loads(body)["instances"]

    def watch(self):
        return Watch(self)


class Watch(threading.Thread):
    """/v1/watch from now on: events as they come, each with the time of its arrival in "seen"."""

    def __init__(self, state):
        super().__init__(daemon=True)
        self.events = []
        self.connection = state.machine.http(state.host, state.port, timeout=None)
        self.connection.request("GET", "/v1/watch")
        self.response = self.connection.getresponse()
        self.start()

    def run(self):
        try:
            for line in self.response:
                if line.strip():
                    self.events.append({**json.loads(line), "seen": time.time()})
        except (OSError, ValueError, AttributeError):
            pass  # closed

    def of(self, kind, uuid=None):
        return [e for e in list(self.events) if e.get("type") == kind
                and (uuid is None or uuid_of(e) == uuid)]

    def close(self):
        if self.connection.sock is not None:
            self.connection.sock.shutdown(2)
        self.connection.close()


def uuid_of(event):
    return event.get("uuid") or event.get("session", {}).get("uuid")
