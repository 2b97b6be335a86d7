"""Reading and writing the tables of scheduled commands. No decisions here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Row

from homeport.journal.schema import cron_jobs, cron_runs
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.runtime.jobs.model import SCHEDULE, Run, RunState, run_id

Key = tuple[AppName, EnvironmentName, str]
_ACTIVE = [state.value for state in RunState if state.is_active]


@dataclass(frozen=True, slots=True)
class JobRow:
    planned_to: datetime | None
    schedule: str
    last_number: int
    paused_by: str | None


def jobs(store: Store) -> dict[Key, JobRow]:
    with store.read() as c:
        return {_key(row): _job(row) for row in c.execute(sa.select(cron_jobs))}


def active(store: Store) -> tuple[Run, ...]:
    """Waiting and running ones, by number within a job."""
    query = sa.select(cron_runs).where(cron_runs.c.state.in_(_ACTIVE)).order_by(cron_runs.c.number)
    with store.read() as c:
        return tuple(_run(row) for row in c.execute(query))


def run(store: Store, id_: str) -> Run | None:
    with store.read() as c:
        row = c.execute(sa.select(cron_runs).where(cron_runs.c.id == id_)).first()
    return _run(row) if row else None


def history(
    store: Store, app: AppName, environment: EnvironmentName, name: str | None, limit: int
) -> tuple[Run, ...]:
    """The newest first."""
    r = cron_runs.c
    query = sa.select(cron_runs).where(r.app == app, r.environment == environment)
    if name is not None:
        query = query.where(r.name == name)
    query = query.order_by(r.start_at.desc(), r.number.desc()).limit(limit)
    with store.read() as c:
        return tuple(_run(row) for row in c.execute(query))


def latest(store: Store, app: AppName, environment: EnvironmentName) -> dict[str, Run]:
    """Of each job the newest run that was not skipped."""
    r = cron_runs.c
    numbers = (
        sa.select(r.name, sa.func.max(r.number).label("number"))
        .where(r.app == app, r.environment == environment, r.state != RunState.SKIPPED.value)
        .group_by(r.name)
        .subquery()
    )
    query = (
        sa.select(cron_runs)
        .join(numbers, sa.and_(r.name == numbers.c.name, r.number == numbers.c.number))
        .where(r.app == app, r.environment == environment)
    )
    with store.read() as c:
        return {row.name: _run(row) for row in c.execute(query)}


def plan_to(tx: Transaction, key: Key, to: datetime | None, schedule: str) -> None:
    app, environment, name = key
    values = {"planned_to": text_time(to) if to else None, "schedule": schedule}
    statement = insert(cron_jobs).values(app=app, environment=environment, name=name, last_number=0, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["app", "environment", "name"], set_=values))


def pause(tx: Transaction, key: Key, paused_by: str | None, planned_to: datetime, schedule: str) -> None:
    """``paused_by`` None ends the pause; times up to ``planned_to`` get no run."""
    plan_to(tx, key, planned_to, schedule)
    tx.execute(cron_jobs.update().where(*_is(key)).values(paused_by=paused_by))


def add(
    tx: Transaction,
    key: Key,
    *,
    due_at: datetime,
    start_at: datetime,
    cause: str = SCHEDULE,
    attempt: int = 1,
    missed: bool = False,
) -> Run | None:
    """A waiting run of a job that is there; None when it was added before."""
    app, environment, name = key
    number = 1 + int(tx.execute(sa.select(cron_jobs.c.last_number).where(*_is(key))).scalar_one())
    added = Run(
        id=run_id(app, environment, name, number),
        app=app,
        environment=environment,
        name=name,
        number=number,
        due_at=due_at,
        cause=cause,
        attempt=attempt,
        missed=missed,
        state=RunState.WAITING,
        start_at=start_at,
    )
    statement = insert(cron_runs).values(
        id=added.id,
        app=app,
        environment=environment,
        name=name,
        number=number,
        due_at=text_time(due_at),
        missed=missed,
        cause=cause,
        attempt=attempt,
        state=RunState.WAITING.value,
        start_at=text_time(start_at),
    )
    unique = ["app", "environment", "name", "due_at", "cause", "attempt"]
    if tx.execute(statement.on_conflict_do_nothing(index_elements=unique)).rowcount == 0:
        return None
    tx.execute(cron_jobs.update().where(*_is(key)).values(last_number=number))
    return added


def update(tx: Transaction, id_: str, **values: Any) -> None:
    tx.execute(cron_runs.update().where(cron_runs.c.id == id_).values(**values))


def prune(tx: Transaction, keep: int) -> None:
    """Remove runs that ended, but for the newest ``keep`` of each job that ran and as many that did not."""
    r = cron_runs.c
    skipped = r.state == RunState.SKIPPED.value
    rank = sa.func.row_number().over(
        partition_by=(r.app, r.environment, r.name, skipped), order_by=r.number.desc()
    )
    ranked = sa.select(r.id, rank.label("rank")).where(r.state.not_in(_ACTIVE)).subquery()
    tx.execute(cron_runs.delete().where(r.id.in_(sa.select(ranked.c.id).where(ranked.c.rank > keep))))


def ids(store: Store) -> frozenset[str]:
    with store.read() as c:
        return frozenset(c.execute(sa.select(cron_runs.c.id)).scalars())


def _is(key: Key) -> tuple[sa.ColumnElement[bool], ...]:
    app, environment, name = key
    return cron_jobs.c.app == app, cron_jobs.c.environment == environment, cron_jobs.c.name == name


def _key(row: Row[Any]) -> Key:
    return AppName(row.app), EnvironmentName(row.environment), str(row.name)


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text is not None else None


def _job(row: Row[Any]) -> JobRow:
    return JobRow(_time(row.planned_to), row.schedule, row.last_number, row.paused_by)


def _run(row: Row[Any]) -> Run:
    return Run(
        id=InstanceName(row.id),
        app=AppName(row.app),
        environment=EnvironmentName(row.environment),
        name=row.name,
        number=row.number,
        due_at=parse_time(row.due_at),
        cause=row.cause,
        attempt=row.attempt,
        missed=bool(row.missed),
        state=RunState(row.state),
        start_at=parse_time(row.start_at),
        release=ReleaseId(row.release) if row.release else None,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
        exit=row.exit or "",
    )
