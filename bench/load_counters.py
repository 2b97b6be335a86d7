"""What the load generator counts."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

KINDS = ("get", "post", "slow", "pipeline", "websocket", "events")
KEPT_FAILURES = 20
KEPT_CAUSES = 100


class Latencies:
    """A histogram with buckets 1.5 % wide: percentiles are at most that much too high, ``max`` is exact."""

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.max = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[math.ceil(math.log(max(seconds, 1e-6)) / 0.015)] += 1
        self.max = max(self.max, seconds)

    def percentile(self, share: float) -> float:
        buckets = sorted(self.buckets.copy().items())
        wanted = share * sum(n for _, n in buckets)
        for bucket, n in buckets:
            wanted -= n
            if wanted <= 0:
                return min(math.exp(bucket * 0.015), self.max)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Milliseconds."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        found = {name: round(self.percentile(share) * 1000, 2) for name, share in shares.items()}
        return found | {"max": round(self.max * 1000, 2)}


@dataclass
class Counters:
    """What happened so far. ``sent`` = ``ok`` + ``failed`` + what is still under way.

    A pipelined GET and a WebSocket message count one each, an event stream one for each connection,
    when it ends.
    """

    sent: Counter[str] = field(default_factory=Counter)
    ok: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    """Whole answers by their ``X-Release`` header."""
    release_times: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each release gave its first and its latest whole answer, in seconds since 1970."""
    failures: list[dict[str, Any]] = field(default_factory=list)
    """The first of them."""
    causes: Counter[str] = field(default_factory=Counter)
    """All of them, by kind and what was seen: ``post: status 503: …``."""
    acknowledged: list[str] = field(default_factory=list)
    """Ids of orders that were answered with success."""
    unacknowledged: list[str] = field(default_factory=list)
    """Ids of orders that were sent and failed: the app may have stored them or not."""
    reopened: int = 0
    reconnects: int = 0
    unanswered: int = 0
    """WebSocket messages that crossed with the server's close frame."""
    events: int = 0
    latencies: dict[str, Latencies] = field(default_factory=lambda: {kind: Latencies() for kind in KINDS})

    def answered(self, status: int, release: str) -> None:
        self.statuses[str(status)] += 1
        if release:
            now = time.time()
            self.releases[release] += 1
            self.release_times[release] = (self.release_times.get(release, (now,))[0], now)

    def fail(self, kind: str, what: str, started: float) -> None:
        self.failed[kind] += 1
        cause = f"{kind}: {what}"
        self.causes[cause if cause in self.causes or len(self.causes) < KEPT_CAUSES else f"{kind}: …"] += 1
        if len(self.failures) < KEPT_FAILURES:
            now = time.time()
            at = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
            after = round(time.monotonic() - started, 3)
            self.failures.append({"time": at, "kind": kind, "what": what, "after_seconds": after})

    def snapshot(self) -> dict[str, Any]:
        return {
            "sent": sum(self.sent.values()),
            "ok": sum(self.ok.values()),
            "failed": sum(self.failed.values()),
            "by_kind": {
                kind: {
                    "sent": self.sent[kind],
                    "ok": self.ok[kind],
                    "failed": self.failed[kind],
                    "ms": self.latencies[kind].summary(),
                }
                for kind in KINDS
                if self.sent[kind]
            },
            "statuses": dict(self.statuses),
            "releases": dict(self.releases),
            "release_times": dict(self.release_times),
            "failures": list(self.failures),
            "causes": dict(self.causes),
            "orders_acknowledged": len(self.acknowledged),
            "orders_unacknowledged": len(self.unacknowledged),
            "events": self.events,
            "reopened": self.reopened,
            "reconnects": self.reconnects,
            "unanswered": self.unanswered,
        }
