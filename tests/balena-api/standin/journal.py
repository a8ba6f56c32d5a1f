"""What happened, in order: kept in memory (bounded) and, if asked, in a file of JSON lines."""

import asyncio
import collections
import json
import time

KEPT = 200_000


class Journal:
    def __init__(self, path=None):
        self.entries = collections.deque(maxlen=KEPT)
        self.seq = 0
        self.file = open(path, "a", encoding="utf-8", buffering=1) if path else None
        self.news = asyncio.Event()

    def write(self, event, **fields):
        self.seq += 1
        entry = {"seq": self.seq, "wall_ms": round(time.time() * 1000, 3),
                 "mono_ms": round(time.monotonic() * 1000, 3), "event": event, **fields}
        self.entries.append(entry)
        if self.file is not None:
            self.file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self.news.set()
        self.news = asyncio.Event()
        return entry

    def since(self, seq, limit=10_000):
        """Entries after number seq, oldest first."""
        missing = self.seq - seq
        if missing <= 0:
            return []
        first = max(0, len(self.entries) - missing)
        return [self.entries[i] for i in range(first, min(first + limit, len(self.entries)))]

    async def wait(self, seq, seconds):
        """Until there is an entry after seq, at most that long."""
        if self.seq > seq:
            return
        try:
            await asyncio.wait_for(self.news.wait(), seconds)
        except asyncio.TimeoutError:
            pass
