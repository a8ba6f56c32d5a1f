#!/usr/bin/python3
"""Between an OpenVPN's management socket and its sidecar: notes when OpenVPN itself said what.

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
        rows = (line.split() for line in self.log.read_text().splitlines()[1:])
        return [float(at) for at, what, who in rows if what == event and who == uuid]

    def close(self):
        self.process.kill()
        self.process.wait()


# --- the process ---

class Notes:
    """Of OpenVPN's lines: an event is noted with the time at which its first line was read."""

    def __init__(self):
        self.partial = b""
        self.event = None

    def feed(self, data, at):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            word, _, rest = line.strip().partition(b":")
            if word != b">CLIENT":
                continue
            if not rest.startswith(b"ENV,"):
                self.event = (at, rest.partition(b",")[0].decode())
            elif rest.startswith(b"ENV,username=") and self.event:
                print("%.6f" % self.event[0], self.event[1], rest.partition(b"=")[2].decode(),
                      flush=True)


async def pump(reader, writer, notes=None):
    while data := await reader.read(65536):
        at = time.time()
        writer.write(data)  # before anything else: what we note must not delay it
        if notes:
            notes.feed(data, at)
    writer.close()


async def main(socket, uid):
    async def on_sidecar(reader, writer):
        openvpn_reader, openvpn_writer = await asyncio.open_unix_connection(socket + ".real")
        await asyncio.gather(pump(reader, openvpn_writer), pump(openvpn_reader, writer, Notes()))

    await asyncio.start_unix_server(on_sidecar, socket)
    os.chmod(socket, 0o666)
    os.setresuid(uid, uid, uid)  # OpenVPN looks at who comes
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
