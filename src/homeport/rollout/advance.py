"""Carries changes out: look, plan, apply one step, record it; called again until it says "done"."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from homeport.database.errors import NOT_ANSWERING
from homeport.database.migrations.errors import UNREACHABLE
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import ChangeId, InstanceName, ProcessName, release_number, service_name
from homeport.rollout import build as building
from homeport.rollout import config as configuration
from homeport.rollout import desired, events, hooks, plan, readiness, state, trials
from homeport.rollout.data.events import UndoFailed
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.judge import Judge
from homeport.rollout.model import (
    Change,
    ChangeKind,
    Failure,
    Instance,
    ReleaseState,
    Verdict,
)
from homeport.rollout.parts import Parts
from homeport.rollout.promotion import finish as finish_trial
from homeport.runtime import ports
from homeport.runtime.model import InstanceState, InstanceStatus

log = logging.getLogger(__name__)

INTERNAL = declare(
    "rollout.internal", Kind.FAILED, "Homeport itself failed; the log of the control plane says how."
)

WATCH_SLACK = 15.0
"""Seconds after a watch in which what it found can be acted on."""
GIVE_UP_AFTER = 60.0
"""Seconds that a change waits for a part that does not answer before it is taken back."""


class Advance:
    """``advance(change)`` of :class:`homeport.journal.durable.DurableChanges`."""

    def __init__(self, parts: Parts, judge: Judge, migrations: Migrations) -> None:
        self._parts = parts
        self._judge = judge
        self._migrations = migrations
        self._trouble_since: dict[ChangeId, float] = {}
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="probe")
        self.closing = threading.Event()

    def __call__(self, id: ChangeId) -> bool:
        """Apply one step; True when the change is finished. Never raises."""
        self._park_when_closing()
        try:
            done = self._advance(id)
            self._trouble_since.pop(id, None)
            return done
        except HomeportError as e:
            error = e
        except Exception as e:
            log.exception("change %s", id)
            error = INTERNAL.error(
                f"cannot go on with the change: {type(e).__name__}: {e}",
                hint="homeport doctor; see logs/serve.log",
            )
        return self._trouble(id, error)

    def _park_when_closing(self) -> None:
        """The process is about to end: leave the change as it is, the next one resumes it."""
        while self.closing.is_set():
            self._parts.clock.sleep(1.0)

    def _trouble(self, id: ChangeId, error: HomeportError) -> bool:
        """A step failed: try again for a while when that may help, else take the change back."""
        self._park_when_closing()
        now = self._parts.clock.monotonic()
        since = self._trouble_since.setdefault(id, now)
        if error.type.retry and now - since < GIVE_UP_AFTER:
            self._parts.clock.sleep(0.25)
            return False
        try:
            change = self._parts.state.change(id)
            if change.failure is None and not self._parts.state.is_promoted(id):
                self._fail(change, error)
                self._trouble_since.pop(id, None)
                return False
            # It cannot be finished or taken back now. What is left over is the keeper's to mend.
            log.error("change %s: %s", id, error.sentence)
            if now - since < GIVE_UP_AFTER:
                self._parts.clock.sleep(1.0)
                return False
            self._finish(change)
            return True
        except Exception:
            log.exception("change %s", id)
            self._parts.clock.sleep(1.0)
            return False

    def _advance(self, id: ChangeId) -> bool:
        change = self._parts.state.change(id)
        if change.done:
            return True
        observed = self._observe(change)
        if change.cancelled and not observed.failed and not observed.promoted:
            self._fail(
                change,
                building.CANCELLED.error("cannot go on: it was cancelled, or taken over by another command"),
            )
            return False
        name = plan.NameInstance(f"{change.app}.{change.environment}.{change.goal.release}")
        step = plan.plan(change.goal, change.id, observed, name)[0]
        log.info("change %s: %s", id, step)
        match step:
            case plan.BuildRelease():
                self._build(change)
            case plan.StartInstance(process, n):
                self._start(change, process, n)
            case plan.AwaitReady(names):
                self._await_ready(change, names)
            case plan.Shift():
                self._shift(change, step)
            case plan.Bake():
                self._judge.bake(change, self.closing)
            case plan.DrainAndStop(names):
                if self._drain(change, names):
                    stop_instances(self._parts, names, reason=f"by {_by(change)}", change=change.id)
            case plan.RunHook(hook):
                self._run_hook(change, hook)
            case plan.Migrate(database):
                self._migrate(change, database)
            case plan.UndoMigration(database):
                self._undo_migration(change, database)
            case plan.Promote():
                self._promote(change)
            case plan.StopInstances(names):
                stop_instances(self._parts, names, reason=f"by {_by(change)}", change=change.id)
            case plan.Finish():
                self._finish(change)
                return True
        return False

    # Looking

    def _observe(self, change: Change) -> plan.Observed:
        parts = self._parts
        environment = parts.state.environment(change.app, change.environment)
        release = parts.state.release(change.app, change.goal.release)
        trial = trials.find(parts.state, change.id) if change.goal.steps else None
        statuses = {s.name: s for s in parts.runtime.observe()}
        instances = parts.state.instances(change.app, change.environment)
        candidates = [
            i for i in instances if i.port and i.ready and i.weight == 0 and i.release == change.goal.release
        ]
        answers = dict(
            zip(
                (i.name for i in candidates),
                self._pool.map(lambda i: self._answers(i), candidates),
                strict=True,
            )
        )
        seen = tuple(
            s
            for i in instances
            if (s := as_seen(i, change, statuses.get(i.name), answers.get(i.name, True))) is not None
        )
        return plan.Observed(
            built=release.state is ReleaseState.READY,
            instances=seen,
            routing=environment.routing,
            serving=environment.serving,
            promoted=parts.state.is_promoted(change.id),
            failed=change.failure is not None,
            hooks=frozenset(change.hooks),
            passed=trial.step if trial is not None else 0,
        )

    def _answers(self, instance: Instance) -> bool:
        """Whether an instance out of rotation would still do: one probe, just now."""
        spec = self._parts.spec(instance.app, instance.environment, instance.release)
        process = spec.process(instance.process)
        return process is not None and readiness.probe(instance, process.health) is None

    # Applying

    def _fail(self, change: Change, error: HomeportError) -> None:
        mask = self._parts.masker().mask_text
        failure = Failure(
            error.code, mask(error.sentence), mask(error.hint), tuple(mask(line) for line in error.details)
        )
        with self._parts.state.store.transaction(change.actor) as tx:
            state.update_change(tx, change.id, failure=failure.to_json())
            tx.append(
                events.ChangeFailed(
                    app=change.app,
                    environment=change.environment,
                    change=change.id,
                    code=error.code,
                    reason=failure.sentence,
                    lines=list(failure.lines[-50:]),
                )
            )

    def _build(self, change: Change) -> None:
        parts = self._parts
        release = parts.state.release(change.app, change.goal.release)
        spec = desired.spec_of(release.spec).for_environment(change.environment)
        tag: dict[str, str] = {"app": change.app, "environment": change.environment, "change": change.id}
        with parts.state.store.transaction(change.actor) as tx:
            tx.append(
                events.BuildStarted(
                    release=release.id, commit=release.commit.id, dirty=release.commit.dirty, **tag
                )
            )
        started = parts.clock.monotonic()
        try:
            work = building.Work(
                source=parts.archive(change.archive or ""),
                target=parts.release_directory(change.app, release.id),
                log_path=parts.build_log(change.app, release.id),
                settings=spec.build,
                hooks=tuple(h for name in ("before-build", "after-build") if (h := spec.hook(name))),
                environment={
                    **parts.build_environment,
                    **configuration.from_spec(spec),
                    **dict(change.config.variables),
                    **parts.vault.values(change.app, change.environment, dict(change.config.secrets)),
                    "HOMEPORT_APP": change.app,
                    "HOMEPORT_ENVIRONMENT": change.environment,
                    "HOMEPORT_RELEASE": release.id,
                    "HOMEPORT_CHANGE": change.id,
                },
                masker=parts.masker(),
                data_dir=parts.data_dir,
                name=f"{change.app}.build.{release.id}",
                cancelled=lambda: parts.state.change(change.id).cancelled or self.closing.is_set(),
                clock=parts.clock,
            )
            size = building.build(work)
        except HomeportError as e:
            if self.closing.is_set():
                raise
            with parts.state.store.transaction(change.actor) as tx:
                state.update_release(tx, change.app, release.id, state=ReleaseState.FAILED.value)
                tx.append(
                    events.BuildFailed(release=release.id, reason=parts.masker().mask_text(e.sentence), **tag)
                )
            raise
        seconds = parts.clock.monotonic() - started
        with parts.state.store.transaction(change.actor) as tx:
            state.update_release(
                tx,
                change.app,
                release.id,
                state=ReleaseState.READY.value,
                size=size,
                build_seconds=seconds,
            )
            tx.append(events.BuildFinished(release=release.id, seconds=seconds, size=size, **tag))

    def _start(self, change: Change, process_name: ProcessName, n: int) -> None:
        parts = self._parts
        release = parts.state.release(change.app, change.goal.release)
        spec = desired.spec_of(release.spec).for_environment(change.environment)
        routed = spec.is_routed(process_name)
        parts.prepare_run_directory(change.app, change.environment, release.id)
        known = {
            (i.process, i.n): i
            for i in parts.state.instances(change.app, change.environment)
            if i.release == release.id
        }
        instance = known.get((process_name, n))
        if instance is None:
            with parts.ports:
                port = (
                    ports.choose(parts.state.ports(), parts.is_port_free, parts.port_start)
                    if routed
                    else None
                )
                with parts.state.store.transaction(change.actor) as tx:
                    instance = Instance(
                        app=change.app,
                        environment=change.environment,
                        release=release.id,
                        process=process_name,
                        n=n,
                        port=port,
                        config=change.config.digest,
                        change=change.id,
                        weight=0,
                        ready=False,
                        created_at=tx.now,
                    )
                    state.insert_instance(tx, instance)
                    tx.append(
                        events.InstanceStarted(
                            app=change.app,
                            environment=change.environment,
                            change=change.id,
                            instance=instance.name,
                            port=port,
                        )
                    )
        parts.start(instance, change.config)

    def _run_hook(self, change: Change, name: str) -> None:
        """Run a hook once; only one that runs before the traffic moves may stop the rollout."""
        parts = self._parts
        hook = parts.spec(change.app, change.environment, change.goal.release).hook(name)
        try:
            if hook is not None:
                hooks.run(parts, change, hook, lambda: self._why_to_stop(change, name))
        except HomeportError:
            if self.closing.is_set() or name in (*change.goal.first, *change.goal.before):
                raise
        self._mark(change, name)

    def _migrate(self, change: Change, database: str) -> None:
        mark = plan.migrated(database)
        try:
            self._migrations.run(change, database, lambda: self._why_to_stop(change, mark))
        except HomeportError as e:
            if self.closing.is_set() or e.type in (UNREACHABLE, NOT_ANSWERING):
                raise
            if self._parts.state.change(change.id).cancelled:
                return
            # It tried for as long as it may: the next step takes the change back.
            self._fail(change, e)
            return
        self._mark(change, mark)

    def _undo_migration(self, change: Change, database: str) -> None:
        mark = plan.undone(database)
        try:
            self._migrations.undo(change, database, lambda: hooks.CLOSING if self.closing.is_set() else None)
        except HomeportError as e:
            if self.closing.is_set():
                raise
            with self._parts.state.store.transaction(change.actor) as tx:
                tx.append(
                    UndoFailed(
                        app=change.app,
                        environment=change.environment,
                        change=change.id,
                        name=database,
                        code=e.code,
                        reason=self._parts.masker().mask_text(e.sentence),
                    )
                )
        self._mark(change, mark)

    def _mark(self, change: Change, done: str) -> None:
        with self._parts.state.store.transaction(change.actor) as tx:
            state.update_change(tx, change.id, hooks=[*change.hooks, done])

    def _why_to_stop(self, change: Change, hook: str) -> str | None:
        """A hook on the way back runs to its end: what it tidies up has happened."""
        if self.closing.is_set():
            return hooks.CLOSING
        is_cancelled = hook not in change.goal.back and self._parts.state.change(change.id).cancelled
        return "cancelled" if is_cancelled else None

    def _await_ready(self, change: Change, names: tuple[InstanceName, ...]) -> None:
        parts = self._parts
        stored = {i.name: i for i in parts.state.instances(change.app, change.environment)}
        spec = parts.spec(change.app, change.environment, change.goal.release)
        watch = readiness.Watch(
            parts, lambda: parts.state.change(change.id).cancelled or self.closing.is_set()
        )
        waits = []
        for name in names:
            instance = stored[name]
            process = spec.process(instance.process)
            assert process is not None
            waits.append(self._pool.submit(watch.wait, instance, process))
        problems = [p for wait in waits if (p := wait.result()) is not None]
        if self.closing.is_set():
            raise building.CANCELLED.error("cannot wait: the control plane is stopping")
        if problems:
            problem = min(problems, key=lambda e: e.type is building.CANCELLED)
            if set(change.goal.before) - set(change.hooks) and problem.type is not building.CANCELLED:
                problem.hint += (
                    "; before-traffic had not run: what instances need to start is for before-start"
                )
            raise problem

    def _drain(self, change: Change, names: tuple[InstanceName, ...]) -> bool:
        """Wait until instances without weight are idle, for as long as the drain takes; False when it was
        cancelled meanwhile: then they are still wanted."""
        parts = self._parts
        spec = parts.spec(change.app, change.environment, change.goal.release)
        until = parts.clock.monotonic() + spec.rollout.drain
        routed = [
            i for i in parts.state.instances(change.app, change.environment) if i.name in names and i.port
        ]
        while parts.clock.monotonic() < until:
            if self.closing.is_set() or parts.state.change(change.id).cancelled:
                return False
            busy = (
                parts.edge.sessions(service_name(i.app, i.environment, i.process), i.name) for i in routed
            )
            if not any(busy):
                return True
            parts.clock.sleep(0.1)
        return True

    def _shift(self, change: Change, step: plan.Shift) -> None:
        parts = self._parts
        spec = parts.spec(change.app, change.environment, change.goal.release)
        stored = {i.name: i for i in parts.state.instances(change.app, change.environment)}
        with parts.traffic:
            with parts.state.store.transaction(change.actor) as tx:
                drain_until = tx.now + timedelta(seconds=spec.rollout.drain)
                # What is watched can be gone back from at once, to the end of the watch.
                warm = max(spec.rollout.keep_warm, spec.rollout.watch_for + WATCH_SLACK)
                retire_at = tx.now + timedelta(seconds=warm if step.warm else 0)
                for name, weight in step.weights:
                    instance = stored.get(name)
                    if instance is None:
                        continue
                    if weight:
                        state.update_instance(tx, name, weight=weight, retire_at=None, drain_until=None)
                    elif instance.weight or instance.retire_at is None:
                        state.update_instance(
                            tx,
                            name,
                            weight=0,
                            retire_at=text_time(retire_at),
                            drain_until=text_time(max(drain_until, retire_at)),
                        )
                state.update_environment(tx, change.app, change.environment, routing=step.routing)
                if any(weight for _, weight in step.weights):
                    state.wake(tx, change.app, change.environment)
            applied = parts.publish()
        with parts.state.store.transaction(change.actor) as tx:
            tx.append(
                events.TrafficShifted(
                    app=change.app,
                    environment=change.environment,
                    change=change.id,
                    weights=dict(step.weights),
                    method=applied.method,
                    milliseconds=round(applied.seconds * 1000, 1),
                )
            )

    def _promote(self, change: Change) -> None:
        parts = self._parts
        parts.publish()
        before = parts.state.environment(change.app, change.environment).serving
        stored = parts.state.instances(change.app, change.environment)
        spec = parts.spec(change.app, change.environment, change.goal.release)
        drain = timedelta(seconds=spec.rollout.drain)
        promotion = self._judge.promoted(change, before)
        with parts.state.store.transaction(change.actor) as tx:
            state.update_environment(
                tx,
                change.app,
                change.environment,
                serving=change.goal.release,
                routing=change.goal.release,
            )
            if change.kind is ChangeKind.SCALE:
                scale = dict(parts.state.environment(change.app, change.environment).scale)
                scale |= {w.process: w.count for w in change.goal.wants if w.process in change.goal.scaled}
                state.update_environment(tx, change.app, change.environment, scale=scale)
            if (
                change.kind is ChangeKind.ROLLBACK
                and before is not None
                and release_number(before) > release_number(change.goal.release)
            ):
                state.mark_left_as_bad(tx, change.app, change.environment, before)
            watched_until = tx.now + timedelta(seconds=spec.rollout.watch_for + WATCH_SLACK)
            for instance in stored:
                # Only the release before stays warm; those before it have had their time. More or other
                # instances of what serves leave it warm.
                left = instance.release not in (before, change.goal.release)
                if instance.retire_at is None or before == change.goal.release:
                    continue
                if left:
                    until = min(instance.drain_until or tx.now, tx.now + drain)
                    state.update_instance(
                        tx, instance.name, retire_at=text_time(tx.now), drain_until=text_time(until)
                    )
                elif promotion.watches and instance.release == before and instance.retire_at < watched_until:
                    # Replaced batch by batch, the first ones went long ago.
                    state.update_instance(
                        tx,
                        instance.name,
                        retire_at=text_time(watched_until),
                        drain_until=text_time(max(watched_until, instance.drain_until or watched_until)),
                    )
            state.insert_deployment(tx, change)
            promotion.write(tx)
            if before != change.goal.release:
                tx.append(
                    events.ReleasePromoted(
                        app=change.app,
                        environment=change.environment,
                        change=change.id,
                        release=change.goal.release,
                        before=before,
                    )
                )

    def _forget_what_never_started(self, change: Change) -> None:
        """No planner sees an instance that was recorded and could not be started."""
        parts = self._parts
        known = {s.name for s in parts.runtime.observe()}
        names = tuple(
            i.name
            for i in parts.state.instances(change.app, change.environment)
            if i.change == change.id and not i.ready and i.name not in known
        )
        if names:
            stop_instances(parts, names, reason="it could not be started", change=change.id)

    def _finish(self, change: Change) -> None:
        parts = self._parts
        parts.publish()
        promoted = parts.state.is_promoted(change.id)
        migrated = change.kind is ChangeKind.MIGRATE and change.failure is None
        if not promoted:
            self._forget_what_never_started(change)
        if change.kind is ChangeKind.MIGRATE and not migrated:
            self._migrations.failed(change)
        built = change.kind is ChangeKind.BUILD and change.failure is None
        verdict = Verdict.PROMOTED if promoted else Verdict.ROLLED_BACK
        if built or migrated:
            verdict = Verdict.BUILT if built else Verdict.MIGRATED
        environments = parts.state.environments(change.app)
        # It may have been taken away meanwhile.
        serving = next((e.serving for e in environments if e.name == change.environment), None)
        with parts.state.store.transaction(change.actor) as tx:
            if not promoted:
                finish_trial(tx, parts, change)
            seconds = (tx.now - change.started_at).total_seconds()
            state.update_change(
                tx,
                change.id,
                state="done",
                finished_at=text_time(tx.now),
                result={
                    "verdict": verdict.value,
                    "release": change.goal.release,
                    "serving": serving,
                    "seconds": round(seconds, 3),
                },
            )
            tx.append(
                events.ChangeFinished(
                    app=change.app,
                    environment=change.environment,
                    change=change.id,
                    what=change.kind.value,
                    verdict=verdict.value,
                    release=change.goal.release,
                    serving=serving,
                    seconds=round(seconds, 3),
                )
            )


def _by(change: Change) -> str:
    return f"{change.kind.value} {change.id}"


def as_seen(
    instance: Instance, change: Change, status: InstanceStatus | None, answers: bool
) -> plan.Seen | None:
    """How the planner sees an instance; None for one that was recorded but never started, however far that came."""
    mine = instance.change == change.id
    if mine and (status is None or not status.known):
        return None
    current = status.state if status else InstanceState.STOPPED
    alive = current in (InstanceState.STARTING, InstanceState.RUNNING, InstanceState.ORPHANED)
    lost = current in (InstanceState.ORPHANED, InstanceState.STOPPING) or (
        current is InstanceState.STOPPED and not mine
    )
    return plan.Seen(
        name=instance.name,
        release=instance.release,
        process=instance.process,
        n=instance.n,
        routed=instance.port is not None,
        config=instance.config,
        mine=mine,
        ready=instance.ready and alive and answers,
        usable=not lost,
        weight=instance.weight,
        retiring=instance.retire_at is not None,
    )


def stop_instances(
    parts: Parts, names: tuple[InstanceName, ...], *, reason: str, change: ChangeId | None
) -> None:
    """Stop instances, take them out of the state and off the edge. They must have no weight."""
    with parts.state.store.transaction("homeport") as tx:
        for name in names:
            # From here on no planner counts on them, even when this is cut off.
            state.update_instance(tx, name, retire_at=text_time(tx.now), drain_until=text_time(tx.now))
    stored = {i.name: i for i in parts.state.instances()}
    parts.runtime.stop(names)
    with parts.state.store.transaction("homeport") as tx:
        for name in names:
            state.delete_instance(tx, name)
            instance = stored.get(name)
            if instance is not None:
                tx.append(
                    events.InstanceStopped(
                        app=instance.app,
                        environment=instance.environment,
                        change=change,
                        instance=name,
                        reason=reason,
                    )
                )
    parts.publish()
