"""The tables of reports and of the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zlib import crc32

import sqlalchemy as sa

from homeport.backup import events
from homeport.backup.drills.errors import UNKNOWN_REPORT
from homeport.backup.drills.model import Report
from homeport.backup.model import RUN
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, Transaction, parse_time, text_time

_D = tables.drill_reports.c
_S = tables.drill_schedule.c
MACHINE = 1
"""The key of the machine's own schedule."""


def reports_directory(data_dir: Path) -> Path:
    return data_dir / "backups" / "drills"


class Reports:
    """Every call may come from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, *, scenario: str = "", limit: int = 50) -> tuple[Report, ...]:
        """The newest first."""
        query = sa.select(_D.report).order_by(_D.at.desc(), _D.run).limit(limit)
        if scenario:
            query = query.where(_D.scenario == scenario)
        with self._store.read() as c:
            return tuple(Report.of(document) for document in c.execute(query).scalars())

    def get(self, run: str) -> Report:
        """Raises ``drill.unknown_report``."""
        with self._store.read() as c:
            found = (
                c.execute(sa.select(_D.report).where(_D.run == run)).scalar() if RUN.fullmatch(run) else None
            )
        if found is None:
            raise UNKNOWN_REPORT.error(
                f"cannot find the report of drill {run[:40]!r}", hint="homeport drill history"
            )
        return Report.of(found)

    def last(self) -> dict[str, Report]:
        """The newest of each scenario."""
        newest = sa.select(_D.scenario, sa.func.max(_D.at).label("at")).group_by(_D.scenario).subquery()
        query = sa.select(_D.report).join(
            newest, sa.and_(_D.scenario == newest.c.scenario, _D.at == newest.c.at)
        )
        with self._store.read() as c:
            found = [Report.of(document) for document in c.execute(query).scalars()]
        return {r.scenario: r for r in found}

    def keep(self, report: Report) -> None:
        """Once; made again after a kill it stays as it is."""
        with self._store.transaction("homeport") as tx:
            if tx.execute(sa.select(_D.run).where(_D.run == report.run)).first() is not None:
                return
            tx.execute(
                tables.drill_reports.insert().values(
                    run=report.run,
                    scenario=report.scenario,
                    at=report.at,
                    passed=report.passed,
                    report=report.document(),
                )
            )
            tx.append(
                events.Drilled(
                    run=report.run,
                    scenario=report.scenario,
                    passed=report.passed,
                    rpo=report.rpo,
                    rto=report.rto,
                    wrong=list(report.wrong),
                )
            )

    # Schedules

    def schedule(self) -> tuple[str, datetime] | None:
        """Of the machine: (its line, since when the next time is looked for)"""
        return self.schedules().get(MACHINE)

    def schedules(self) -> dict[int, tuple[str, datetime]]:
        """The machine's, and those of environments (:func:`key_of`)."""
        with self._store.read() as c:
            rows = c.execute(sa.select(tables.drill_schedule)).all()
        return {r.id: (r.line, parse_time(r.since)) for r in rows}

    def keep_schedules(self, lines: Mapping[int, str]) -> None:
        """Of environments, as they are wanted now: a new line counts from now on."""
        known = {key: line for key, (line, _) in self.schedules().items() if key != MACHINE}
        if known == lines:
            return
        with self._store.transaction("homeport") as tx:
            for key in known.keys() | lines.keys():
                if known.get(key) != lines.get(key):
                    _put(tx, key, lines.get(key, ""), tx.now)

    def set_schedule(self, line: str, *, actor: str) -> None:
        """ "" is none."""
        with self._store.transaction(actor) as tx:
            _put(tx, MACHINE, line, tx.now)
            tx.append(events.DrillsScheduled(line=line))

    def began(self, key: int, at: datetime) -> None:
        """A drill that was due by a schedule began at ``at``."""
        with self._store.transaction("homeport") as tx:
            tx.execute(tables.drill_schedule.update().where(_S.id == key).values(since=text_time(at)))


def key_of(app: str, environment: str) -> int:
    """Of an environment's schedule; never the machine's."""
    return crc32(f"{app} {environment}".encode()) + MACHINE + 1


def _put(tx: Transaction, key: int, line: str, at: datetime) -> None:
    tx.execute(tables.drill_schedule.delete().where(_S.id == key))
    if line:
        tx.execute(tables.drill_schedule.insert().values(id=key, line=line, since=text_time(at)))
