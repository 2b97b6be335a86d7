"""The table of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.backup.errors import UNKNOWN_RUN
from homeport.backup.model import RUN, RUNNING, STATE, Run, Step
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, Transaction, parse_time, text_time

_R = tables.backup_runs.c


class Runs:
    """Reading; the functions below write, within a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, id: str) -> Run:
        """Raises ``backup.unknown_run``."""
        found = self.find(id)
        if found is None:
            raise UNKNOWN_RUN.error(f"cannot find run {id[:40]!r}", hint="homeport backup runs")
        return found

    def find(self, id: str) -> Run | None:
        if RUN.fullmatch(id) is None:
            return None
        with self._store.read() as c:
            row = c.execute(sa.select(tables.backup_runs).where(_R.id == id)).first()
        return _run(row) if row is not None else None

    def list(self, *, kinds: Iterable[str] = (), limit: int = 50) -> tuple[Run, ...]:
        """The newest first."""
        query = sa.select(tables.backup_runs).order_by(_R.started_at.desc(), _R.id).limit(limit)
        wanted = tuple(kinds)
        if wanted:
            query = query.where(_R.kind.in_(wanted))
        with self._store.read() as c:
            return tuple(_run(row) for row in c.execute(query))

    def running(self) -> tuple[Run, ...]:
        query = sa.select(tables.backup_runs).where(_R.state == RUNNING).order_by(_R.started_at.desc(), _R.id)
        with self._store.read() as c:
            return tuple(_run(row) for row in c.execute(query))

    def unfinished(self) -> tuple[str, ...]:
        with self._store.read() as c:
            return tuple(c.execute(sa.select(_R.id).where(_R.state == RUNNING)).scalars())

    def under_way(self, lane: str) -> Run | None:
        with self._store.read() as c:
            row = c.execute(sa.select(tables.backup_runs).where(_R.state == RUNNING, _R.lane == lane)).first()
        return _run(row) if row is not None else None


def insert(tx: Transaction, run: Run) -> None:
    """Raises sqlalchemy's IntegrityError where one of its lane runs, or the id is there."""
    tx.execute(
        tables.backup_runs.insert().values(
            id=run.id,
            kind=run.kind,
            subject=run.subject,
            request=dict(run.request),
            actor=run.actor,
            state=run.state,
            steps=_steps(run),
            cancel=run.cancel,
            started_at=text_time(run.started_at),
            finished_at=None,
            lane=run.lane,
        )
    )


def update(tx: Transaction, run: Run) -> None:
    tx.execute(
        tables.backup_runs.update()
        .where(_R.id == run.id)
        .values(
            state=run.state,
            steps=_steps(run),
            finished_at=text_time(run.finished_at) if run.finished_at else None,
        )
    )


def cancel(tx: Transaction, id: str, actor: str) -> None:
    tx.execute(tables.backup_runs.update().where(_R.id == id).values(cancel=actor))


def forget(tx: Transaction, keep: int, *, states: int) -> None:
    """Remove all that are over but the newest ``keep``, and ``states`` of Homeport's own state: of these there are
    many, and only the newest says anything."""
    for mine, most in ((_R.kind != STATE, keep), (_R.kind == STATE, states)):
        newest = sa.select(_R.id).where(mine).order_by(_R.started_at.desc()).limit(most)
        tx.execute(tables.backup_runs.delete().where(_R.state != RUNNING, mine, _R.id.not_in(newest)))


def _steps(run: Run) -> Any:
    # As JSON and back: what cannot be written is found before the row is.
    return json.loads(json.dumps([s.to_json() for s in run.steps]))


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        lane=row.lane,
        request=row.request,
        actor=row.actor,
        state=row.state,
        steps=tuple(Step.of(s) for s in row.steps),
        cancel=row.cancel,
        started_at=parse_time(row.started_at),
        finished_at=parse_time(row.finished_at) if row.finished_at else None,
    )
