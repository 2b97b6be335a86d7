"""Keeps what runs as the state says, once a second: retires, restarts, heals, cleans up."""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from homeport.edge.model import EdgeState
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId, service_name
from homeport.rollout import events, state, upkeep
from homeport.rollout.advance import stop_instances
from homeport.rollout.liveness import Liveness
from homeport.rollout.model import Change, ChangeKind, Instance, Release, ReleaseState
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import Settings
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.system import files

log = logging.getLogger(__name__)

TICK = 1.0
CLEAN_EVERY = 30.0
ARCHIVE_AGE = 3600.0
"""Seconds an uploaded archive that no change names is kept."""
CRASH_WINDOW = 600.0
STILL_LOOPING = 60.0
"""Seconds without a crash after which a loop counts as over."""
CRASH_LOOP = 3
"""Crashes within the window that make a loop."""


class Keeper:
    """The background loop of the control plane. While a change moves an environment it keeps off it."""

    def __init__(
        self,
        parts: Parts,
        rollouts: Rollouts,
        settings: Settings,
        in_use: Callable[[], frozenset[tuple[AppName, ReleaseId]]] = frozenset,
        sweep: Callable[[], None] = lambda: None,
        previews: Callable[[], None] = lambda: None,
        databases: Callable[[], None] = lambda: None,
    ) -> None:
        """``in_use``: releases that something else than an instance runs in. ``sweep``: ends what is left
        of one-off commands. ``previews``: removes those whose time is over, has idle ones sleep.
        ``databases``: begins what of databases is due."""
        self._parts = parts
        self._rollouts = rollouts
        self._settings = settings
        self._in_use = in_use
        self._sweep = sweep
        self._previews = previews
        self._databases = databases
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="stop")
        self._stopping: set[InstanceName] = set()
        self._unowned: frozenset[InstanceName] = frozenset()
        """What runs and is in no state, as seen a round ago: it may have been on its way out."""
        self._crashes = _CrashBook()
        self._backoff: dict[object, tuple[float, float]] = {}
        self._cleaned_at = float("-inf")
        self._looked_at: datetime | None = None
        self._wanted: EdgeState | None = None
        """Of the edge, a round ago."""
        self._liveness = Liveness(parts)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._closing.wait(TICK):
            self.tick()

    def tick(self) -> None:
        """One round. Each part fails for itself: what cannot be done now is tried in the next round."""
        for part in (
            self._instances,
            self._workers,
            self._modes,
            self._sweep,
            self._previews,
            self._databases,
            self._edge,
            self._clean,
        ):
            if self._closing.is_set():
                return
            try:
                part()
            except HomeportError as e:
                if not e.type.retry:
                    log.error("keeper: %s", e.sentence)
            except Exception:
                log.exception("keeper")

    # Instances

    def _instances(self) -> None:
        parts = self._parts
        began = parts.clock.now()
        # In this order: an instance is recorded before it is started and forgotten after it was stopped.
        statuses = {s.name: s for s in parts.runtime.observe()}
        instances = {i.name: i for i in parts.state.instances()}
        # A migration moves no instance, and may take long.
        moving = {(c.app, c.environment) for c in parts.state.running() if c.kind is not ChangeKind.MIGRATE}
        # What wakes a preview, or has it sleep, starts and stops its instances itself.
        asleep = {(e.app, e.name) for e in parts.state.environments() if e.asleep}
        moving |= asleep
        now = parts.clock.now()
        self._note_crashes(instances, statuses, asleep, now)
        self._looked_at = began
        unowned = frozenset(n for n in statuses if n not in instances and n not in self._stopping)
        before, self._unowned = self._unowned, unowned
        if strangers := tuple(sorted(unowned & before)):
            self._stop_unowned(strangers)
        for instance in instances.values():
            if (instance.app, instance.environment) in moving or instance.name in self._stopping:
                continue
            if upkeep.is_due(instance, now, self._sessions):
                self._stop(instance)
            elif instance.retire_at is None:
                self._keep_up(instance, statuses.get(instance.name))
        for environment in parts.state.environments():
            key = (environment.app, environment.name)
            if key in moving or environment.serving is None:
                continue
            mine = [i for i in instances.values() if (i.app, i.environment) == key]
            spec = parts.spec(environment.app, environment.name, environment.serving)
            reason = upkeep.heal_reason(environment, spec, mine, statuses)
            if reason is not None and self._may_try(("heal", key), 5.0):
                log.warning("healing %s %s: %s", environment.app, environment.name, reason)
                self._rollouts.restart(
                    environment.app, environment.name, actor="homeport", kind=ChangeKind.HEAL
                )

    def _sessions(self, instance: Instance) -> int:
        service = service_name(instance.app, instance.environment, instance.process)
        return self._parts.edge.sessions(service, instance.name)

    def _stop(self, instance: Instance) -> None:
        self._stopping.add(instance.name)

        def stop() -> None:
            try:
                if self._take(instance):
                    stop_instances(self._parts, (instance.name,), reason="retired", change=None)
            except HomeportError as e:
                log.warning("stopping %s: %s", instance.name, e.sentence)
            except Exception:
                log.exception("stopping %s", instance.name)
            finally:
                self._stopping.discard(instance.name)

        self._pool.submit(stop)

    def _take(self, instance: Instance) -> bool:
        """Mark it as going; False when a change is there by now, or has put it back into rotation."""
        parts, name = self._parts, instance.name
        with parts.state.store.transaction("homeport") as tx:
            stored = {i.name: i for i in parts.state.instances(instance.app, instance.environment)}
            now = stored.get(name)
            moving = parts.state.running(instance.app, instance.environment)
            if any(c.kind is not ChangeKind.MIGRATE for c in moving):
                return False
            if now is None or now.weight or now.retire_at is None:
                return False
            state.update_instance(tx, name, retire_at=text_time(tx.now), drain_until=text_time(tx.now))
            return True

    def _stop_unowned(self, names: tuple[InstanceName, ...]) -> None:
        self._parts.runtime.stop(names)
        with self._parts.state.store.transaction("homeport") as tx:
            for name in names:
                app, environment, *_ = name.split(".")
                tx.append(events.StrangerStopped(app=app, environment=environment, instance=name))

    def _keep_up(self, instance: Instance, status: InstanceStatus | None) -> None:
        """Start again what should run and does not even try to."""
        if self._liveness.is_replacing(instance.name):
            return
        if status is None and self._may_try(("start", instance.name), 2.0):
            config = self._parts.state.change(instance.change).config
            self._parts.start(instance, config)
        elif (
            status is not None
            and status.state is InstanceState.STOPPED
            and self._may_try(("restart", instance.name), 10.0)
        ):
            self._parts.runtime.restart(instance.name)

    def _may_try(self, key: object, pause: float) -> bool:
        """Whether to try something again: after ``pause`` seconds, then twice that, up to five minutes."""
        now = self._parts.clock.monotonic()
        next_at, wait = self._backoff.get(key, (0.0, pause))
        if now < next_at:
            return False
        if now - next_at > 600:
            wait = pause
        self._backoff[key] = (now + wait, min(wait * 2, 300.0))
        return True

    def _note_crashes(
        self,
        instances: dict[InstanceName, Instance],
        statuses: dict[InstanceName, InstanceStatus],
        asleep: set[tuple[AppName, EnvironmentName]],
        now: datetime,
    ) -> None:
        """Tell of processes that ended by themselves. Who ends one marks it before, and the marks were read after
        ``statuses``."""
        for name, status in statuses.items():
            instance = instances.get(name)
            if instance is None or name in self._stopping or not self._crashes.crashed(status):
                continue
            # A preview that slept between two looks comes back with other processes.
            began_anew = self._looked_at is not None and instance.created_at > self._looked_at
            ended = instance.drain_until is not None and instance.drain_until <= now
            ended = ended or (instance.app, instance.environment) in asleep
            if ended or began_anew or self._liveness.has_replaced(name):
                continue
            times = self._crashes.count(name, now)
            if times > CRASH_LOOP and times % 20:
                continue
            lines = list(self._parts.runtime.log_tail(name, 50))
            with self._parts.state.store.transaction("homeport") as tx:
                tx.append(
                    events.InstanceCrashed(
                        app=instance.app,
                        environment=instance.environment,
                        instance=name,
                        exit=status.exit or "unknown",
                        times=times,
                        looping=times >= CRASH_LOOP,
                        lines=lines,
                    )
                )
        self._crashes.forget(set(statuses))
        self._parts.looping = self._crashes.looping(now)

    def _workers(self) -> None:
        self._liveness.look()

    # Edge

    def _modes(self) -> None:
        self._settings.end_modes(self._parts.clock.now())

    def _edge(self) -> None:
        parts = self._parts
        if any(
            parts.state.instances(c.app, c.environment) for c in parts.state.running() if not self._builds(c)
        ):
            # A rollout puts its own state in force, step by step, and tells of it.
            return
        if not parts.traffic.acquire(blocking=False):
            return
        try:
            wanted = parts.wanted_edge()
            applied = parts.edge.apply(wanted)
        finally:
            parts.traffic.release()
        before, self._wanted = self._wanted, wanted
        # What became wanted since the last look, its author was about to put in force.
        if applied.method != "none" and wanted == before:
            log.warning("the edge was set right by %s", applied.method)
            with parts.state.store.transaction("homeport") as tx:
                tx.append(
                    events.EdgeHealed(
                        method=applied.method, reason="it did something else than the state says"
                    )
                )

    def _builds(self, change: Change) -> bool:
        release = self._parts.state.release(change.app, change.goal.release)
        return release.state is ReleaseState.BUILDING

    # Files

    def _clean(self) -> None:
        now = self._parts.clock.monotonic()
        if now - self._cleaned_at < CLEAN_EVERY:
            return
        self._cleaned_at = now
        self.clean()

    def clean(self) -> None:
        """Remove releases beyond the newest ones, and files that nothing in the state owns."""
        parts = self._parts
        moving = {c.app for c in parts.state.running()}
        for app in parts.state.apps():
            if app in moving:
                continue
            releases = parts.state.releases(app)
            histories = {e.name: parts.state.deployments(app, e.name) for e in parts.state.environments(app)}
            in_use = frozenset(release for a, release in self._in_use() if a == app)
            for release in upkeep.prunable(
                releases, parts.state.environments(app), parts.state.instances(app), histories, in_use
            ):
                self._prune(release)
        self._remove_unowned_files()
        for name in upkeep.forgettable(parts.logs.names(), parts.state.instances()):
            parts.runtime.forget_logs(name)

    def _prune(self, release: Release) -> None:
        parts = self._parts
        with parts.state.store.transaction("homeport") as tx:
            environments = parts.state.environments(release.app)
            if any(state.is_moving(tx, e.app, e.name) for e in environments):
                return
            state.update_release(tx, release.app, release.id, state=ReleaseState.PRUNED.value)
            tx.append(events.ReleasePruned(app=release.app, release=release.id, freed=release.size or 0))
        files.remove_tree(parts.own_directory(release.app, release.id), within=parts.data_dir)

    def _remove_unowned_files(self) -> None:
        parts = self._parts
        with_files = (ReleaseState.READY, ReleaseState.BUILDING)
        root = parts.data_dir / "releases"
        running = parts.state.running()
        for directory in root.iterdir() if root.is_dir() else ():
            app = AppName(directory.name)
            known = {r.id for r in parts.state.releases(app) if r.state in with_files}
            if not directory.is_dir() or any(c.app == app for c in running):
                continue
            for entry in directory.iterdir():
                # "r5.staging" is what release r5 runs in there.
                if entry.is_dir() and entry.name.partition(".")[0] not in known:
                    files.remove_tree(entry, within=parts.data_dir)
        wanted = {c.archive for c in running}
        archives = parts.data_dir / "archives"
        for entry in archives.iterdir() if archives.is_dir() else ():
            age = parts.clock.now().timestamp() - entry.stat().st_mtime
            if entry.name.split(".")[0] not in wanted and age > ARCHIVE_AGE:
                entry.unlink(missing_ok=True)


