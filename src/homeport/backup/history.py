"""RPO, RTO and the age of proofs, day by day. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from homeport.backup.drills.model import Report
from homeport.backup.model import FAILED, PASSED, PROOFS, Run, Step
from homeport.journal.store import parse_time


@dataclass(frozen=True, slots=True)
class Day:
    """In UTC. Seconds; None: not measured."""

    day: date
    rpo: float | None
    """The most that would have been lost with the machine at any look."""
    proof_age: float | None
    """The longest that the newest proof of everything was ago."""
    proofs: int
    """Backups that were restored and found whole."""
    proofs_failed: int
    restore: float | None
    """The longest that a cluster took to be restored and started, in proofs."""
    drills: int
    drills_failed: int
    drill_rpo: float | None
    """The most that a drill lost."""
    rto: float | None
    """The longest that a drill took until it answered again."""


def by_day(
    lost: Sequence[tuple[datetime, int | None]],
    runs: Iterable[Run],
    reports: Sequence[Report],
    now: datetime,
    days: int,
) -> tuple[Day, ...]:
    """The newest first. ``lost``: (when it was looked, seconds of writes that would be lost)."""
    runs = tuple(runs)
    proofs = [(parse_time(s.finished_at), s) for r in runs for s in proofs_of(r) if s.finished_at]
    passes = sorted(at for r in runs if (at := proven_at(r)) is not None)
    drilled = [(parse_time(r.at), r) for r in reports]
    found = []
    for back in range(days):
        day = (now - timedelta(days=back)).astimezone(UTC).date()
        begin = datetime.combine(day, time(), UTC)
        end = min(begin + timedelta(days=1), now)
        mine = [s for at, s in proofs if begin <= at < begin + timedelta(days=1)]
        here = [r for at, r in drilled if begin <= at < begin + timedelta(days=1)]
        found.append(
            Day(
                day,
                _most(s for at, s in lost if at.date() == day),
                _oldest(passes, begin, end),
                sum(s.state == PASSED for s in mine),
                sum(s.state == FAILED for s in mine),
                _most(_restore(s) for s in mine),
                sum(r.passed for r in here),
                sum(not r.passed for r in here),
                _most(r.rpo for r in here),
                _most(r.rto for r in here),
            )
        )
    return tuple(found)


def proofs_of(run: Run) -> list[Step]:
    return [s for s in run.steps if s.work in PROOFS]


def proven_at(run: Run) -> datetime | None:
    """When a run ended all of whose proofs passed, and that proved everything; None for any other."""
    # Of one repository alone says nothing of the others.
    proofs = proofs_of(run) if run.subject == "all" else []
    if not proofs or any(s.state != PASSED for s in proofs):
        return None
    ended = max((s.finished_at for s in proofs if s.finished_at), default=None)
    return parse_time(ended) if ended else None


def _most(values: Iterable[float | None]) -> float | None:
    return max((float(v) for v in values if v is not None), default=None)


def _oldest(passes: Sequence[datetime], begin: datetime, end: datetime) -> float | None:
    """The longest that the newest of ``passes`` was ago, within the time from ``begin`` to ``end``."""
    ages = []
    last: datetime | None = None
    for at in passes:
        if at > end:
            break
        if at >= begin and last is not None:
            ages.append((at - last).total_seconds())
        last = at
    if last is not None:
        ages.append((end - last).total_seconds())
    return max(ages, default=None)


def _restore(step: Step) -> float | None:
    if step.work != "prove" or not step.result:
        return None
    steps = step.result.get("steps", {})
    return float(steps["restore"] + steps["start"]) if {"restore", "start"} <= steps.keys() else None
