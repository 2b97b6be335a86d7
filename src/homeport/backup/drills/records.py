"""The tables of reports and of the schedule."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from homeport.backup import events
from homeport.backup.drills.errors import UNKNOWN_REPORT
from homeport.backup.drills.model import Report
from homeport.backup.model import RUN
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, Transaction, parse_time, text_time

_D = tables.drill_reports.c
_S = tables.drill_schedule.c


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

    # The schedule

    def schedule(self) -> tuple[str, datetime] | None:
        """(its line, since when the next time is looked for)"""
        with self._store.read() as c:
            row = c.execute(sa.select(tables.drill_schedule)).first()
        return (row.line, parse_time(row.since)) if row is not None else None

    def set_schedule(self, line: str, *, actor: str) -> None:
        """ "" is none."""
        with self._store.transaction(actor) as tx:
            _put(tx, line, tx.now)
            tx.append(events.DrillsScheduled(line=line))

    def began(self, at: datetime) -> None:
        """A drill was due at ``at``, and began or could not."""
        with self._store.transaction("homeport") as tx:
            tx.execute(tables.drill_schedule.update().values(since=text_time(at)))


def _put(tx: Transaction, line: str, at: datetime) -> None:
    tx.execute(tables.drill_schedule.delete())
    if line:
        tx.execute(tables.drill_schedule.insert().values(id=1, line=line, since=text_time(at)))
