"""The tables of ``state.db`` that hold runs, their stages and approvals."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.journal import schema
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, RunId
from homeport.rollout.model import Commit
from homeport.rollout.pipeline.errors import UNKNOWN_RUN
from homeport.rollout.pipeline.model import (
    RUN,
    UNFINISHED,
    Approval,
    Run,
    RunState,
    StageRun,
    StageState,
)

_runs = schema.pipeline_runs
_stages = schema.stage_runs
_approvals = schema.approvals


class Runs:
    """Reading; what is written, is written by the functions below, within a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(self, id: RunId) -> Run:
        """Raises ``pipeline.unknown_run``."""
        with self._store.read() as c:
            row = c.execute(sa.select(_runs).where(_runs.c.id == id)).first()
        if row is None:
            raise UNKNOWN_RUN.error(f"cannot find run {id!r}", hint="homeport pipeline list")
        return _run(row)

    def named(self, app: AppName, text: str) -> Run:
        """The run of an app by its id or number ("12", "#12"). Raises ``pipeline.unknown_run``."""
        number = text.removeprefix("#")
        if RUN.fullmatch(text):
            where = _runs.c.id == text
        elif number.isascii() and number.isdigit() and len(number) < 10:
            where = sa.and_(_runs.c.app == app, _runs.c.number == int(number))
        else:
            raise UNKNOWN_RUN.error(
                f"cannot read {text!r} as a run", hint="a run is its number, such as 12, or its id, p-…"
            )
        with self._store.read() as c:
            row = c.execute(sa.select(_runs).where(where)).first()
        if row is None or row.app != app:
            raise UNKNOWN_RUN.error(f"cannot find run {text} of {app}", hint="homeport pipeline list")
        return _run(row)

    def runs(self, app: AppName | None = None, *, limit: int = 50) -> tuple[Run, ...]:
        """The newest first."""
        query = sa.select(_runs).order_by(_runs.c.created_at.desc(), _runs.c.number.desc()).limit(limit)
        if app is not None:
            query = query.where(_runs.c.app == app)
        with self._store.read() as c:
            return tuple(_run(row) for row in c.execute(query))

    def unfinished(self, app: AppName | None = None) -> tuple[Run, ...]:
        """By number."""
        query = sa.select(_runs).where(_runs.c.state.in_(UNFINISHED)).order_by(_runs.c.app, _runs.c.number)
        if app is not None:
            query = query.where(_runs.c.app == app)
        with self._store.read() as c:
            return tuple(_run(row) for row in c.execute(query))

    def newest_passed(self, app: AppName) -> int:
        """The highest number of a run that passed; 0 for none."""
        query = sa.select(sa.func.max(_runs.c.number)).where(
            _runs.c.app == app, _runs.c.state == RunState.PASSED.value
        )
        with self._store.read() as c:
            return int(c.execute(query).scalar() or 0)

    def attempts(self, run: RunId) -> tuple[StageRun, ...]:
        """Every attempt at every stage, as they began."""
        query = sa.select(_stages).where(_stages.c.run == run).order_by(_stages.c.attempt, _stages.c.position)
        with self._store.read() as c:
            return tuple(_stage(row) for row in c.execute(query))

    def stages(self, run: RunId) -> tuple[StageRun, ...]:
        """The newest attempt at each stage that was begun, in order."""
        newest = {s.position: s for s in self.attempts(run)}
        return tuple(newest[position] for position in sorted(newest))

    def approvals(self, run: RunId) -> tuple[Approval, ...]:
        """In the order they were given."""
        query = sa.select(_approvals).where(_approvals.c.run == run).order_by(_approvals.c.seq)
        with self._store.read() as c:
            return tuple(_approval(row) for row in c.execute(query))

    def decision(self, stage: StageRun) -> Approval | None:
        """What was said first at a gate."""
        return next(
            (
                a
                for a in self.approvals(stage.run)
                if (a.position, a.attempt) == (stage.position, stage.attempt)
            ),
            None,
        )

    def told_after(self, run: Run) -> int:
        """The ``seq`` of the record before the first one that tells of a run's newest attempt."""
        e = schema.events.c
        query = sa.select(sa.func.max(e.seq)).where(
            e.app == run.app, e.kind == "run.queued", e.data["run"].as_string() == run.id
        )
        with self._store.read() as c:
            return int(c.execute(query).scalar() or 1) - 1

    def standing(self, change: ChangeId) -> dict[str, Any] | None:
        """The figures by which a change's release was judged; None where there are none."""
        trials = schema.trials.c
        with self._store.read() as c:
            found = c.execute(sa.select(trials.standing).where(trials.change == change)).scalars().first()
        return dict(found) if found else None


# Writing: each within a transaction of the caller.


def next_number(tx: Transaction, app: AppName) -> int:
    highest = tx.execute(sa.select(sa.func.max(_runs.c.number)).where(_runs.c.app == app)).scalar()
    return int(highest or 0) + 1


def unfinished(tx: Transaction, app: AppName) -> list[tuple[RunId, int, RunState]]:
    """(id, number, state) of an app's runs that have not ended, by number."""
    query = (
        sa.select(_runs.c.id, _runs.c.number, _runs.c.state)
        .where(_runs.c.app == app, _runs.c.state.in_(UNFINISHED))
        .order_by(_runs.c.number)
    )
    return [(RunId(r.id), r.number, RunState(r.state)) for r in tx.execute(query)]


