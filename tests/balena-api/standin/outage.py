"""Ways for the API to be unwell. One at a time; each may be limited to some calls."""

MODES = {
    "ok": "answers",
    "down": "refuses connections",
    "ill": "its database is down: 401 to everything; uncached=die: the auth of a device that is not"
           " in its cache ends the process",
    "redis-down": "the auth of a device that is not in its cache ends the process, all else is well",
    "silent": "accepts and never answers",
    "hang": "its database hangs: no answer for ms, then the process ends",
    "slow": "answers after ms",
    "5xx": "answers status (502, 503, ...) as a proxy before it would",
    "garbage": "answers bytes that are no HTTP",
    "html": "answers 200 with a page instead of JSON, as a captive portal would",
    "reset": "resets the connection when it has read a request",
}


class Outage:
    def __init__(self, mode="ok", ms=0, status=503, uncached="401", only=()):
        if mode not in MODES:
            raise ValueError("mode: one of %s" % ", ".join(MODES))
        if uncached not in ("401", "die"):
            raise ValueError("uncached: 401 or die")
        if not isinstance(ms, int) or ms < 0 or not isinstance(status, int):
            raise ValueError("ms, status: numbers")
        self.mode = mode
        self.ms = ms or (45_000 if mode == "hang" else 0)
        self.status = status
        self.uncached = uncached
        self.only = list(only)

    def hits(self, call):
        return self.mode != "ok" and (not self.only or call in self.only)

    def view(self):
        return {"mode": self.mode, "ms": self.ms, "status": self.status,
                "uncached": self.uncached, "only": self.only}
