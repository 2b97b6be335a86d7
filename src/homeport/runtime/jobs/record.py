"""What becomes of a run, written to the state and told to the journal in one transaction."""

from datetime import datetime

from homeport.journal.store import Transaction, text_time
from homeport.kernel.ids import ReleaseId
from homeport.runtime.jobs import events, plan, state
from homeport.runtime.jobs.model import Job, Run, RunState
from homeport.runtime.jobs.state import Key


def key_of(of: Job | Run) -> Key:
    return of.app, of.environment, of.name


def create(tx: Transaction, job: Job, step: plan.Creation) -> None:
    match step:
        case plan.Planned():
            state.plan_to(tx, key_of(job), step.to, step.schedule)
        case plan.Add():
            state.add(tx, key_of(job), due_at=step.due_at, start_at=step.start_at, missed=step.missed)
        case plan.PassOver():
            tx.append(
                events.CronPassedOver(
                    app=job.app,
                    environment=job.environment,
                    job=job.name,
                    count=step.count,
                    first=text_time(step.first),
                    last=text_time(step.last),
                    reason=step.reason,
                )
            )


def start(tx: Transaction, run: Run, release: ReleaseId) -> None:
    state.update(tx, run.id, state=RunState.RUNNING.value, release=release, started_at=text_time(tx.now))
    tx.append(
        events.CronStarted(
            app=run.app,
            environment=run.environment,
            job=run.name,
            run=run.id,
            release=release,
            due_at=text_time(run.due_at),
            cause=run.cause,
            attempt=run.attempt,
        )
    )


def finish(tx: Transaction, step: plan.Finish, lines: tuple[str, ...]) -> None:
    """The end of a run and, with it, the next attempt at it."""
    run, outcome = step.run, step.outcome
    began = run.started_at or outcome.finished_at
    finished_at = max(outcome.finished_at, began)
    state.update(
        tx,
        run.id,
        state=outcome.state.value,
        finished_at=text_time(finished_at),
        exit=outcome.exit,
    )
    tx.append(
        events.CronFinished(
            app=run.app,
            environment=run.environment,
            job=run.name,
            run=run.id,
            state=outcome.state.value,
            exit=outcome.exit,
            seconds=round((finished_at - began).total_seconds(), 3),
            attempt=run.attempt,
            retry_at=_text(step.retry_at),
            lines=list(lines),
        )
    )
    if step.retry_at is not None:
        state.add(
            tx,
            key_of(run),
            due_at=run.due_at,
            start_at=step.retry_at,
            cause=run.cause,
            attempt=run.attempt + 1,
            missed=run.missed,
        )


def skip(tx: Transaction, run: Run, reason: str) -> None:
    state.update(tx, run.id, state=RunState.SKIPPED.value, finished_at=text_time(tx.now), exit=reason)
    tx.append(
        events.CronSkipped(
            app=run.app,
            environment=run.environment,
            job=run.name,
            run=run.id,
            due_at=text_time(run.due_at),
            reason=reason,
        )
    )


def _text(at: datetime | None) -> str | None:
    return text_time(at) if at is not None else None