def insert_run(tx: Transaction, run: Run) -> None:
    """Raises sqlalchemy.exc.IntegrityError when its id is there already."""
    tx.execute(
        _runs.insert().values(
            id=run.id,
            app=run.app,
            number=run.number,
            commit=run.commit.id,
            subject=run.commit.subject,
            author=run.commit.author,
            committed_at=text_time(run.commit.at) if run.commit.at else None,
            branch=run.branch,
            archive=run.archive,
            spec=run.spec,
            cause=run.cause,
            actor=run.actor,
            state=run.state.value,
            attempt=run.attempt,
            cancel="",
            created_at=text_time(run.created_at),
        )
    )


def update_run(tx: Transaction, run: RunId, **values: Any) -> None:
    tx.execute(_runs.update().where(_runs.c.id == run).values(**values))


def cancel_run(tx: Transaction, run: RunId, actor: str) -> bool:
    """Ask a run to end; False when it has ended, or somebody asked before."""
    where = (_runs.c.id == run) & _runs.c.state.in_(UNFINISHED) & (_runs.c.cancel == "")
    return tx.execute(_runs.update().where(where).values(cancel=actor)).rowcount > 0


def is_as_was(tx: Transaction, run: Run) -> bool:
    """Whether a run that was read before is in the same state and attempt still."""
    row = tx.execute(sa.select(_runs.c.state, _runs.c.attempt).where(_runs.c.id == run.id)).first()
    return row is not None and (row.state, row.attempt) == (run.state.value, run.attempt)


def insert_stage(tx: Transaction, stage: StageRun) -> None:
    tx.execute(
        _stages.insert().values(
            run=stage.run,
            position=stage.position,
            attempt=stage.attempt,
            kind=stage.kind,
            name=stage.name,
            environment=stage.environment,
            state=stage.state.value,
            reason=stage.reason or None,
            change=stage.change,
            found=stage.found,
            started_at=text_time(stage.started_at),
        )
    )


def update_stage(tx: Transaction, stage: StageRun, **values: Any) -> bool:
    """Write to a stage that has not ended; whether it had not."""
    where = (
        (_stages.c.run == stage.run)
        & (_stages.c.position == stage.position)
        & (_stages.c.attempt == stage.attempt)
        & _stages.c.state.in_((StageState.RUNNING.value, StageState.WAITING.value))
    )
    return tx.execute(_stages.update().where(where).values(**values)).rowcount > 0


def is_open(tx: Transaction, stage: StageRun) -> bool:
    """Whether a gate waits, nobody has decided, and the run was not told to end."""
    waits = sa.select(_stages.c.state, _runs.c.cancel).join(_runs, _runs.c.id == _stages.c.run)
    row = tx.execute(
        waits.where(
            _stages.c.run == stage.run,
            _stages.c.position == stage.position,
            _stages.c.attempt == stage.attempt,
        )
    ).first()
    said = tx.execute(
        sa.select(_approvals.c.seq).where(
            _approvals.c.run == stage.run,
            _approvals.c.position == stage.position,
            _approvals.c.attempt == stage.attempt,
        )
    ).first()
    return row is not None and row.state == StageState.WAITING.value and not row.cancel and said is None


def insert_approval(tx: Transaction, approval: Approval) -> None:
    tx.execute(
        _approvals.insert().values(
            run=approval.run,
            position=approval.position,
            attempt=approval.attempt,
            person=approval.person,
            approved=approval.approved,
            reason=approval.reason,
            ticked=list(approval.ticked),
            what=approval.what,
            at=text_time(approval.at),
        )
    )


def forget_app(tx: Transaction, app: AppName) -> None:
    """Take an app's runs away with it."""
    own = sa.select(_runs.c.id).where(_runs.c.app == app)
    tx.execute(_approvals.delete().where(_approvals.c.run.in_(own)))
    tx.execute(_stages.delete().where(_stages.c.run.in_(own)))
    tx.execute(_runs.delete().where(_runs.c.app == app))


def _run(row: Row[Any]) -> Run:
    return Run(
        id=RunId(row.id),
        app=AppName(row.app),
        number=row.number,
        commit=Commit(
            row.commit,
            row.subject,
            False,
            row.author,
            parse_time(row.committed_at) if row.committed_at else None,
        ),
        branch=row.branch,
        archive=row.archive,
        spec=row.spec,
        cause=row.cause,
        actor=row.actor,
        state=RunState(row.state),
        attempt=row.attempt,
        reason=row.reason or "",
        cancel=row.cancel,
        created_at=parse_time(row.created_at),
        started_at=parse_time(row.started_at) if row.started_at else None,
        finished_at=parse_time(row.finished_at) if row.finished_at else None,
    )


def _stage(row: Row[Any]) -> StageRun:
    return StageRun(
        run=RunId(row.run),
        position=row.position,
        attempt=row.attempt,
        kind=row.kind,
        name=row.name,
        environment=EnvironmentName(row.environment) if row.environment else None,
        state=StageState(row.state),
        reason=row.reason or "",
        change=ChangeId(row.change) if row.change else None,
        found=row.found,
        started_at=parse_time(row.started_at),
        finished_at=parse_time(row.finished_at) if row.finished_at else None,
    )


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        RunId(row.run),
        row.position,
        row.attempt,
        row.person,
        row.approved,
        row.reason,
        tuple(row.ticked),
        row.what,
        parse_time(row.at),
    )
