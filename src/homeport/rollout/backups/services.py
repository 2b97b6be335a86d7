"""Backups as the rest of Homeport has them: put together, and how they stand."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeport.backup import plan
from homeport.backup.model import FAILED, PASSED, PROOFS, RUNNING, Run, Step
from homeport.backup.repositories import Recorded, Repositories
from homeport.backup.rounds import Look, Rounds
from homeport.backup.service import Backups
from homeport.database.worker import Worker
from homeport.journal.store import parse_time
from homeport.kernel.ids import ChangeId
from homeport.kernel.units import format_duration
from homeport.rollout.backups.wanted import DataOwners
from homeport.rollout.parts import Parts
from homeport.spec.model_backup import Backup

CHILD = "homeport.main.backing"
LOOK_LATE = timedelta(minutes=5)
PROOF_LATE = timedelta(hours=26)
"""Proofs are made at least once a day."""
RUN_LATE = timedelta(minutes=15)
"""So long after its time a backup that did not begin is missed."""


@dataclass(frozen=True, slots=True)
class Status:
    repositories: tuple[Recorded, ...]
    last: Run | None
    running: tuple[Run, ...]
    proven_at: datetime | None
    looks: tuple[Look, ...]
    problems: tuple[str, ...]


class BackupServices:
    def __init__(self, parts: Parts, backups: Backups, rounds: Rounds) -> None:
        self._parts = parts
        self.backups = backups
        self.rounds = rounds

    @classmethod
    def of(cls, parts: Parts, closing: threading.Event) -> BackupServices:
        store = parts.state.store
        worker = Worker(parts.data_dir, sys.executable, CHILD)
        repositories = Repositories(store, parts.vault)
        backups = Backups(
            store, repositories, worker, DataOwners(parts), parts.clock, str(parts.data_dir), closing
        )
        return cls(parts, backups, Rounds(backups, store, parts.clock))

    def starting(self, start: Callable[[ChangeId], None]) -> None:
        self.backups.starting(start)

    def status(self) -> Status:
        """From what was recorded; reaches no server and no repository."""
        repositories = self.backups.repositories.list()
        runs = self.backups.runs.list(limit=300)
        made = [r for r in runs if r.kind == "backup" and r.subject == "all"]
        last = next((r for r in made if r.is_over), None)
        looks = self.rounds.latest() if repositories else ()
        now = self._parts.clock.now()
        proving = [r for r in runs if r.kind in ("backup", "prove")]
        proven = _proven_at(proving)
        wanted = self.backups.wanted()
        names = {c.name for c in wanted.clusters}
        looks = tuple(look for look in looks if look.cluster in names)
        problems: list[str] = []
        held = self.backups.repositories.held_since() if repositories else None
        if held is not None:
            problems.append(
                f"nothing is backed up since this machine was recovered ({held:%Y-%m-%d %H:%M} UTC): "
                "homeport backup resume, once the former one is gone for good"
            )
        elif repositories:
            problems += [
                f"nothing is backed up while repository {r.name} is not made: "
                f"homeport backup repository add {r.name} again, or remove it"
                for r in repositories
                if not r.ready
            ]
            if last is not None and last.state == FAILED:
                problems.append(f"the last backup failed: {last.reason}")
            problems += _not_proven(proving, but=last)
            problems += _missed(made, wanted.schedules, now)
            problems += [str(f["sentence"]) for look in looks for f in look.findings]
            problems += [
                f"nobody looked at cluster {look.cluster} for {format_duration((now - look.at).total_seconds())}"
                for look in looks
                if now - look.at > LOOK_LATE
            ]
            if proven is None or now - proven > PROOF_LATE:
                ago = f"for {format_duration((now - proven).total_seconds())}" if proven else "yet"
                problems.append(f"no backup was proven {ago}")
        elif wanted.clusters or any(f.sources.series != "homeport" for f in wanted.files):
            problems.append("nothing is backed up: there is no repository")
        return Status(
            repositories,
            last,
            tuple(r for r in runs if r.state == RUNNING),
            proven,
            looks,
            tuple(dict.fromkeys(problems)),
        )


def _missed(made: list[Run], schedules: tuple[Backup, ...], now: datetime) -> list[str]:
    last = plan.last_of(made, now, full=False)
    if last is None or any(r.state == RUNNING for r in made):
        return []
    at = plan.due(schedules, last, now - RUN_LATE, full=False)
    return [f"the backup of {at:%Y-%m-%d %H:%M} UTC did not begin"] if at is not None else []


def _proofs(run: Run) -> list[Step]:
    return [s for s in run.steps if s.work in PROOFS]


def _not_proven(runs: list[Run], but: Run | None) -> list[str]:
    """What failed when proofs were made last; told already of the run ``but``."""
    last = next((r for r in runs if any(s.state in (PASSED, FAILED) for s in _proofs(r))), None)
    if last is None or (but is not None and last.id == but.id):
        return []
    return [
        f"{s.name} failed: {(s.error or {}).get('sentence', '')}" for s in _proofs(last) if s.state == FAILED
    ]


def _proven_at(runs: list[Run]) -> datetime | None:
    """When the newest run ended whose proofs all passed."""
    for run in runs:
        # Of one repository alone says nothing of the others.
        proofs = _proofs(run) if run.subject == "all" else []
        if proofs and all(s.state == PASSED for s in proofs):
            ended = max((s.finished_at for s in proofs if s.finished_at), default=None)
            return parse_time(ended) if ended else None
    return None
