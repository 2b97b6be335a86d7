"""The verdict of a canary: promoted, rolled back or inconclusive, from figures alone.

``Evidence`` is what the looks so far amount to; ``look`` adds what happened since; ``forming`` says at any
time how it stands, ``conclude`` what it is once the time is up. What holds:

- *Rolled back* is said only with evidence, and stays said. A canary that is no worse than the release
  before it is rolled back with a chance of at most ``alpha``, over all looks of the whole rollout, if
  requests are given to the two sides by chance and fail one apart from another (:mod:`.evidence`).
- *Promoted* is said only if a degradation of a stated size would have shown with a stated power.
- Everything else is *inconclusive*: too little traffic says neither good nor bad.
- The order of windows within one look is of no consequence; one more error of the canary never makes it
  look better.

Three tests and two rules: errors and latency against the release before, in the same windows; errors
against ``max_error_rate`` where there is none to compare; a canary that answers nothing; a team's signals.
Pure: no clock, no I/O. Times in seconds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from math import ceil, fsum, log
from typing import Any

from homeport.rollout.canary import (
    EDGES,
    Histogram,
    Settings,
    Signal,
    SignalStates,
    Totals,
    Window,
    above,
    is_long,
    quantile,
    still_waiting,
    with_signals,
)
from homeport.rollout.evidence import Process, gain, gain_alone
from homeport.rollout.power import (
    CROWDED_CLUMP,
    ERROR_BETS,
    FEWEST_ERRORS,
    FEWEST_LATENCIES,
    LATENCY_BETS,
    LATENCY_ODDS,
    MOST_A_LOOK,
    QUANTILES,
    latencies_needed,
    limits,
    limits_alone,
    requests_needed,
    upper,
)

FEWEST_UNANSWERED = 3
SILENCE = 3.0
"""A canary that answers nothing is left this long, while the release before answers."""
SILENCES = 100
SILENCE_ALONE = 10.0
"""The same where there is none to compare."""
MANY = 1_000_000
DOUBT = 0.5
"""So near to a roll-back (by its logarithm) the evidence must not be for a promotion."""
SIGNAL_LOOKS = 3
"""A signal must be out of bounds in so many looks, one after another."""


class Outcome(Enum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a verdict rests on."""

    canary_requests: int
    canary_errors: int
    canary_p50: float | None
    """Seconds; the upper end of the bucket. None: not measured."""
    canary_p95: float | None
    stable_requests: int
    stable_errors: int
    stable_p50: float | None
    stable_p95: float | None
    errors_worse: float
    """How near the evidence is to a roll-back: 0 none, 1 there (by its logarithm)."""
    latency_worse: float
    requests_needed: int
    """Of the canary, before it can be promoted; a guess while there is little traffic."""
    latencies_needed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Forming:
    """Nothing is proven yet."""

    missing: tuple[str, ...]
    """What a promotion still lacks; empty: it could be promoted now."""
    figures: Figures


