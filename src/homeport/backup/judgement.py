"""Whether everything could be brought back, from what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeport.backup import plan
from homeport.backup.coverage import Kept, Thing, made_in, missing, still_wrong, told
from homeport.backup.files.model import HOMEPORT
from homeport.backup.history import proofs_of
from homeport.backup.model import FAILED, PASSED, RUNNING, Run, reason_of
from homeport.backup.port import Wanted
from homeport.backup.repositories import Recorded
from homeport.backup.rounds import Look
from homeport.kernel.units import format_duration, format_moment
from homeport.spec.model_backup import Backup

LOOK_LATE = timedelta(minutes=5)
PROOF_LATE = timedelta(hours=26)
"""Proofs are made at least once a day."""
OVER = timedelta(seconds=100)
SOME = 3
TIDYING = frozenset({"prune", "locks"})
DOWN = frozenset({"database.not_answering"})
"""What a look finds where a server is merely down."""
RUN_LATE = timedelta(minutes=15)
"""So long after its time a backup that did not begin is missed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Runs are the newest first, looks of :attr:`recently` the oldest."""

    now: datetime
    repositories: Sequence[Recorded]
    held: datetime | None
    """Since when nothing is backed up, because this machine was recovered."""
    last: Run | None
    """The newest backup of everything that ended."""
    proving: Sequence[Run]
    states: Sequence[Run]
    """Of Homeport's own state alone."""
    proven_at: datetime | None
    looks: Sequence[Look]
    recently: Mapping[str, Sequence[Look]]
    """By cluster, those of the last :data:`LOOK_LATE`."""
    targets: Mapping[str, float]
    """By cluster: seconds of writes that may be lost."""
    wanted: Wanted
    as_of: Mapping[str, datetime | None]
    """By series of files: since when every repository has it."""
    there: Kept
    drills: Sequence[str]
    locks: Sequence[str]
    """What is wrong with either."""


def judge(facts: Facts) -> tuple[tuple[str, ...], bool]:
    """(problems, whether none of them stands in the way of a return)."""
    if facts.held is not None:
        told = (
            f"nothing is backed up since this machine was recovered ({format_moment(facts.held)}): "
            "homeport backup resume, once the former one is gone for good"
        )
        return (told,), False
    if not facts.repositories:
        wanted = facts.wanted
        if wanted.clusters or any(f.sources.series != HOMEPORT for f in wanted.files):
            return ("nothing is backed up: there is no repository",), False
        return (), True
    return _of_backups(facts)


def _of_backups(facts: Facts) -> tuple[tuple[str, ...], bool]:
    now, last, looks = facts.now, facts.last, facts.looks
    ready = [r for r in facts.repositories if r.ready]
    found = [
        f"nothing is backed up while repository {r.name} is not made: "
        f"homeport backup repository add {r.name} again, or remove it"
        for r in facts.repositories
        if not r.ready
    ]
    beside: list[str] = []
    wrong = still_wrong(last, facts.repositories) if last is not None and last.state == FAILED else ()
    if wrong:
        found.append(f"the last backup failed: {reason_of(wrong)}")
        beside += found[-1:] if all(s.work in TIDYING or made_in(s) for s in wrong) else []
    for name, things in missing(facts.wanted, facts.there, ready).items():
        found.append(f"repository {name} has no backup of {_listed(things)} yet")
        beside += found[-1:] if all(facts.there.get(thing) for thing in things) else []
    found += _state_waits(facts, now)
    found += _not_proven(facts.proving, but=last)
    found += _missed(
        [r for r in facts.proving if r.kind == "backup" and r.subject == "all"], facts.wanted.schedules, now
    )
    found += [str(f["sentence"]) for look in looks for f in look.findings]
    beside += [str(f["sentence"]) for look in looks for f in look.findings if f["code"] in DOWN]
    found += [
        f"nobody looked at cluster {look.cluster} for {format_duration((now - look.at).total_seconds())}"
        for look in looks
        if now - look.at > LOOK_LATE
    ]
    if facts.proven_at is None or now - facts.proven_at > PROOF_LATE:
        ago = f"for {format_duration((now - facts.proven_at).total_seconds())}" if facts.proven_at else "yet"
        found.append(f"no backup was proven {ago}")
    found += facts.drills
    found += facts.locks
    beside += facts.locks
    found += [_over(name, rpo, facts.recently.get(name, ())) for name, rpo in facts.targets.items()]
    problems = tuple(dict.fromkeys(p for p in found if p))
    return problems, set(problems) <= set(beside)


def _over(cluster: str, rpo: float, looks: Sequence[Look]) -> str:
    lost = over(looks, rpo)
    if lost is None:
        return ""
    return (
        f"{format_duration(lost)} of what was written to cluster {cluster} would be lost with the machine; "
        f"the target is {format_duration(rpo)}"
    )


def _listed(things: Sequence[Thing]) -> str:
    more = f" and {len(things) - SOME} more" if len(things) > SOME else ""
    return ", ".join(map(told, things[:SOME])) + more


def over(looks: Sequence[Look], rpo: float) -> int | None:
    """Seconds that would be lost with the machine, where the target has been missed for some minutes.

    One look says little: after a time without power the newest heartbeat is old, and nothing was written since.
    ``looks``: the oldest first.
    """
    newest = [look for look in looks if looks[-1].at - look.at <= 2 * OVER]
    if not newest or newest[-1].at - newest[0].at < OVER:
        return None
    if any(look.lost is None or look.lost <= rpo for look in newest):
        return None
    return newest[-1].lost


def _missed(made: Sequence[Run], schedules: tuple[Backup, ...], now: datetime) -> list[str]:
    last = plan.last_of(made, now, full=False)
    if last is None or any(r.state == RUNNING for r in made):
        return []
    at = plan.due(schedules, last, now - RUN_LATE, full=False)
    return [f"the backup of {format_moment(at)} did not begin"] if at is not None else []


def _state_waits(facts: Facts, now: datetime) -> list[str]:
    """That what was done since cannot be kept."""
    as_of = facts.as_of.get(HOMEPORT)
    ended = next((r for r in facts.states if r.is_over and r.started_at <= now), None)
    if ended is None or ended.state != FAILED or (as_of is not None and as_of > ended.started_at):
        return []
    if not still_wrong(ended, facts.repositories):
        return []
    if ended.made_any:
        return [f"what was done since is not in every repository: {ended.reason}"]
    return [f"what was done since the last backup of Homeport's own state is not backed up: {ended.reason}"]


def _not_proven(runs: Sequence[Run], but: Run | None) -> list[str]:
    """What failed when proofs were made last; told already of the run ``but``."""
    last = next((r for r in runs if any(s.state in (PASSED, FAILED) for s in proofs_of(r))), None)
    if last is None or (but is not None and last.id == but.id):
        return []
    return [
        f"{s.name} failed: {(s.error or {}).get('sentence', '')}"
        for s in proofs_of(last)
        if s.state == FAILED
    ]
