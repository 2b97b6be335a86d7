"""What is known of a canary and of the release beside it: counts and latencies, settings, signals. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, isfinite, log
from typing import Any

STEPS_AN_OCTAVE = 8
EDGES = tuple(0.002 * 2 ** (i / STEPS_AN_OCTAVE) for i in range(16 * STEPS_AN_OCTAVE + 1))
"""Upper ends of the buckets of latencies, 2 ms to 131 s, 9 % apart; what is longer falls in one more bucket.
Below 2 ms nothing is told apart: HAProxy's log counts whole milliseconds."""
BUCKETS = len(EDGES) + 1
Histogram = tuple[int, ...]
OFTEN = 10
"""So many times as long as nearly all answers that are known, a silence is long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Rates and shares are from 0 to 1."""

    max_error_rate: float = 0.01
    """A canary at or below it is not rolled back for its errors."""
    max_latency_increase: float | None = 0.5
    """How much slower the canary may be; None: latency is not judged."""
    alpha: float = 0.02
    """The chance of a false alarm over the whole rollout, half each for errors and latency."""
    power: float = 0.8
    """The chance with which the degradations below must have shown before a promotion."""
    error_rise: float = 0.05
    """Added to the error rate of the release before, this must have shown (at least twice
    ``max_error_rate``)."""
    smallest_share: float = 0.0
    """A canary that got a smaller part of the requests is not promoted."""
    clump: float = 1.0
    """So many errors may come at a time on one side: above 1 where visitors stay on theirs and try again."""

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.power < 1 and 0 <= self.smallest_share <= 1):
            raise ValueError("alpha and power lie between 0 and 1, smallest_share from 0 to 1")
        if not 1 <= self.clump < 1000:
            raise ValueError("clump is at least 1, below 1000")
        if not (0 <= self.max_error_rate <= 1 and 0 < self.error_rise <= 1):
            raise ValueError("max_error_rate and error_rise are shares of the requests")
        if self.max_latency_increase is not None and not 0 <= self.max_latency_increase < 1000:
            raise ValueError("max_latency_increase is 0.5 for 50 %, below 1000")

    @property
    def log_threshold(self) -> float:
        return -log(self.alpha / 2)


@dataclass(frozen=True, slots=True)
class Side:
    """What one side did in a window."""

    requests: int = 0
    """Those that ended in it, answered or failed; failed connections and timeouts included."""
    errors: int = 0
    latencies: Histogram = ()
    """Of those answered without an error (see ``histogram``); may be fewer, empty: not measured."""
    unanswered: int = 0
    """Requests in flight at the window's end that wait for the first byte of their answer."""

    def __post_init__(self) -> None:
        if not (0 <= self.errors <= self.requests and self.unanswered >= 0):
            raise ValueError(f"not possible: {self.errors} of {self.requests}, {self.unanswered} waiting")
        if self.latencies and (len(self.latencies) != BUCKETS or min(self.latencies) < 0):
            raise ValueError(f"latencies are {BUCKETS} counts")


@dataclass(frozen=True, slots=True)
class Window:
    """Both sides over the same time."""

    canary: Side
    stable: Side | None = None
    """The release before; None: it gets no traffic by plan, and the canary is alone."""
    seconds: float = 1.0
    crowded: bool = False
    """Other work took most of the machine: who had to wait for it is slow, whatever release it is of."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A number of the team's own, as measured at a look."""

    name: str
    value: float | None
    """None: it could not be measured."""
    most: float | None = None
    least: float | None = None
    stable: float | None = None
    """Measured on the release before: the bounds are then multiples of it."""

    @property
    def measured(self) -> bool:
        return self.value is not None and isfinite(self.value) and isfinite(self.stable or 0.0)

    @property
    def out(self) -> bool:
        by = 1.0 if self.stable is None else self.stable
        over = self.most is not None and (self.value or 0.0) > self.most * by
        return self.measured and (over or (self.least is not None and (self.value or 0.0) < self.least * by))


SignalStates = tuple[tuple[str, int, bool], ...]
"""(name, looks out of bounds one after another, last measured), by name."""


def with_signals(known: SignalStates, signals: Sequence[Signal]) -> SignalStates:
    """One look later. What could not be measured neither counts nor ends a row."""
    by_name = {state[0]: state for state in known}
    for s in signals:
        before = by_name.get(s.name, (s.name, 0, False))[1]
        after = before if not s.measured else before + 1 if s.out else 0
        by_name[s.name] = (s.name, after, s.measured)
    return tuple(sorted(by_name.values()))


@dataclass(frozen=True, slots=True)
class Totals:
    """One side over all looks."""

    requests: int = 0
    errors: int = 0
    latencies: Histogram = (0,) * BUCKETS

    def plus(self, sides: Sequence[Side]) -> "Totals":
        measured = [s.latencies for s in sides if s.latencies]
        return Totals(
            self.requests + sum(s.requests for s in sides),
            self.errors + sum(s.errors for s in sides),
            tuple(map(sum, zip(self.latencies, *measured, strict=True))) if measured else self.latencies,
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Totals":
        return cls(data["requests"], data["errors"], tuple(data["latencies"]))

    @property
    def rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def failures(self) -> str:
        return f"{self.errors:,} of {self.requests:,} requests failed ({self.rate:.2%})"

    @property
    def speed(self) -> str:
        at = [quantile(self.latencies, q) or 0 for q in (0.5, 0.95)]
        half, most = (EDGES[min(bucket, len(EDGES) - 1)] * 1000 for bucket in at)
        return f"half of the answers take up to {half:.0f} ms and 95 % up to {most:.0f} ms"


def histogram(latencies: Iterable[float]) -> Histogram:
    """Latencies in seconds, none of them negative, as counts."""
    counts = [0] * BUCKETS
    for seconds in latencies:
        if not seconds >= 0:
            raise ValueError(f"not a latency: {seconds}")
        counts[bisect_left(EDGES, seconds)] += 1
    return tuple(counts)


def above(latencies: Sequence[int], edge: int) -> int:
    """How many were longer than ``EDGES[edge]``; all for a negative one."""
    return sum(latencies[max(0, edge + 1) :])


def quantile(latencies: Histogram, q: float) -> int | None:
    """The bucket that holds it; None: nothing was measured."""
    rest = q * sum(latencies)
    if not rest:
        return None
    for bucket, count in enumerate(latencies):
        rest -= count
        if rest <= 0:
            return bucket
    return BUCKETS - 1


def still_waiting(latencies: Histogram, seconds: float) -> float:
    """Of requests in flight at some moment, the share that still is after so many seconds more. Long ones are
    more likely to be met in flight, each by its length: so it is the part of all waiting that lies beyond
    (the residual life of renewal theory). Some request must have been measured."""
    lengths = (*EDGES, EDGES[-1])
    whole = fsum(n * length for n, length in zip(latencies, lengths, strict=True))
    beyond = fsum(n * max(0.0, length - seconds) for n, length in zip(latencies, lengths, strict=True))
    count, longer = sum(latencies), above(latencies, bisect_left(EDGES, seconds) - 1)
    return max(beyond / whole, (longer + 1) / (count + 1))


def is_long(silence: float, known: Histogram) -> bool:
    """Whether so many seconds without any answer are long for the answers that are known. In long polling
    they are not; and all of its requests wait for the same, so their number says nothing."""
    usual = quantile(known, 0.99)
    return usual is None or silence >= OFTEN * EDGES[min(usual, len(EDGES) - 1)]
