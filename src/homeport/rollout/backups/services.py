"""Backups as the rest of Homeport has them: put together, and how they stand."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from homeport.backup import coverage, nearness, plan
from homeport.backup.drills.model import SCENARIOS
from homeport.backup.drills.records import Reports
from homeport.backup.history import Day, by_day, proven_at
from homeport.backup.judgement import LOOK_LATE, Facts, judge
from homeport.backup.locks.plan import problems as lock_problems
from homeport.backup.model import STATE, Run
from homeport.backup.own_state import OwnState
from homeport.backup.repositories import Recorded, Repositories
from homeport.backup.rounds import Look, Rounds
from homeport.backup.service import KEPT_RUNS, Backups
from homeport.database.worker import Worker
from homeport.kernel.ids import ChangeId
from homeport.rollout.backups import recovered
from homeport.rollout.backups.wanted import DataOwners
from homeport.rollout.parts import Parts
from homeport.system.mounts import filesystem

CHILD = "homeport.main.backing"
RPO = next(s.targets.rpo for s in SCENARIOS if s.name == "machine-lost")
"""Seconds; where nobody has a target."""
MOST_REPORTS = 1000
STATES = 5


@dataclass(frozen=True, slots=True)
class Status:
    repositories: tuple[Recorded, ...]
    last: Run | None
    running: tuple[Run, ...]
    proven_at: datetime | None
    looks: tuple[Look, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What may well be meant so, and a person should know."""
    recoverable: bool = True
    """Nothing in ``problems`` says that what was backed up could not be brought back."""
    rpo: Mapping[str, float] = field(default_factory=dict)
    """By cluster: seconds of writes that may be lost."""
    files: Mapping[str, datetime | None] = field(default_factory=dict)
    """By series, Homeport's own state among them: what was written since then would be lost with the machine; None:
    it was never backed up, as far as is known."""
    backed_up: frozenset[str] = frozenset()
    """Clusters of which some repository has a backup: the log alone brings nothing back."""


class BackupServices:
    def __init__(self, parts: Parts, backups: Backups, rounds: Rounds, own_state: OwnState) -> None:
        self._parts = parts
        self.backups = backups
        self.rounds = rounds
        self._own_state = own_state
        self._drills: Callable[[datetime], list[str]] = lambda _: []

    @classmethod
    def of(cls, parts: Parts, closing: threading.Event) -> BackupServices:
        store = parts.state.store
        worker = Worker(parts.data_dir, sys.executable, CHILD)
        repositories = Repositories(store, parts.vault)
        backups = Backups(
            store, repositories, worker, DataOwners(parts), parts.clock, str(parts.data_dir), closing
        )
        rounds, own_state = Rounds(backups, store, parts.clock), OwnState(backups, store, parts.clock)
        return cls(parts, backups, rounds, own_state)

    def tick(self) -> None:
        """Called from one thread alone."""
        self.rounds.tick()
        self._own_state.tick()

    def starting(self, start: Callable[[ChangeId], None]) -> None:
        self.backups.starting(start)

    def rehearsed(self, problems: Callable[[datetime], list[str]]) -> None:
        """``problems`` tells what went wrong with drills by the clock."""
        self._drills = problems

    def history(self, days: int) -> dict[str, tuple[Day, ...]]:
        """By cluster, the newest day first; of a machine without clusters by ""."""
        now = self._parts.clock.now()
        since = now - timedelta(days=days)
        runs = self.backups.runs.list(kinds=("backup", "prove"), limit=KEPT_RUNS)
        reports = Reports(self._parts.state.store).list(limit=MOST_REPORTS)
        names = [c.name for c in self.backups.wanted().clusters] or [""]
        return {
            name: by_day(
                [(look.at, look.lost) for look in self.rounds.history(name, since)],
                runs,
                [r for r in reports if r.cluster in ("", name)],
                now,
                days,
            )
            for name in names
        }

    def shares_disk(self, repository: Recorded) -> bool:
        """Whether it is on the disk of the data directory, and would be lost with it."""
        return nearness.shares_disk(repository, self._parts.data_dir, filesystem)

    def status(self) -> Status:
        """From what was recorded; reaches no server and no repository."""
        # First: what ends in between is among those that ended.
        running = self.backups.runs.running()
        repositories = self.backups.repositories.list()
        proving = self.backups.runs.list(kinds=("backup", "prove"), limit=300)
        made = [r for r in proving if r.kind == "backup" and r.subject == "all"]
        states = self.backups.runs.list(kinds=(STATE,), limit=STATES)
        last = last_ended(made)
        looks = self.rounds.latest() if repositories else ()
        now = self._parts.clock.now()
        proven = next((at for r in proving if (at := proven_at(r)) is not None), None)
        wanted = self.backups.wanted()
        names = {c.name for c in wanted.clusters}
        looks = tuple(look for look in looks if look.cluster in names)
        targets = {c.name: RPO if c.rpo is None else c.rpo for c in wanted.clusters}
        series = [f.sources.series for f in wanted.files] if repositories else []
        there = coverage.kept((*states, *made), repositories, now)
        lacking = coverage.missing(wanted, there, repositories)
        problems, recoverable = judge(
            Facts(
                now,
                repositories,
                self.backups.repositories.held_since() if repositories else None,
                last,
                proving,
                states,
                proven,
                looks,
                {name: self.rounds.history(name, now - LOOK_LATE) for name in targets}
                if repositories
                else {},
                targets,
                wanted,
                plan.files_as_of((*states, *made), series, now),
                there,
                self._drills(now) if repositories else (),
                lock_problems(self.backups.locks.list(), now) if repositories else (),
            )
        )
        return Status(
            repositories,
            last,
            running,
            proven,
            looks,
            problems,
            # One that holds not all of it saves nobody when a disk is lost.
            nearness.warnings(
                [r for r in repositories if r.name not in lacking] or repositories,
                self._parts.data_dir,
                filesystem,
            ),
            recoverable,
            targets,
            {name: max(there.get(("files", name), {}).values(), default=None) for name in series},
            frozenset(name for kind, name in there if kind == "cluster"),
        )


def last_ended(made: Iterable[Run]) -> Run | None:
    """The newest, but for one that was under way when the machine was lost: it did not end, it was ended when this
    machine was recovered. ``made``: the newest first."""
    return next((r for r in made if r.is_over and r.cancel != recovered.ACTOR), None)
