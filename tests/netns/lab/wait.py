"""Waiting for a condition, never for a number of seconds."""

import subprocess
import time


class Hopeless(AssertionError):
    """Raised in a condition: it will not come true any more."""


def wait_until(condition, timeout, what, step=0.05):
    """Polls until condition() is true and returns its value. AssertionError with what, and with the
    last value or exception, after timeout seconds."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except Hopeless:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, AssertionError,
                subprocess.SubprocessError) as failure:
            last = failure
        if time.monotonic() > deadline:
            raise AssertionError("not within %s s: %s (last: %r)" % (timeout, what, last))
        time.sleep(step)


def holds(condition, seconds, what, step=0.2):
    """The opposite: condition() must stay true for that long. For statements of the kind 'nothing
    happens', which have no event to wait for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        assert value, "%s (now: %r)" % (what, value)
        time.sleep(step)
