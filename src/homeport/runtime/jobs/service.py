"""Scheduled commands of everything that serves: looks about once a second, plans, acts.

What is guaranteed, over any number of ``kill -9`` of the control plane at any moment:

- each due time of a job gets exactly one run, unless the job's own rules say that it gets none (missed
  while Homeport was down, paused): the run and the time up to which all is planned are one transaction,
  and a second run of the same due time is refused by the database;
- a run that is started is started exactly once: its start is recorded before there is a process, a run
  without a process is given one again, and of several runners one alone can claim it;
- a run goes on while the control plane is down, its time limit included, and its end is told when the
  control plane is back.

When the machine or the runner itself dies in the middle, nobody knows how far the command came: the run
is "lost", what is left of it is ended, and it is tried again only where the job has ``retries``.

A clock that jumps: forward, the times jumped over were due; those longer ago than a minute count as
missed. Back, nothing that was due before the jump runs a second time, so the job pauses until the clock
is where it was; after a jump of more than 25 hours planning begins anew from the new time, and only the
runs that are still kept protect their due times. Time limits do not depend on that clock.
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from homeport.journal.store import Store, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.kernel.text import did_you_mean
from homeport.runtime import logs
from homeport.runtime.jobs import commands, errors, events, plan, record, state
from homeport.runtime.jobs.files import RunFiles, run_names
from homeport.runtime.jobs.model import (
    SCHEDULE,
    Job,
    JobStatus,
    Outcome,
    Run,
    RunState,
    Seen,
    Target,
    schedule_key,
)
from homeport.runtime.jobs.record import key_of
from homeport.runtime.jobs.state import Key
from homeport.runtime.layout import Layout
from homeport.spec.model import Cron
from homeport.spec.schedule import Schedule
from homeport.system import process

log = logging.getLogger(__name__)

ACTOR = "homeport"
KEEP = 200
"""Runs kept of each job, with their output, and as many that were skipped."""
CLEAN_EVERY = 60.0
TAIL = 20
"""Lines of output in the event of a run that did not succeed."""
LAST_WORDS = 0.1
"""Seconds that the log daemon has to write them."""
LAUNCH_TIMEOUT = 20.0
LAUNCH_AGAIN = 5.0
"""Seconds that a runner has to claim its run before another is sent."""

Targets = Mapping[tuple[AppName, EnvironmentName], Target]
_LOG = re.compile(r"([^.]+\.[^.]+\.cron\.[^.]+\.[0-9]+)\.log(?:\.[0-9]+)?")


@lru_cache(maxsize=1024)
def _schedule(text: str, timezone: str) -> Schedule | None:
    try:
        return Schedule(text, timezone)
    except ValueError as e:  # stored by another version of Homeport
        log.error("cron: cannot plan %r in %r: it %s", text, timezone, e)
        return None


class Jobs:
    """Its public calls may be made from any thread, but :meth:`tick` from one alone."""

    def __init__(
        self,
        data_dir: Path,
        store: Store,
        clock: Clock,
        targets: Callable[[], Sequence[Target]],
        *,
        python: str = sys.executable,
    ) -> None:
        self._layout = Layout(data_dir)
        self._runs = commands.runs_directory(self._layout)
        self._store = store
        self._clock = clock
        self._targets = targets
        self._python = python
        self._lock = threading.Lock()
        """Held from a look at the state to the end of the transaction that follows from it."""
        self._launched: dict[str, float] = {}
        self._cleaned_at = float("-inf")
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="cron", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What runs runs on; the next control plane finds it."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _loop(self) -> None:
        while not self._closing:
            try:
                self.tick()
            except HomeportError as e:
                log.error("cron: %s", e.sentence)
            except Exception:
                log.exception("cron")
            # Just after the next full second: that is when runs are due.
            self._wake.wait(1.005 - self._clock.now().microsecond / 1e6)
            self._wake.clear()

    # One round

    def tick(self) -> None:
        """Look, plan, record, act. May be cut short anywhere: the next one goes on from what it finds."""
        targets = {(t.app, t.environment): t for t in self._targets()}
        with self._lock:
            self._create(self._look(targets))
            jobs = self._look(targets)
            seen: dict[str, Seen | Outcome] = {
                run.id: self._files(run.id).look()
                for job in jobs
                for run in job.runs
                if run.state is RunState.RUNNING
            }
            now = self._clock.now()
            moves = [(job, step) for job in jobs for step in plan.move(job, seen, now)]
            self._record(moves)
        active = {run.id for job in jobs for run in job.runs}
        for job, step in moves:
            try:
                self._act(job, step, targets)
            except HomeportError as e:
                log.error("cron: %s: %s", step.run.id, e.sentence)
            except OSError as e:
                log.error("cron: %s: %s", step.run.id, e)
        self._sweep(active)

    def _look(self, targets: Targets) -> list[Job]:
        rows = state.jobs(self._store)
        runs: dict[Key, list[Run]] = {}
        for run in state.active(self._store):
            runs.setdefault(key_of(run), []).append(run)
        wanted: dict[Key, tuple[Cron, ReleaseId]] = {
            (t.app, t.environment, cron.name): (cron, t.release) for t in targets.values() for cron in t.crons
        }
        jobs = []
        for key in sorted({*rows, *runs, *wanted}):
            row = rows.get(key)
            cron, release = wanted.get(key, (None, None))
            schedule = _schedule(cron.schedule, cron.timezone) if cron else None
            jobs.append(
                Job(
                    *key,
                    cron=cron if schedule else None,
                    schedule=schedule,
                    release=release,
                    planned_to=row.planned_to if row else None,
                    planned_by=row.schedule if row else "",
                    paused_by=row.paused_by if row else None,
                    runs=tuple(runs.get(key, ())),
                )
            )
        if any(key not in rows for key in wanted):
            # Numbers begin at 1 with a new job; what an app of that name left is not its own.
            self._remove_logs()
        return jobs

    def _create(self, jobs: Sequence[Job]) -> None:
        now = self._clock.now()
        steps = [(job, step) for job in jobs for step in plan.create(job, now)]
        if steps:
            with self._store.transaction(ACTOR) as tx:
                for job, step in steps:
                    record.create(tx, job, step)

    def _record(self, moves: Sequence[tuple[Job, plan.Move]]) -> None:
        """All state changes of a round, and their events, in one transaction."""
        if all(isinstance(step, plan.Launch | plan.End) for _, step in moves):
            return
        lines = self._last_words([step for _, step in moves if isinstance(step, plan.Finish)])
        with self._store.transaction(ACTOR) as tx:
            for job, step in moves:
                match step:
                    case plan.Start():
                        assert job.release is not None
                        record.start(tx, step.run, job.release)
                    case plan.Finish():
                        record.finish(tx, step, lines[step.run.id])
                    case plan.Skip():
                        record.skip(tx, step.run, step.reason)

    def _last_words(self, finished: Sequence[plan.Finish]) -> dict[str, tuple[str, ...]]:
        """What those printed last that did not succeed. What is left of lost ones is ended before."""
        for step in finished:
            if step.outcome.state is RunState.LOST:
                process.kill_marked(str(self._layout.data), step.run.id)
            # The log daemon finishes with a pipe that is gone: what is in it, and a line without an end.
            self._layout.fifo(step.run.id).unlink(missing_ok=True)
        told = [step.run.id for step in finished if step.outcome.state is not RunState.SUCCEEDED]
        if told:
            self._clock.sleep(LAST_WORDS)
        lines = {id_: logs.tail(self._layout, id_, TAIL) for id_ in told}
        return {step.run.id: lines.get(step.run.id, ()) for step in finished}

    def _act(self, job: Job, step: plan.Move, targets: Targets) -> None:
        """The effects of a step. State changes are recorded before; each may be cut short and made again."""
        match step:
            case plan.Start() | plan.Launch():
                self._launch(job, step.run, targets.get((job.app, job.environment)))
            case plan.End():
                self._files(step.run.id).ask_to_end(step.state)
            case plan.Finish():
                self._launched.pop(step.run.id, None)
                self._files(step.run.id).remove()

    def _files(self, run: str) -> RunFiles:
        return RunFiles(self._runs / run)

    def _launch(self, job: Job, run: Run, target: Target | None) -> None:
        """Send a runner, unless one was sent just now."""
        now = self._clock.monotonic()
        if now - self._launched.get(run.id, float("-inf")) < LAUNCH_AGAIN:
            return
        self._launched[run.id] = now
        files = self._files(run.id)
        if not files.is_prepared:
            if job.cron is None or target is None:
                return
            try:
                document = self._document(target, job.cron, run, files.directory)
            except HomeportError as e:
                self._fail(job, run, e.sentence)
                return
            files.prepare(document)
        process.run(
            commands.runner(self._python, files.directory),
            timeout=LAUNCH_TIMEOUT,
            cwd=Path("/"),
            env=commands.runner_environment(self._marks(run.id + commands.RUNNER_MARK)),
        )

    def _document(self, target: Target, cron: Cron, run: Run, directory: Path) -> dict[str, object]:
        spec = target.instance(cron, run.id)
        about = {
            "HOMEPORT_RUN": str(run.id),
            "HOMEPORT_DUE_AT": text_time(run.due_at),
            "HOMEPORT_ATTEMPT": str(run.attempt),
        }
        spec = replace(spec, environment=(*spec.environment, *about.items()))
        return commands.run_document(spec, self._layout, self._marks(run.id), cron, directory)

    def _marks(self, name: str) -> tuple[tuple[str, str], ...]:
        return ((process.OWNER, str(self._layout.data)), (process.INSTANCE, name))

    def _fail(self, job: Job, run: Run, why: str) -> None:
        """A run that no process can be made for. None was: its files were not written."""
        now = self._clock.now()
        step = plan.finish(job, run, Outcome(RunState.FAILED, why, now), now)
        with self._lock, self._store.transaction(ACTOR) as tx:
            record.finish(tx, step, ())
        self._launched.pop(run.id, None)
        self._files(run.id).remove()

    # What is left over

    def _sweep(self, active: set[InstanceName]) -> None:
        """End and remove what the state does not know: runs of an app that was destroyed, files of ended ones."""
        for name in run_names(self._runs):
            if name in active:
                continue
            files = self._files(name)
            if files.runner() is not None:
                files.ask_to_end(RunState.STOPPED)
                continue
            process.kill_marked(str(self._layout.data), name)
            fifo = self._layout.fifo(name)
            if fifo.exists():
                fifo.unlink(missing_ok=True)
                # The log daemon masks by the run's document what is left in the pipe.
                self._clock.sleep(LAST_WORDS)
            files.remove()
        now = self._clock.monotonic()
        if now - self._cleaned_at >= CLEAN_EVERY:
            self._cleaned_at = now
            self.clean()

    def clean(self) -> None:
        """Forget all but the newest :data:`KEEP` runs of each job, and their logs."""
        with self._lock, self._store.transaction(ACTOR) as tx:
            state.prune(tx, KEEP)
        self._remove_logs()

    def _remove_logs(self) -> None:
        """Logs of runs that the state does not have."""
        try:
            names = os.listdir(self._layout.logs)
        except FileNotFoundError:
            return
        ours = [(name, match[1]) for name in names if (match := _LOG.fullmatch(name))]
        if ours:
            known = state.ids(self._store)
            for name, run in ours:
                if run not in known:
                    (self._layout.logs / name).unlink(missing_ok=True)

    # What people ask for

    def run_now(self, app: AppName, environment: EnvironmentName, name: str, actor: str) -> InstanceName:
        """Have a job run once more, paused or not, after what runs of it now; returns the run's id.

        Raises ``runtime.cron_not_serving`` or ``runtime.unknown_cron``.
        """
        cron = self._cron(app, environment, name)
        key: Key = (app, environment, name)
        with self._lock:
            is_new = key not in state.jobs(self._store)
            with self._store.transaction(actor) as tx:
                if is_new:
                    state.plan_to(tx, key, tx.now, schedule_key(cron))
                cause = actor if actor != SCHEDULE else f"{actor} by hand"
                run = state.add(tx, key, due_at=tx.now, start_at=tx.now, cause=cause)
                assert run is not None
                tx.append(events.CronAsked(app=app, environment=environment, job=name, run=run.id))
        self._wake.set()
        return run.id

    def pause(self, app: AppName, environment: EnvironmentName, name: str, actor: str) -> None:
        """No more runs by the schedule, waiting ones included; what runs runs on. Raises as :meth:`run_now`."""
        cron = self._cron(app, environment, name)
        key: Key = (app, environment, name)
        with self._lock:
            row = state.jobs(self._store).get(key)
            if row is not None and row.paused_by is not None:
                return
            waiting = [
                run
                for run in state.active(self._store)
                if key_of(run) == key and run.state is RunState.WAITING and run.cause == SCHEDULE
            ]
            with self._store.transaction(actor) as tx:
                state.pause(tx, key, actor, tx.now, schedule_key(cron))
                tx.append(events.CronPaused(app=app, environment=environment, job=name))
                for run in waiting:
                    record.skip(tx, run, plan.PAUSED)

    def resume(self, app: AppName, environment: EnvironmentName, name: str, actor: str) -> None:
        """Run by the schedule again, from now on. Raises as :meth:`run_now`."""
        cron = self._cron(app, environment, name)
        key: Key = (app, environment, name)
        with self._lock:
            row = state.jobs(self._store).get(key)
            if row is None or row.paused_by is None:
                return
            with self._store.transaction(actor) as tx:
                state.pause(tx, key, None, tx.now, schedule_key(cron))
                tx.append(events.CronResumed(app=app, environment=environment, job=name))

    def stop(self, run: str, actor: str) -> None:
        """Have a run end, by SIGTERM and after its grace SIGKILL; returns before it has.

        Raises ``runtime.unknown_cron_run`` or ``runtime.cron_run_ended``.
        """
        with self._lock:
            found = self._run(run)
            if not found.state.is_active:
                raise errors.RUN_ENDED.error(
                    f"cannot stop {run}: it has ended ({found.state.value})", hint="homeport cron history"
                )
            with self._store.transaction(actor) as tx:
                if found.state is RunState.WAITING:
                    outcome = Outcome(RunState.STOPPED, "before it started", tx.now)
                    record.finish(tx, plan.Finish(found, outcome), ())
                    return
                tx.append(
                    events.CronStopAsked(
                        app=found.app, environment=found.environment, job=found.name, run=found.id
                    )
                )
            self._files(found.id).ask_to_end(RunState.STOPPED)

    def list(self, app: AppName, environment: EnvironmentName) -> tuple[JobStatus, ...]:
        """The jobs of the release that serves, by name."""
        target = self._target(app, environment)
        rows = state.jobs(self._store)
        latest = state.latest(self._store, app, environment)
        now = self._clock.now()
        found = []
        for cron in sorted(target.crons, key=lambda c: c.name) if target else ():
            row = rows.get((app, environment, cron.name))
            paused_by = row.paused_by if row else None
            schedule = _schedule(cron.schedule, cron.timezone)
            found.append(
                JobStatus(
                    name=cron.name,
                    schedule=cron.schedule,
                    timezone=cron.timezone,
                    command=cron.command,
                    release=target.release if target else ReleaseId(""),
                    paused_by=paused_by,
                    next=schedule.next(now) if schedule and paused_by is None else None,
                    last=latest.get(cron.name),
                )
            )
        return tuple(found)

    def history(
        self, app: AppName, environment: EnvironmentName, name: str | None, limit: int
    ) -> tuple[Run, ...]:
        """Runs, the newest first. Raises as :meth:`run_now` for a job that has none and is not there."""
        found = state.history(self._store, app, environment, name, limit)
        if not found and name is not None and (app, environment, name) not in state.jobs(self._store):
            self._cron(app, environment, name)
        return found

    def output(self, run: str, limit: int) -> tuple[str, ...]:
        """The last lines that a run printed, each after its time. Raises ``runtime.unknown_cron_run``."""
        found = self._run(run)
        return tuple(f"{at} {text}" for at, _, text in logs.newest(self._layout, found.id, limit))

    def releases_in_use(self) -> frozenset[tuple[AppName, ReleaseId]]:
        """Releases in whose directories a command runs: their files are to stay."""
        return frozenset((r.app, r.release) for r in state.active(self._store) if r.release is not None)

    def _run(self, id_: str) -> Run:
        run = state.run(self._store, id_)
        if run is None:
            raise errors.UNKNOWN_RUN.error(
                f"cannot find the run {id_!r}", hint="homeport cron history lists them"
            )
        return run

    def _target(self, app: AppName, environment: EnvironmentName) -> Target | None:
        targets = self._targets()
        return next((t for t in targets if (t.app, t.environment) == (app, environment)), None)

    def _cron(self, app: AppName, environment: EnvironmentName, name: str) -> Cron:
        target = self._target(app, environment)
        if target is None:
            raise errors.NOT_SERVING.error(
                f"cannot use the job {name!r} of {app} in {environment}: no release with jobs serves there",
                hint="deploy a release whose homeport.toml has [cron.*]",
            )
        for cron in target.crons:
            if cron.name == name:
                return cron
        raise errors.UNKNOWN_JOB.error(
            f"cannot find a job {name!r} in {target.release}, which serves {environment} of {app}",
            hint=did_you_mean(name, [cron.name for cron in target.crons]),
        )
