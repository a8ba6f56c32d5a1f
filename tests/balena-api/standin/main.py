"""Command line of the stand-in: listens on an API and a control address until SIGTERM."""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import sys

from standin import model
from standin.api import Api
from standin.control import Control
from standin.journal import Journal

KEYS = {
    "VPN_SERVICE_API_KEY": (model.SERVICE, "vpn"),
    "VPN_GUEST_API_KEY": (model.GUEST, "guest"),
    "VPN_API_API_KEY": (model.API, "api"),
}


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, epilog="Keys that exist from the start "
                                     "come in " + ", ".join(KEYS) + "; all else over the control port.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="the API")
    parser.add_argument("--control", default="127.0.0.1:0", metavar="HOST:PORT|unix:PATH")
    parser.add_argument("--log", metavar="FILE", help="append what happens as JSON lines")
    parser.add_argument("--exit-on-death", action="store_true",
                        help="end for real where the real API's process ends; otherwise only the "
                             "API's port goes away and the control port tells why")
    return parser.parse_args(argv)


def host_port(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def serve(options):
    api = Api(Journal(options.log))
    control = Control(api)
    for variable, (kind, name) in KEYS.items():
        if os.environ.get(variable):
            api.db.put_key(os.environ[variable], model.Key(kind, name))
    if options.exit_on_death:
        api.on_death = lambda why: os._exit(1)
    await api.listen(*host_port(options.listen))
    if options.control.startswith("unix:"):
        await control.server.listen_unix(options.control[5:])
        where = options.control
    else:
        await control.server.listen(*host_port(options.control))
        where = "%s:%d" % (host_port(options.control)[0], control.server.port)
    print(json.dumps({"api": "%s:%d" % api.address, "control": where}), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    api.server.close()
    control.server.close()
    if options.control.startswith("unix:"):
        pathlib.Path(options.control[5:]).unlink(missing_ok=True)


def main():
    try:
        asyncio.run(serve(parse(sys.argv[1:])))
    except OSError as failure:
        print("balena-api: %s" % failure, file=sys.stderr)
        sys.exit(1)