_NONE = Totals()
_NO_ERRORS = Process.of(ERROR_BETS)
_NOT_SLOWER = Process.of(LATENCY_BETS)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What all looks so far amount to. Immutable; begins empty."""

    canary: Totals = _NONE
    stable: Totals = _NONE
    """Over the windows that it was part of."""
    compared: Totals = _NONE
    """The canary's part in those windows; the rest of its requests it had alone."""
    worse: Process = _NO_ERRORS
    above: Process = _NO_ERRORS
    slower: Process = _NOT_SLOWER
    silence: float | None = None
    """For how long ``FEWEST_UNANSWERED`` requests or more have waited, and no other was answered."""
    answered_meanwhile: int = 0
    """By the release before."""
    signals: SignalStates = ()
    condemned: tuple[str, ...] = ()
    """Why it was rolled back; once there, it stays."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Evidence":
        return cls(
            canary=Totals.from_json(data["canary"]),
            stable=Totals.from_json(data["stable"]),
            compared=Totals.from_json(data["compared"]),
            worse=Process.from_json(data["worse"]),
            above=Process.from_json(data["above"]),
            slower=Process.from_json(data["slower"]),
            silence=data["silence"],
            answered_meanwhile=data["answered_meanwhile"],
            signals=tuple((str(name), int(n), bool(known)) for name, n, known in data["signals"]),
            condemned=tuple(data["condemned"]),
        )


def look(
    evidence: Evidence, windows: Sequence[Window], settings: Settings, signals: Sequence[Signal] = ()
) -> Evidence:
    """The evidence with what has happened since the last look."""
    compared = [w.canary for w in windows if w.stable is not None]
    stable = [w.stable for w in windows if w.stable is not None]
    after = replace(
        evidence,
        canary=evidence.canary.plus([w.canary for w in windows]),
        stable=evidence.stable.plus(stable),
        compared=evidence.compared.plus(compared),
        worse=_errors_against_stable(evidence, windows, settings),
        above=_errors_against_bound(evidence, windows, settings),
        slower=_latency_against_stable(evidence, windows, settings),
        signals=with_signals(evidence.signals, signals),
        **_silence(evidence, windows),
    )
    if evidence.condemned:
        return after
    return replace(after, condemned=_charges(after, windows, settings))


def forming(evidence: Evidence, settings: Settings) -> Verdict | Forming:
    """How it stands: rolled back as soon as that is proven, else what a promotion lacks."""
    figures = _figures(evidence, settings)
    if evidence.condemned:
        return Verdict(Outcome.ROLLED_BACK, evidence.condemned, figures)
    return Forming(_missing(evidence, settings), figures)


def conclude(evidence: Evidence, settings: Settings) -> Verdict:
    """What it is when no further look will be taken."""
    state = forming(evidence, settings)
    if isinstance(state, Verdict):
        return state
    if state.missing:
        return Verdict(Outcome.INCONCLUSIVE, state.missing, state.figures)
    return Verdict(Outcome.PROMOTED, (_comparison(evidence),), state.figures)


def _held_to(stable: Totals, settings: Settings) -> float:
    """The error rate that a canary without company may have: the release before may have had more."""
    if stable.errors < 5:
        return settings.max_error_rate
    return max(settings.max_error_rate, upper(stable.rate, stable.requests))


def _errors_against_stable(evidence: Evidence, windows: Sequence[Window], settings: Settings) -> Process:
    bound = _held_to(evidence.stable, settings)

    def won(odds: float, w: Window) -> float:
        c = w.canary
        if w.stable is None:
            return gain_alone(odds, c.errors, c.requests, bound, settings.clump)
        hits, everyone = c.errors + w.stable.errors, c.requests + w.stable.requests
        return gain(odds, c.errors, c.requests, hits, everyone, settings.clump)

    gains = [fsum(won(odds, w) for w in windows) for odds, _ in ERROR_BETS]
    return evidence.worse.after(ERROR_BETS, gains)


def _errors_against_bound(evidence: Evidence, windows: Sequence[Window], settings: Settings) -> Process:
    errors, requests = sum(w.canary.errors for w in windows), sum(w.canary.requests for w in windows)
    gains = [
        gain_alone(odds, errors, requests, settings.max_error_rate, settings.clump) for odds, _ in ERROR_BETS
    ]
    return evidence.above.after(ERROR_BETS, gains)


def _latency_against_stable(evidence: Evidence, windows: Sequence[Window], settings: Settings) -> Process:
    """The limits come from the looks before: they must not be chosen by what is judged with them."""
    past = evidence.stable.latencies
    known = sum(past)
    measured = [w for w in windows if w.canary.latencies]
    if settings.max_latency_increase is None or known < FEWEST_LATENCIES or not measured:
        return evidence.slower
    tables: list[list[tuple[tuple[int, int, int, int], float]]] = [[] for _ in QUANTILES]
    alone: list[tuple[int, int, float]] = []
    far = limits_alone(past, settings)
    for n, (edge, limit) in enumerate(limits(past, settings)):
        bound = upper(above(past, edge) / known, known)
        hits = requests = 0
        for w in measured:
            of = sum(w.canary.latencies)
            if w.stable is None and n < len(far):
                hits, requests = hits + above(w.canary.latencies, far[n][1]), requests + of
            elif w.stable is not None and w.stable.latencies:
                over = above(w.canary.latencies, limit)
                others = above(w.stable.latencies, edge)
                clump = settings.clump * (CROWDED_CLUMP if w.crowded else 1.0)
                tables[n].append(((over, of, over + others, of + sum(w.stable.latencies)), clump))
        alone.append((hits, requests, bound))

    most = settings.log_threshold * MOST_A_LOOK

    def won(n: int, odds: float) -> float:
        q = n // len(LATENCY_ODDS)
        beside = (gain(odds, *table, clump) for table, clump in tables[q])
        return min(most, fsum((*beside, gain_alone(odds, *alone[q], settings.clump))))

    gains = [won(n, odds) for n, (odds, _) in enumerate(LATENCY_BETS)]
    return evidence.slower.after(LATENCY_BETS, gains)


def _silence(evidence: Evidence, windows: Sequence[Window]) -> dict[str, Any]:
    if not windows:
        return {}
    answered = any(w.canary.requests for w in windows)
    if answered or min(w.canary.unanswered for w in windows) < FEWEST_UNANSWERED:
        return {"silence": None, "answered_meanwhile": 0}
    if evidence.silence is None:
        return {"silence": 0.0, "answered_meanwhile": 0}
    return {
        "silence": evidence.silence + fsum(w.seconds for w in windows),
        "answered_meanwhile": evidence.answered_meanwhile
        + sum(w.stable.requests for w in windows if w.stable is not None),
    }


def _charges(e: Evidence, windows: Sequence[Window], settings: Settings) -> tuple[str, ...]:
    """What condemns the canary now."""
    found = []
    threshold = settings.log_threshold
    if _fails_too_often(e, settings) and e.worse.log_evidence >= threshold:
        found.append(_comparison(e))
    if e.slower.log_evidence >= threshold:
        by = f"slower by more than {settings.max_latency_increase or 0:.0%}"
        found.append(f"{by}: of the new release {e.canary.speed}, of the release before {e.stable.speed}")
    if _is_silent(e, windows, threshold):
        waiting = min(w.canary.unanswered for w in windows)
        found.append(f"no answer for {e.silence:.0f} s, {waiting} requests wait")
    for name, looks, _ in e.signals:
        if looks >= SIGNAL_LOOKS:
            found.append(f"signal {name} out of bounds {looks} times in a row")
    return tuple(found)


def _fails_too_often(e: Evidence, settings: Settings) -> bool:
    """Its rate is over the allowed one; over all looks, or by evidence that it is now."""
    over = e.canary.rate > settings.max_error_rate or e.above.log_evidence >= settings.log_threshold
    return e.canary.errors >= FEWEST_ERRORS and over


def _is_silent(e: Evidence, windows: Sequence[Window], threshold: float) -> bool:
    """Each of the waiting requests has waited for ``silence``. Were the canary like the release before, each
    had a chance to, estimated from its answers; all of them together must be less likely than a false alarm,
    and that as often as a rollout may fall silent. An estimate, not a bound: measured in ``bench``."""
    if e.silence is None or not windows:
        return False
    beside = [w.stable for w in windows if w.stable is not None]
    if not beside:
        known = tuple(map(sum, zip(e.stable.latencies, e.canary.latencies, strict=True)))
        return e.silence >= SILENCE_ALONE and is_long(e.silence, known)
    stuck = max(s.unanswered for s in beside)
    chance = (stuck + 1) / (e.answered_meanwhile + stuck + 1)
    if any(e.stable.latencies):
        chance = max(chance, still_waiting(e.stable.latencies, e.silence))
    waiting = min(w.canary.unanswered for w in windows)
    return e.silence >= SILENCE and -waiting * log(chance) >= threshold + log(SILENCES)


def _missing(e: Evidence, settings: Settings) -> tuple[str, ...]:
    """What a promotion lacks."""
    found = []
    requests, latencies = _shortfall(e, settings)
    if requests:
        found.append(f"{_more(requests)} requests to the new release, for a rise in errors to show")
    if latencies and sum(e.stable.latencies) < FEWEST_LATENCIES:
        found.append("answers of the release before, to compare latency with")
    elif latencies:
        found.append(f"{_more(latencies)} answers of the new release, for a rise in latency to show")
    doubt = settings.log_threshold * DOUBT
    if _fails_too_often(e, settings) and e.worse.log_evidence >= doubt:
        found.append(f"it looks worse, which is not proven: {_comparison(e)}")
    if e.slower.log_evidence >= doubt:
        found.append("it looks slower, which is not proven")
    share = _share(e)
    if share is not None and (share or e.canary.requests == 0) and share < settings.smallest_share:
        found.append(f"traffic: the canary got {share:.1%} of it, {settings.smallest_share:.1%} is the least")
    if e.silence is not None:
        found.append("an answer: the canary has given none for a while")
    for name, looks, measured in e.signals:
        if not measured:
            found.append(f"signal {name}: it could not be measured")
        elif looks:
            found.append(f"signal {name}: it is out of bounds")
    return tuple(found)


def _more(count: int) -> str:
    """A number that will not come is not told."""
    return "many more" if count > MANY else f"{count:,} more"


def _share(e: Evidence) -> float | None:
    """The canary's part of the requests while both sides had some; None if they never had."""
    return e.compared.requests / (e.compared.requests + e.stable.requests) if e.stable.requests else None


