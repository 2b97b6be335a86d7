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
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from homeport.journal.store import Store
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.kernel.text import did_you_mean
from homeport.runtime import logs
from homeport.runtime.jobs import errors, events, plan, record, state
from homeport.runtime.jobs.model import SCHEDULE, JobStatus, Outcome, Run, RunState, Target, schedule_key
from homeport.runtime.jobs.record import key_of
from homeport.runtime.jobs.rounds import Rounds, schedule_of
from homeport.runtime.jobs.state import Key
from homeport.spec.model import Cron

log = logging.getLogger(__name__)

PRESSING = 0.2
"""Seconds between two rounds while short runs wait for each other."""


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
        sealing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``sealing`` is held from asking a target for sealed secrets until they are on disk."""
        self._store = store
        self._clock = clock
        self._targets = targets
        self._rounds = Rounds(data_dir, store, clock, targets, python, sealing)
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
            until_next = 1.005 - self._clock.now().microsecond / 1e6
            self._wake.wait(min(PRESSING, until_next) if self._rounds.is_pressing else until_next)
            self._wake.clear()

    def tick(self) -> None:
        """One round. May be cut short anywhere: the next one goes on from what it finds."""
        self._rounds.tick()

    def clean(self) -> None:
        self._rounds.clean()

    # What people ask for

    def run_now(self, app: AppName, environment: EnvironmentName, name: str, actor: str) -> InstanceName:
        """Have a job run once more, paused or not, after what runs of it now; returns the run's id.

        Raises ``runtime.cron_not_serving`` or ``runtime.unknown_cron``.
        """
        cron = self._cron(app, environment, name)
        key: Key = (app, environment, name)
        with self._rounds.lock:
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
        with self._rounds.lock:
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
        with self._rounds.lock:
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
        with self._rounds.lock:
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
            self._rounds.files(found.id).ask_to_end(RunState.STOPPED)

    def list(self, app: AppName, environment: EnvironmentName) -> tuple[JobStatus, ...]:
        """The jobs of the release that serves, by name."""
        target = self._target(app, environment)
        if target is None:
            return ()
        rows = state.jobs(self._store)
        latest = state.latest(self._store, app, environment)
        now = self._clock.now()
        found = []
        for cron in sorted(target.crons, key=lambda c: c.name):
            row = rows.get((app, environment, cron.name))
            paused_by = row.paused_by if row else None
            schedule = schedule_of(cron.schedule, cron.timezone)
            found.append(
                JobStatus(
                    name=cron.name,
                    schedule=cron.schedule,
                    timezone=cron.timezone,
                    command=cron.command,
                    release=target.release,
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
        return tuple(f"{at} {text}" for at, _, text in logs.newest(self._rounds.layout, found.id, limit))

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
