"""Drills by the clock: the machine's schedule and those of environments, one drill at a time, when nothing else moves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from homeport.backup.drills import plan
from homeport.backup.drills.errors import NOT_NOW
from homeport.backup.drills.model import LANE
from homeport.backup.drills.plan import Timed
from homeport.backup.drills.records import MACHINE, Reports, key_of
from homeport.backup.errors import UNDER_WAY
from homeport.backup.model import RETURNING
from homeport.backup.physical.commands import copy_bytes
from homeport.backup.service import Backups, id_of
from homeport.journal.store import parse_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment, format_size
from homeport.rollout.parts import Parts
from homeport.system import files

log = logging.getLogger(__name__)

ACTOR = "homeport"
EVERY = 20.0
"""Seconds between two looks at the schedules."""
COPIES = 2
"""Of a cluster: what is broken, and what is brought back."""
SEGMENTS = 256
MOST_REPORTS = 200


class Timetable:
    """:meth:`tick` is called from one thread alone, :meth:`problems` from any."""

    def __init__(
        self, parts: Parts, backups: Backups, reports: Reports, rehearse: Callable[..., Any]
    ) -> None:
        self._parts = parts
        self._backups = backups
        self._reports = reports
        self._rehearse = rehearse
        self._looked = -EVERY
        self._waits: dict[int, str] = {}
        """Why what is due has not begun, by schedule."""

    def all(self) -> tuple[Timed, ...]:
        """Every schedule that there is just now."""
        wanted, known = self._backups.wanted(), self._reports.schedules()
        found = []
        if MACHINE in known:
            line, since = known[MACHINE]
            cluster = wanted.clusters[0].name if wanted.clusters else ""
            found.append(Timed(MACHINE, "the machine", line, "UTC", since, cluster))
        for d in wanted.drills:
            key = key_of(d.app, d.environment)
            if key in known:
                found.append(Timed(key, d.of, d.line, d.timezone, known[key][1], d.cluster, d.scenarios))
        return tuple(found)

    def next_at(self) -> datetime | None:
        """Of all schedules."""
        return min((t.next_at for t in self.all()), default=None)

    def tick(self) -> None:
        now = self._parts.clock.monotonic()
        if now - self._looked < EVERY:
            return
        self._looked = now
        self._reports.keep_schedules(
            {key_of(d.app, d.environment): d.line for d in self._backups.wanted().drills}
        )
        for timed in self.all():
            due = timed.due(self._parts.clock.now())
            if due is not None and self._begin(timed, due):
                return

    def _begin(self, timed: Timed, due: datetime) -> bool:
        """What cannot begin now stays due."""
        try:
            self._must_rest(timed.cluster)
            last = {
                r.scenario: parse_time(r.at)
                for r in reversed(self._reports.list(limit=MOST_REPORTS))
                if r.cluster in ("", timed.cluster)
            }
            possible = plan.possible(timed, len(self._backups.repositories.ready()))
            if not possible:
                raise NOT_NOW.error("cannot rehearse: no scenario of the schedule has anything to break")
            self._rehearse(
                plan.next_scenario(last, possible),
                cluster=timed.cluster,
                actor=ACTOR,
                # Begun, and killed before that was noted: it is the same run.
                id=id_of(f"drill {timed.key} {due.isoformat()}"),
                check=self._must_not_deploy,
            )
        except HomeportError as e:
            if self._waits.get(timed.key) != e.sentence:
                level = logging.INFO if e.type in (UNDER_WAY, NOT_NOW) else logging.ERROR
                log.log(level, "drill of %s: %s", timed.of, e.sentence)
            self._waits[timed.key] = e.sentence
            return False
        self._waits.pop(timed.key, None)
        self._reports.began(timed.key, self._parts.clock.now())
        return True

    # What goes first

    def _must_rest(self, cluster: str) -> None:
        """Raises ``drill.not_now``, ``backup.run_under_way``."""
        self._must_not_deploy()
        for lane in (LANE, RETURNING):
            busy = self._backups.runs.under_way(lane)
            if busy is not None:
                raise UNDER_WAY.error(
                    f"cannot rehearse now: run {busy.id} ({busy.kind} of {busy.subject}) is under way"
                )
        size = self._bytes_of(cluster) if cluster else 0
        if size is None:
            raise NOT_NOW.error(f"cannot rehearse now: cluster {cluster} was not backed up yet")
        free = files.free_bytes(self._parts.data_dir)
        needed = COPIES * copy_bytes(size, SEGMENTS)
        if free < needed:
            raise NOT_NOW.error(
                f"cannot rehearse now: two copies of what is there take {format_size(needed)}, and "
                f"{format_size(free)} are free",
                hint="make room: production goes before rehearsals",
            )

    def _must_not_deploy(self) -> None:
        moving = self._parts.state.running()
        if moving:
            first = moving[0]
            raise NOT_NOW.error(
                f"cannot rehearse now: {first.kind.value} {first.id} of {first.app} is under way"
            )

    def _bytes_of(self, cluster: str) -> int | None:
        """As it was backed up last; None: it never was."""
        for run in self._backups.runs.list(kinds=("backup",), limit=20):
            for step in run.steps:
                # One that a repository does not have was made in the others.
                if step.work == "cluster" and step.result and step.request["cluster"] == cluster:
                    return max((int(made["bytes"]) for made in step.result["made"]), default=0)
        return None

    # What is wrong

    def problems(self, now: datetime) -> list[str]:
        """Drills by the clock that failed, and none of their kind has passed since; those that did not begin."""
        known = self.all()
        if not known:
            return []
        found = []
        for timed in known:
            late = timed.late(now)
            if late is not None:
                why = self._waits.get(timed.key, "nobody looked")
                found.append(f"the drill of {timed.of} at {format_moment(late)} did not begin: {why}")
        for report in plan.not_passed(self._reports.list(limit=MOST_REPORTS), ACTOR):
            what = f"{report.scenario} of cluster {report.cluster}" if report.cluster else report.scenario
            why = report.wrong[0] if report.wrong else "it did not come to its end"
            found.append(f"drill {what} failed at {format_moment(parse_time(report.at))}: {why}")
        return found
