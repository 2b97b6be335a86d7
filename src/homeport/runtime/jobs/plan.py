"""Which runs to make, to start, to end, and to try again. Pure.

Time limits are kept by the runner of each run, by a clock that nobody sets, so they are not here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from homeport.runtime.jobs.model import SCHEDULE, TO_RETRY, Job, Outcome, Run, RunState, Seen, schedule_key

LATE = timedelta(seconds=60)
"""A time that was due longer ago than this when it is first seen was missed."""
AHEAD = timedelta(hours=25)
"""Planned further ahead than this: the clock was wrong then, and planning begins anew from now."""
MOST = 1000
"""Runs made up for, and runs that wait in a queue."""
BRIEF = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(days=1)

STILL_RAN = "the run before it still ran"
NEWER_DUE = "the next one was due before it started"
QUEUE_FULL = f"{MOST} runs were waiting"
NOT_SERVED = "no release that serves has this job"
PAUSED = "the job was paused"
LOST_EXIT = "its runner was killed, or the machine went down"


@dataclass(frozen=True, slots=True)
class Planned:
    """Every time up to ``to`` has its run; None: none is planned any more."""

    to: datetime | None
    schedule: str


@dataclass(frozen=True, slots=True)
class Add:
    """A due time gets its run, unless it has one."""

    due_at: datetime
    start_at: datetime
    missed: bool


@dataclass(frozen=True, slots=True)
class PassOver:
    """Due times that get no run."""

    count: int
    """At most :data:`MOST` and one more: then it were more than that."""
    first: datetime
    last: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """A waiting run is recorded as running, then given its process."""

    run: Run


@dataclass(frozen=True, slots=True)
class Launch:
    """A run that is recorded as running is given a process, once more if need be."""

    run: Run


@dataclass(frozen=True, slots=True)
class End:
    """A running one is told to end; it tells of its end itself."""

    run: Run
    state: RunState


@dataclass(frozen=True, slots=True)
class Finish:
    """A run has ended. ``retry_at``: when the next attempt at it starts, None for no more."""

    run: Run
    outcome: Outcome
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """A waiting run will not start."""

    run: Run
    reason: str


Creation = Planned | Add | PassOver
Move = Start | Launch | End | Finish | Skip


def create(job: Job, now: datetime) -> tuple[Creation, ...]:
    """The runs that are due and not made yet. A plan with an Add ends with the Planned that covers it."""
    return tuple(_create(job, now))


def _create(job: Job, now: datetime) -> Iterator[Creation]:
    cron, schedule, planned_to = job.cron, job.schedule, job.planned_to
    if cron is None or schedule is None:
        if planned_to is not None:
            yield Planned(None, job.planned_by)
        return
    key = schedule_key(cron)
    if planned_to is None or job.planned_by != key or planned_to > now + AHEAD:
        yield Planned(now, key)
        return
    if job.paused_by is not None or schedule.next(planned_to) > now:
        return
    late = max(planned_to, now - LATE)
    missed = schedule.due(planned_to, late, most=MOST + 1)
    kept = {"once": missed[-1:], "all": missed[-MOST:]}.get(cron.missed, ())
    if len(kept) < len(missed):
        passed = missed[: len(missed) - len(kept)]
        first = schedule.next(planned_to)
        yield PassOver(len(passed), first, passed[-1], "Homeport was down when it was due")
    for at in kept:
        yield Add(at, now + _delay(job, cron.random_delay, at), True)
    for at in schedule.due(late, now, most=MOST):
        yield Add(at, at + _delay(job, cron.random_delay, at), False)
    yield Planned(now, key)


def _delay(job: Job, most: float, due_at: datetime) -> timedelta:
    """Up to ``most`` seconds, always the same for one due time of one job."""
    text = f"{job.app}.{job.environment}.{job.name}.{due_at.isoformat()}"
    share = int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64
    return timedelta(milliseconds=int(most * share * 1000))


def move(job: Job, seen: Mapping[str, Seen | Outcome], now: datetime) -> tuple[Move, ...]:
    """The next steps of the runs that are there. ``seen`` has those that are recorded as running."""
    steps: list[Move] = []
    running: list[Run] = []
    for run in job.runs:
        if run.state is RunState.RUNNING:
            step = _running(job, run, seen[run.id], now)
            if isinstance(step, Finish):
                steps.append(step)
            else:
                running.append(run)
                steps += [step] if step is not None else []
    waiting = [run for run in job.runs if run.state is RunState.WAITING]
    if job.cron is None:
        return (*steps, *(Skip(run, NOT_SERVED) for run in waiting))
    due = sorted((r for r in waiting if r.start_at <= now), key=lambda r: (r.start_at, r.number))
    if job.cron.overlap == "replace":
        by_schedule = [run for run in due if run.is_by_schedule]
        steps += [Skip(run, NEWER_DUE) for run in by_schedule[:-1]]
        due = [run for run in due if run not in by_schedule[:-1]]
        if by_schedule:
            steps += [End(run, RunState.REPLACED) for run in running]
    started = None
    if due and not running:
        started = due.pop(0)
        steps.append(Start(started))
    if job.cron.overlap == "skip":
        steps += [Skip(run, STILL_RAN) for run in due if run.is_by_schedule]
    elif job.cron.overlap == "queue":
        steps += [Skip(run, QUEUE_FULL) for run in due[MOST:] if run.is_by_schedule]
    return tuple(steps)


def is_pressing(job: Job, steps: Sequence[Move], now: datetime) -> bool:
    """Whether a run waits, after these steps, for one that has not run for long and may end any moment."""
    touched = {step.run.id for step in steps}
    waits = any(
        run.state is RunState.WAITING and run.start_at <= now and run.id not in touched for run in job.runs
    )
    started = any(isinstance(step, Start) for step in steps)
    return waits and (
        started or any(run.started_at is not None and now - run.started_at < BRIEF for run in job.runs)
    )


def _running(job: Job, run: Run, seen: Seen | Outcome, now: datetime) -> Move | None:
    if seen is Seen.RUNNING:
        return None
    if seen is Seen.UNPREPARED and job.cron is None:
        return Finish(run, Outcome(RunState.SKIPPED, NOT_SERVED, now))
    if seen is Seen.UNPREPARED or seen is Seen.UNCLAIMED:
        return Launch(run)
    outcome = seen if isinstance(seen, Outcome) else Outcome(RunState.LOST, LOST_EXIT, now)
    return finish(job, run, outcome, now)


def finish(job: Job, run: Run, outcome: Outcome, now: datetime) -> Finish:
    """The end of a run, and whether and when it is tried again."""
    return Finish(run, outcome, _retry_at(job, run, outcome, now))


def _retry_at(job: Job, run: Run, outcome: Outcome, now: datetime) -> datetime | None:
    cron = job.cron
    if cron is None or outcome.state not in TO_RETRY or run.attempt > cron.retries:
        return None
    if job.paused_by is not None and run.cause == SCHEDULE:
        return None
    seconds = min(cron.retry_delay * 2.0 ** min(run.attempt - 1, 30), LONGEST_PAUSE.total_seconds())
    return now + timedelta(seconds=max(seconds, 0.0))