class _CrashBook:
    """Notices from one look to the next that a process ended."""

    def __init__(self) -> None:
        self._pids: dict[InstanceName, int] = {}
        self._times: dict[InstanceName, deque[float]] = defaultdict(deque)

    def crashed(self, status: InstanceStatus) -> bool:
        before = self._pids.get(status.name)
        if status.state in (InstanceState.STARTING, InstanceState.RUNNING) and status.pid is not None:
            self._pids[status.name] = status.pid
            return before is not None and before != status.pid
        if status.state in (InstanceState.BACKOFF, InstanceState.STOPPED):
            self._pids.pop(status.name, None)
            return before is not None
        return False

    def count(self, name: InstanceName, now: datetime) -> int:
        times = self._times[name]
        times.append(now.timestamp())
        while times[0] < now.timestamp() - CRASH_WINDOW:
            times.popleft()
        return len(times)

    def looping(self, now: datetime) -> dict[InstanceName, int]:
        """Those that crashed three times or more within the window, the last time not long ago."""
        since = now.timestamp() - STILL_LOOPING
        return {
            name: len(times)
            for name, times in self._times.items()
            if len(times) >= CRASH_LOOP and times[-1] > since
        }

    def forget(self, present: set[InstanceName]) -> None:
        for book in (self._pids, self._times):
            for name in set(book) - present:
                del book[name]
