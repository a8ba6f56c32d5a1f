"""spec.throttle: what a device may send and be sent. Only lower bounds of time are asserted: a busy
machine makes a transfer slower, never faster than its limit."""

import threading
import time

from lab.device import LINES_PORT
from lab.wait import wait_until

LINE = b"x" * 8000 + b"\n"
COUNT = 300
BYTES = len(LINE) * COUNT


def echo_seconds(lab, device):
    """BYTES to the device and back."""
    with lab.connect(device, LINES_PORT, timeout=60) as tunnel:
        tunnel.read_line()
        began = time.monotonic()
        sender = threading.Thread(target=lambda: tunnel.sock.sendall(LINE * COUNT))
        sender.start()
        left = (len(LINE) + len(b"you said: ")) * COUNT
        while left > 0:
            chunk = tunnel.sock.recv(65536)
            assert chunk, "the tunnel ended early"
            left -= len(chunk)
        sender.join()
        return time.monotonic() - began


def test_a_device_is_held_to_its_rates_and_freed_of_them(make_lab):
    lab = make_lab(throttle={"down": "8mbit", "up": "4mbit"})
    device = lab.device()
    device.wait_online()
    lab.wait_agreed()
    rate, at_once = 4_000_000 / 8, 4_000_000 / 8 + 16384
    assert echo_seconds(lab, device) >= (BYTES - at_once) / rate

    lab.pool.change(throttle=None)
    wait_until(lambda: "limit rate" not in lab.machine.run("nft", "list", "ruleset").stdout, 20,
               "the limits are gone")
    assert lab.reaches(device)
    assert device.connections == 1, "no device noticed"