def _shortfall(e: Evidence, settings: Settings) -> tuple[int, int]:
    """How many requests, and how many measured answers, the canary still needs. What it had beside the
    release before and what it had alone count each by their own need."""
    share = _share(e)
    usual = (e.stable.errors + 0.5) / (e.stable.requests + 1) if e.stable.requests else 0.0

    def lacking(had: int, had_alone: int, need: int, need_alone: int) -> int:
        rest = 1.0 - (had / need if need else 1.0) - (had_alone / need_alone if had_alone else 0.0)
        return ceil(max(0.0, rest) * need - 1e-6)

    alone = e.canary.requests - e.compared.requests
    need_alone = requests_needed(settings, 1.0, usual)
    need = requests_needed(settings, share, usual) if share else need_alone
    requests = lacking(e.compared.requests, alone, need, need_alone)
    if settings.max_latency_increase is None or share is None:
        return requests, 0
    if sum(e.stable.latencies) < FEWEST_LATENCIES:
        return requests, FEWEST_LATENCIES
    beside, had = sum(e.compared.latencies), sum(e.canary.latencies)
    need = latencies_needed(settings, share or 1.0, e.stable.latencies)
    need_alone = latencies_needed(settings, 1.0, e.stable.latencies) if had > beside else 0
    return requests, lacking(beside, had - beside, need, need_alone)


def _figures(e: Evidence, settings: Settings) -> Figures:
    def seconds(latencies: Histogram, q: float) -> float | None:
        bucket = quantile(latencies, q)
        return None if bucket is None else EDGES[min(bucket, len(EDGES) - 1)]

    def nearness(process: Process) -> float:
        return min(1.0, max(0.0, process.log_evidence / settings.log_threshold))

    requests, latencies = _shortfall(e, settings)
    return Figures(
        e.canary.requests,
        e.canary.errors,
        seconds(e.canary.latencies, 0.5),
        seconds(e.canary.latencies, 0.95),
        e.stable.requests,
        e.stable.errors,
        seconds(e.stable.latencies, 0.5),
        seconds(e.stable.latencies, 0.95),
        nearness(e.worse),
        nearness(e.slower),
        e.canary.requests + requests,
        sum(e.canary.latencies) + latencies,
    )


def _comparison(e: Evidence) -> str:
    beside = f", of the release before {e.stable.failures}" if e.stable.requests else ""
    return f"of the new release {e.canary.failures}{beside}"
