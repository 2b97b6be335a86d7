"""Whether workers live: they have no port to probe, so a command or a file that they touch tells."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from homeport.kernel.ids import InstanceName
from homeport.rollout import desired, events
from homeport.rollout.model import Instance
from homeport.rollout.parts import Parts
from homeport.runtime import commands
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.spec.model import Heartbeat, Process
from homeport.spec.model import Liveness as Settings
from homeport.system import files
from homeport.system import process as system

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
REPLACED_WITHIN = 15.0
"""Seconds after a restart within which the end of the process before may be noticed."""


class Liveness:
    """Looks at the workers now and then; restarts one that does not live. Not thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="liveness")
        self._asked: dict[InstanceName, Future[str | None]] = {}
        self._next: dict[InstanceName, float] = {}
        self._failures: dict[InstanceName, int] = {}
        self._replaced: dict[InstanceName, float] = {}
        self._replacing: set[InstanceName] = set()

    def look(self) -> None:
        """One round: takes answers that came in, asks those whose time it is. Does not wait."""
        parts = self._parts
        workers = [i for i in parts.state.instances() if i.port is None and i.retire_at is None and i.ready]
        present = {i.name for i in workers}
        for book in (self._next, self._failures):
            for name in [n for n in book if n not in present]:
                del book[name]
        now = parts.clock.monotonic()
        statuses: dict[InstanceName, InstanceStatus] | None = None
        for instance in workers:
            if instance.name in self._replacing:
                continue
            process = parts.spec(instance.app, instance.environment, instance.release).process(
                instance.process
            )
            if process is None:
                continue
            if process.liveness is not None:
                self._ask(instance, process, process.liveness, now)
            if process.heartbeat is None:
                continue
            if statuses is None:
                statuses = {s.name: s for s in parts.runtime.observe()}
            if self._is_late(instance, process.heartbeat, statuses.get(instance.name)):
                self._restart(instance, f"its heartbeat is older than {process.heartbeat.max_age:g} s")

    def has_replaced(self, name: InstanceName) -> bool:
        """Whether it was restarted from here just now: then its end was no crash."""
        return (
            name in self._replacing
            or self._parts.clock.monotonic() - self._replaced.get(name, float("-inf")) < REPLACED_WITHIN
        )

    def is_replacing(self, name: InstanceName) -> bool:
        """Whether it is being stopped and started from here."""
        return name in self._replacing

    def _ask(self, instance: Instance, process: Process, settings: Settings, now: float) -> None:
        name = instance.name
        answer = self._asked.get(name)
        if answer is not None:
            if not answer.done():
                return
            del self._asked[name]
            problem = answer.result()
            if problem == UNKNOWN:
                return
            self._failures[name] = self._failures.get(name, 0) + 1 if problem else 0
            if problem and self._failures[name] >= settings.unhealthy_after:
                self._failures[name] = 0
                self._restart(
                    instance, f"its liveness command {problem}, {settings.unhealthy_after} times in a row"
                )
            return
        if now >= self._next.get(name, 0.0):
            self._next[name] = now + settings.interval
            self._asked[name] = self._pool.submit(self._run, instance, process, settings)

    def _run(self, instance: Instance, process: Process, settings: Settings) -> str | None:
        """What is wrong, or None."""
        parts = self._parts
        config = parts.state.change(instance.change).config
        spec = parts.instance_spec(instance, config)
        try:
            status, reason = system.stream(
                ["/bin/sh", "-c", settings.command],
                timeout=settings.timeout,
                cwd=Path(spec.directory),
                env={
                    **commands.BASE_ENVIRONMENT,
                    **dict(spec.environment),
                    **parts.vault.values(instance.app, instance.environment, dict(config.secrets)),
                    system.OWNER: str(parts.data_dir),
                    system.INSTANCE: f"{instance.name}.liveness",
                },
                on_output=lambda _: None,
                user=process.user,
            )
        except Exception as e:
            # That it could not be asked says nothing about the worker.
            log.warning("liveness of %s could not be asked: %s", instance.name, type(e).__name__)
            return UNKNOWN
        if reason == "timeout":
            return f"took longer than {settings.timeout:g} s"
        return f"ended with status {status}" if status else None

    def _is_late(self, instance: Instance, heartbeat: Heartbeat, status: InstanceStatus | None) -> bool:
        parts = self._parts
        directory = parts.run_directory(instance.app, instance.environment, instance.release)
        path = Path(desired.heartbeat_file(str(directory), heartbeat.file, instance.n))
        if status is None or status.state is not InstanceState.RUNNING:
            return False
        touched = files.modified_at(path)
        age = parts.clock.now().timestamp() - touched if touched is not None else status.since
        # A process that was just started has its whole time for the first touch.
        return min(age, status.since) > heartbeat.max_age

    def _restart(self, instance: Instance, why: str) -> None:
        parts = self._parts
        lines = list(parts.runtime.log_tail(instance.name, 20))
        with parts.state.store.transaction("homeport") as tx:
            tx.append(
                events.WorkerUnhealthy(
                    app=instance.app,
                    environment=instance.environment,
                    instance=instance.name,
                    reason=why,
                    lines=lines,
                )
            )
        log.warning("restarting %s: %s", instance.name, why)
        self._replacing.add(instance.name)
        self._pool.submit(self._replace, instance)

    def _replace(self, instance: Instance) -> None:
        try:
            parts = self._parts
            parts.runtime.stop((instance.name,))
            config = parts.state.change(instance.change).config
            if any(i.name == instance.name and i.retire_at is None for i in parts.state.instances()):
                parts.start(instance, config)
        except Exception:
            log.exception("restarting %s", instance.name)
        finally:
            self._replaced[instance.name] = self._parts.clock.monotonic()
            self._replacing.discard(instance.name)
