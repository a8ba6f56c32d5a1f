#!/usr/bin/python3
"""Between an OpenVPN's management socket and its sidecar: notes when OpenVPN itself said what, and
each command that it was given.

    tap.py SOCKET UID     OpenVPN listens on SOCKET.real; whoever comes to SOCKET is passed on

As a module: Tap puts itself between, without a device's notice.
"""

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import time

from lab.wait import wait_until


class Tap:
    """Of one instance, from now until its OpenVPN ends."""

    def __init__(self, pool, index):
        self.log = pool.folder / ("tap-%d.log" % index)
        socket = pool.runtime / ("server-%d.sock" % index)
        (controller,) = pool.pids("vpn-controller")
        uid = os.stat("/proc/%d" % pool.pids("vpn-sidecar", index)[0]).st_uid
        os.kill(controller, signal.SIGSTOP)
        try:
            old = pool.kill9("vpn-sidecar", index)
            socket.rename(socket.with_suffix(".sock.real"))
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-m", "lab.tap", str(socket), str(uid)],
                cwd=pathlib.Path(__file__).resolve().parents[1], stdout=self.log.open("wb"))
            wait_until(lambda: self.log.read_text(), 10, "the tap listens")
        finally:
            os.kill(controller, signal.SIGCONT)
        pool.wait_restarted("vpn-sidecar", old, index)
        wait_until(lambda: pool.sidecar(index)["link"] == "live", 10, "the link is live again")

    def times(self, event, uuid):
        """Unix s of each `>CLIENT:{event}` about uuid."""
        return [float(at) for at, what, who in self.rows() if what == event and who == uuid]

    def commands(self):
        """Lines that went to OpenVPN, without their ends; what is not ASCII as \\x.."""
        return [text for _, what, text in self.rows() if what == "COMMAND"]

    def rows(self):
        return [line.split(" ", 2) for line in self.log.read_text().splitlines()[1:]]

    def close(self):
        self.process.kill()
        self.process.wait()


# --- the process ---

def note(at, what, text):
    print("%.6f" % at, what, text.decode("ascii", "backslashreplace"), flush=True)


class Events:
    """Of OpenVPN's lines: an event is noted with the time at which its first line was read."""

    def __init__(self):
        self.event = None

    def line(self, line, at):
        word, _, rest = line.strip().partition(b":")
        if word != b">CLIENT":
            return
        if not rest.startswith(b"ENV,"):
            self.event = (at, rest.partition(b",")[0].decode())
        elif rest.startswith(b"ENV,username=") and self.event:
            note(*self.event, rest.partition(b"=")[2])


class Commands:
    def line(self, line, at):
        note(at, "COMMAND", line)


async def pump(reader, writer, notes):
    partial = b""
    while data := await reader.read(65536):
        at = time.time()
        writer.write(data)  # before anything else: what we note must not delay it
        *lines, partial = (partial + data).split(b"\n")
        for line in lines:
            notes.line(line, at)
    writer.close()


async def main(socket, uid):
    async def on_sidecar(reader, writer):
        openvpn_reader, openvpn_writer = await asyncio.open_unix_connection(socket + ".real")
        await asyncio.gather(pump(reader, openvpn_writer, Commands()),
                             pump(openvpn_reader, writer, Events()))

    await asyncio.start_unix_server(on_sidecar, socket)
    os.chmod(socket, 0o666)
    os.setresuid(uid, uid, uid)  # OpenVPN looks at who comes
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
