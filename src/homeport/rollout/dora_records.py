"""What the measures of :mod:`homeport.rollout.dora` are taken from, out of the state and the journal."""

import re
from datetime import datetime, timedelta

import sqlalchemy as sa

from homeport.journal import schema
from homeport.journal.model import Record
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.kernel.units import parse_duration
from homeport.rollout import dora
from homeport.rollout.state import State

BAD_PERIOD = declare(
    "rollout.bad_period", Kind.INVALID, "The begin of a period is neither a duration nor a time."
)


def begin(text: str, now: datetime) -> datetime:
    """When a period begins: so long ago ("30d"), or at a time ("2026-11-01", in UTC where it names no zone).

    Raises ``rollout.bad_period``.
    """
    found: datetime | None = None
    try:
        if re.fullmatch(r"[0-9.]+[a-z][0-9.a-z]*", text):
            found = now - timedelta(seconds=parse_duration(text))
        else:
            found = datetime.fromisoformat(text)
            found = (found.replace(tzinfo=now.tzinfo) if found.tzinfo is None else found).astimezone(
                now.tzinfo
            )
    except (ValueError, OverflowError):
        found = None
    if found is None or found >= now:
        raise BAD_PERIOD.error(
            f"cannot measure since {text!r}",
            hint='a duration back from now such as "30d", or a time in the past such as "2026-11-01"',
        )
    return found


def measure(
    state: State, app: AppName, environment: EnvironmentName, *, since: datetime, until: datetime
) -> dora.Dora:
    """The measures of one environment. Raises ``rollout.unknown_app`` or ``rollout.unknown_environment``."""
    state.environment(app, environment)
    return dora.measure(
        _records(state, app, environment),
        _commits(state, app),
        _passages(state, app, since, until),
        since=since,
        until=until,
    )


def _records(state: State, app: AppName, environment: EnvironmentName) -> list[Record]:
    e = schema.events.c
    query = (
        sa.select(e.seq, e.at, e.kind, e.app, e.environment, e.change, e.actor, e.data, e.hash)
        .where(e.app == app, e.kind.in_(dora.KINDS))
        .where(sa.or_(e.environment == environment, e.kind == "app.destroyed"))
        .order_by(e.seq)
    )
    with state.store.read() as connection:
        return [Record(seq, parse_time(at), *rest) for seq, at, *rest in connection.execute(query)]


def _commits(state: State, app: AppName) -> dict[ReleaseId, dora.Commit]:
    r = schema.releases.c
    query = sa.select(r.id, r.commit, r.committed_at, r.dirty).where(r.app == app)
    with state.store.read() as connection:
        return {
            ReleaseId(id): dora.Commit(commit, parse_time(at) if at else None, dirty)
            for id, commit, at, dirty in connection.execute(query)
        }


def _passages(state: State, app: AppName, since: datetime, until: datetime) -> list[dora.Passage]:
    s, r = schema.stage_runs.c, schema.pipeline_runs.c
    query = (
        sa.select(s.kind, s.name, s.environment, s.position, s.state, s.started_at, s.finished_at)
        .join_from(schema.stage_runs, schema.pipeline_runs, s.run == r.id)
        .where(r.app == app, s.finished_at >= text_time(since), s.finished_at < text_time(until))
    )
    with state.store.read() as connection:
        return [
            dora.Passage(
                kind,
                name,
                environment,
                position,
                stage,
                (parse_time(end) - parse_time(start)).total_seconds(),
            )
            for kind, name, environment, position, stage, start, end in connection.execute(query)
        ]
