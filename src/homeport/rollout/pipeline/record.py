"""What becomes of runs and stages, written with its event in one transaction."""

from typing import Any

from homeport.journal.store import text_time
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import events, state
from homeport.rollout.pipeline.model import Run, RunState, StageRun, StageState


def of_run(run: Run) -> dict[str, Any]:
    """The common fields of a run's events."""
    return {"app": run.app, "run": run.id, "number": run.number}


def of_stage(run: Run, stage: StageRun) -> dict[str, Any]:
    """The common fields of a stage's events."""
    return of_run(run) | {
        "environment": stage.environment,
        "change": None,
        "position": stage.position,
        "attempt": stage.attempt,
        "stage": stage.name,
        "what": stage.kind,
    }


def start_run(parts: Parts, run: Run) -> bool:
    """Take a run out of the queue; False when another one of the app came first."""
    with parts.state.store.transaction(run.actor) as tx:
        for id, number, current in state.unfinished(tx, run.app):
            if id != run.id and (current is not RunState.QUEUED or number < run.number):
                return False
        state.update_run(tx, run.id, state=RunState.RUNNING.value, started_at=text_time(tx.now))
        tx.append(events.RunStarted(attempt=run.attempt, **of_run(run)))
    return True


def begin_stage(parts: Parts, run: Run, stage: StageRun, opened: events.GateOpened | None = None) -> None:
    with parts.state.store.transaction(run.actor) as tx:
        state.insert_stage(tx, stage)
        if opened is None:
            tx.append(events.StageStarted(**of_stage(run, stage)))
        else:
            state.update_run(tx, run.id, state=RunState.WAITING.value)
            tx.append(opened)


def close_stage(
    parts: Parts,
    run: Run,
    stage: StageRun,
    outcome: StageState,
    reason: str = "",
    lines: tuple[str, ...] = (),
    details: dict[str, Any] | None = None,
) -> None:
    """Record how a stage ended; nothing when it has ended already."""
    mask = parts.masker().mask_text
    reason = mask(reason)
    told = [mask(line) for line in lines]
    found = stage.found | {"lines": told, "details": masked(details or {}, parts)}
    with parts.state.store.transaction(run.actor) as tx:
        open_ = state.update_stage(
            tx, stage, state=outcome.value, reason=reason, found=found, finished_at=text_time(tx.now)
        )
        if not open_:
            return
        if stage.state is StageState.WAITING:
            state.update_run(tx, run.id, state=RunState.RUNNING.value)
        tx.append(
            events.StageFinished(
                outcome=outcome.value,
                reason=reason,
                seconds=round((tx.now - stage.started_at).total_seconds(), 3),
                lines=told,
                **of_stage(run, stage),
            )
        )


def end_run(parts: Parts, run: Run, outcome: RunState, reason: str) -> None:
    reason = parts.masker().mask_text(reason)
    with parts.state.store.transaction(run.actor) as tx:
        state.update_run(
            tx, run.id, state=outcome.value, reason=reason or None, finished_at=text_time(tx.now)
        )
        since = run.started_at if run.started_at and run.state is not RunState.QUEUED else tx.now
        tx.append(
            events.RunFinished(
                commit=run.commit.id,
                outcome=outcome.value,
                reason=reason,
                seconds=round((tx.now - since).total_seconds(), 3),
                **of_run(run),
            )
        )


def masked(value: Any, parts: Parts) -> Any:
    """A JSON value without secrets in its texts."""
    match value:
        case str():
            return parts.masker().mask_text(value)
        case dict():
            return {k: masked(v, parts) for k, v in value.items()}
        case list() | tuple():
            return [masked(v, parts) for v in value]
        case _:
            return value
