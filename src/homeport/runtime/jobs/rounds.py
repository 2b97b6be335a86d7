"""One round of looking at the scheduled commands, planning, recording and acting."""

import contextlib
import logging
import os
import re
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from homeport.journal.store import Store, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.runtime import logs
from homeport.runtime.jobs import commands, plan, record, state
from homeport.runtime.jobs.files import RunFiles, run_names
from homeport.runtime.jobs.model import Job, Outcome, Run, RunState, Seen, Target
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
LAST_WORDS = 6.0
"""Seconds that the log daemon has to write them; it may have secrets to open first."""
LAUNCH_TIMEOUT = 20.0
LAUNCH_AGAIN = 5.0
"""Seconds that a runner has to claim its run before another is sent."""

Targets = Mapping[tuple[AppName, EnvironmentName], Target]
_LOG = re.compile(r"([^.]+\.[^.]+\.cron\.[^.]+\.[0-9]+)\.log(?:\.[0-9]+)?")


@lru_cache(maxsize=1024)
def schedule_of(text: str, timezone: str) -> Schedule | None:
    """None for one that was stored by a Homeport that could read it."""
    try:
        return Schedule(text, timezone)
    except ValueError as e:
        log.error("cron: cannot plan %r in %r: it %s", text, timezone, e)
        return None


class Rounds:
    """:meth:`tick` is called from one thread alone."""

    def __init__(
        self,
        data_dir: Path,
        store: Store,
        clock: Clock,
        targets: Callable[[], Sequence[Target]],
        python: str,
        sealing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.layout = Layout(data_dir)
        self.lock = threading.Lock()
        """Held from a look at the state to the end of the transaction that follows from it."""
        self.is_pressing = False
        """Whether the next round had better come soon."""
        self._runs = commands.runs_directory(self.layout)
        self._store = store
        self._clock = clock
        self._targets = targets
        self._python = python
        self._sealing = sealing
        self._launched: dict[str, float] = {}
        self._cleaned_at = float("-inf")

    def tick(self) -> None:
        """Look, plan, record, act. May be cut short anywhere: the next one goes on from what it finds."""
        targets = {(t.app, t.environment): t for t in self._targets()}
        with self.lock:
            self._create(self._look(targets))
            jobs = self._look(targets)
            seen: dict[str, Seen | Outcome] = {
                run.id: self.files(run.id).look()
                for job in jobs
                for run in job.runs
                if run.state is RunState.RUNNING
            }
            now = self._clock.now()
            moves = [(job, step) for job in jobs for step in plan.move(job, seen, now)]
            self._record(moves)
            self.is_pressing = any(
                plan.is_pressing(job, [step for j, step in moves if j is job], now) for job in jobs
            )
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
            schedule = schedule_of(cron.schedule, cron.timezone) if cron else None
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
                process.kill_marked(str(self.layout.data), step.run.id)
        told = [step.run.id for step in finished if step.outcome.state is not RunState.SUCCEEDED]
        for step in finished:
            if step.run.id not in told:
                self.layout.fifo(step.run.id).unlink(missing_ok=True)
        self._leave([self.layout.fifo(id_) for id_ in told])
        lines = {id_: logs.tail(self.layout, id_, TAIL) for id_ in told}
        return {step.run.id: lines.get(step.run.id, ()) for step in finished}

    def _leave(self, fifos: Sequence[Path]) -> None:
        """Take pipes away, and wait until the log daemon has let go of them.

        With a pipe that is gone it finishes: what is in it, and a line without an end, are in the log before.
        """
        poll = select.poll()
        held = set()
        for fifo in fifos:
            with contextlib.suppress(OSError):  # it is not there, or nobody reads it
                fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                held.add(fd)
                poll.register(fd, 0)
            fifo.unlink(missing_ok=True)
        until = self._clock.monotonic() + LAST_WORDS
        while held and (left := until - self._clock.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):  # an error: no reader is left
                poll.unregister(fd)
                held.remove(fd)
                os.close(fd)
        for fd in held:
            os.close(fd)

    def _act(self, job: Job, step: plan.Move, targets: Targets) -> None:
        """The effects of a step. State changes are recorded before; each may be cut short and made again."""
        match step:
            case plan.Start() | plan.Launch():
                self._launch(job, step.run, targets.get((job.app, job.environment)))
            case plan.End():
                self.files(step.run.id).ask_to_end(step.state)
            case plan.Finish():
                self._launched.pop(step.run.id, None)
                self.files(step.run.id).remove()

    def files(self, run: str) -> RunFiles:
        return RunFiles(self._runs / run)

    def _launch(self, job: Job, run: Run, target: Target | None) -> None:
        """Send a runner, unless one was sent just now."""
        now = self._clock.monotonic()
        if now - self._launched.get(run.id, float("-inf")) < LAUNCH_AGAIN:
            return
        self._launched[run.id] = now
        files = self.files(run.id)
        if not files.is_prepared:
            if job.cron is None or target is None:
                return
            try:
                with self._sealing():
                    files.prepare(self._document(target, job.cron, run, files.directory))
            except HomeportError as e:
                self._fail(job, run, e.sentence)
                return
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
        return commands.run_document(spec, self.layout, self._marks(run.id), cron, directory)

    def _marks(self, name: str) -> tuple[tuple[str, str], ...]:
        return ((process.OWNER, str(self.layout.data)), (process.INSTANCE, name))

    def _fail(self, job: Job, run: Run, why: str) -> None:
        """A run that no process can be made for. None was: its files were not written."""
        now = self._clock.now()
        step = plan.finish(job, run, Outcome(RunState.FAILED, why, now), now)
        with self.lock, self._store.transaction(ACTOR) as tx:
            record.finish(tx, step, ())
        self._launched.pop(run.id, None)
        self.files(run.id).remove()

    # What is left over

    def _sweep(self, active: set[InstanceName]) -> None:
        """End and remove what the state does not know: runs of an app that was destroyed, files of ended ones."""
        left = []
        for name in run_names(self._runs):
            if name in active:
                continue
            files = self.files(name)
            if files.runner() is not None:
                files.ask_to_end(RunState.STOPPED)
                continue
            process.kill_marked(str(self.layout.data), name)
            left.append(name)
        # The log daemon masks by the run's document what is left in the pipe.
        self._leave([self.layout.fifo(name) for name in left])
        for name in left:
            self.files(name).remove()
            self._launched.pop(name, None)
        now = self._clock.monotonic()
        if now - self._cleaned_at >= CLEAN_EVERY:
            self._cleaned_at = now
            self.clean()

    def clean(self) -> None:
        """Forget all but the newest :data:`KEEP` runs of each job, and their logs."""
        with self.lock, self._store.transaction(ACTOR) as tx:
            state.prune(tx, KEEP)
        self._remove_logs()

    def _remove_logs(self) -> None:
        """Logs of runs that the state does not have."""
        try:
            names = os.listdir(self.layout.logs)
        except FileNotFoundError:
            return
        ours = [(name, match[1]) for name in names if (match := _LOG.fullmatch(name))]
        if ours:
            known = state.ids(self._store)
            for name, run in ours:
                if run not in known:
                    (self.layout.logs / name).unlink(missing_ok=True)
