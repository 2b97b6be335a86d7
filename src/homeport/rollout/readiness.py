"""Waiting for an instance until it may have traffic."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from homeport.journal.model import Event
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import ProcessName
from homeport.kernel.units import format_duration
from homeport.rollout import build as building
from homeport.rollout import desired, events, rules, state
from homeport.rollout.model import Instance
from homeport.rollout.parts import Parts
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.spec.model import Health, Heartbeat, Process
from homeport.system import files, net

NOT_READY = declare(
    "rollout.not_ready",
    Kind.ROLLED_BACK,
    "A new instance did not pass its health check within start_timeout.",
)
CRASHED = declare(
    "rollout.crashed", Kind.ROLLED_BACK, "A new instance ended, again and again, before it was ready."
)
WRONG_LISTENER = declare(
    "rollout.wrong_listener", Kind.ROLLED_BACK, "Another program listens on the port of a new instance."
)

REFUSED = "connection refused"
"""The problem of a probe of a port where nothing listens."""
PROBE_EVERY = 0.1
"""Seconds between readiness probes: more often than the checks of an instance that serves."""
WORKER_LIVES = 0.5
"""Seconds a process without a port must run to count as ready."""
LOOK_AGAIN = 10.0
"""Seconds a resumed change looks at an instance at least (or ``start_timeout``, when that is less)."""
TELL_AFTER = 3.0
"""Seconds of the same answer after which it is told what an instance is waited for."""
CRASHES = 2
"""Exits before it was ready after which an instance is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWaiting(Event):
    """A new instance is not ready yet, and why; told again when its answer changes."""

    kind: ClassVar[str] = "instance.waiting"
    instance: str
    answer: str
    at_most: float
    """Seconds from its start until it is given up."""


def probe(instance: Instance, health: Health) -> str | None:
    """Ask an instance's health path once; None when it is well, else what it answered."""
    return problem_of(ask(instance, health), health.path)


def ask(instance: Instance, health: Health) -> net.ProbeResult:
    assert instance.port is not None
    return net.probe_http("127.0.0.1", instance.port, health.path, timeout=health.timeout)


def problem_of(result: net.ProbeResult, path: str) -> str | None:
    """What is wrong with an answer; None when it is 2xx."""
    if result.status is None:
        return result.problem
    if 200 <= result.status < 300:
        return None
    if result.location:
        return f"{path} answered {result.status} to {result.location}; it must answer 2xx itself"
    return f"{path} answered {result.status}"


def waits_for(result: net.ProbeResult, path: str, port: int) -> str:
    """The same while it goes on, for who watches: "GET /health answers 500"."""
    if result.status is None:
        if result.problem == REFUSED:
            return f"nothing listens on $PORT ({port}) yet"
        return f"GET {path}: {result.problem}"
    if result.location:
        return f"GET {path} answers {result.status} to {result.location}, not 2xx"
    return f"GET {path} answers {result.status}"


class Impatience:
    """Says when it is time to tell what one process's new instances are waited for.

    Once an answer has stood for ``TELL_AFTER`` seconds, and again when another one has; what one instance
    of the process told, the next one does not repeat.
    """

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}
        self._told: dict[ProcessName, str] = {}
        self._lock = threading.Lock()

    def is_due(self, instance: str, process: ProcessName, answer: str, now: float) -> bool:
        with self._lock:
            before, since = self._since.get(instance, ("", now))
            if answer != before:
                self._since[instance] = (answer, now)
                return False
            if now - since < TELL_AFTER or self._told.get(process) == answer:
                return False
            self._told[process] = answer
            return True


class Watch:
    """Waits for several instances at once; when one fails, the others need not wait any longer."""

    def __init__(self, parts: Parts, cancelled: Callable[[], bool]) -> None:
        self._parts = parts
        self._cancelled = cancelled
        self._failed = False
        self._impatience = Impatience()
        self._observed_at = -1.0
        self._statuses: dict[str, InstanceStatus] = {}

    def wait(self, instance: Instance, process: Process) -> HomeportError | None:
        """None once the instance is ready and recorded so, else why it is not."""
        problem = self._wait(instance, process)
        if problem is not None:
            self._failed = True
            self._tell_of_its_build(instance, problem)
            if not problem.details:
                problem.details = self._parts.runtime.log_tail(instance.name, 50)
        return problem

    def _tell_of_its_build(self, instance: Instance, problem: HomeportError) -> None:
        """A release from before a recovery into another directory may not be able to start here."""
        if problem.type not in (NOT_READY, CRASHED):
            return
        release = self._parts.state.release(instance.app, instance.release)
        if rules.built_elsewhere(release.digest):
            problem.hint += (
                f"; {release.id} was built in the data directory of before a recovery: where it names that still, "
                f"homeport deploy {release.commit.id[:10]} builds it anew"
            )

    def _wait(self, instance: Instance, process: Process) -> HomeportError | None:
        clock = self._parts.clock
        crashes = _Crashes()
        lives = _Lives()
        passes = 0
        answer = "it did not answer yet"
        # Time in which nobody looked does not count: the control plane may have been away.
        age = (clock.now() - instance.created_at).total_seconds()
        deadline = clock.monotonic() + max(
            process.start_timeout - age, min(process.start_timeout, LOOK_AGAIN)
        )
        while True:
            if self._cancelled() or self._failed:
                return building.CANCELLED.error(
                    "cannot go on waiting: it was cancelled, or taken over by another command"
                )
            began = clock.monotonic()
            status = self._status(instance)
            if crashes.note(status) >= CRASHES or (status and status.state is InstanceState.STOPPED):
                how = f" ({crashes.exit})" if crashes.exit else ""
                return CRASHED.error(
                    f"cannot start {instance.name}: its process ended{how} before it was ready",
                    hint="its last lines tell why; homeport logs shows more",
                )
            if instance.port is None:
                lived = lives.seconds(status, began)
                if process.heartbeat is None:
                    is_well = lived >= WORKER_LIVES
                else:
                    is_well = lived > 0 and self._has_touched(instance, process.heartbeat)
                    answer = f"it did not touch its heartbeat file {process.heartbeat.file}"
                if is_well:
                    self._ready(instance)
                    return None
            elif (
                problem := problem_of(result := ask(instance, process.health), process.health.path)
            ) is None:
                passes += 1
                if passes >= process.health.healthy_after:
                    if not self._parts.runtime.owns_listener(instance.name, instance.port):
                        return WRONG_LISTENER.error(
                            f"cannot use {instance.name}: another program listens on its port {instance.port}",
                            hint="does the app listen on $PORT? deploy again to get another port",
                        )
                    self._ready(instance)
                    return None
            else:
                passes = 0
                answer = problem
                self._tell(instance, process, result)
            if began > deadline and not passes:
                return NOT_READY.error(
                    f"cannot use {instance.name}: not ready within {format_duration(process.start_timeout)}, "
                    f"{answer}",
                    hint="does the app listen on $PORT? see its last lines"
                    if answer == REFUSED
                    else "see its last lines; start_timeout and health.path are in homeport.toml"
                    if instance.port is not None
                    else "it gets the file's path as HOMEPORT_HEARTBEAT; see its last lines",
                )
            clock.sleep(max(0.0, PROBE_EVERY - (clock.monotonic() - began)))

    def _has_touched(self, instance: Instance, heartbeat: Heartbeat) -> bool:
        """Whether a worker has shown that it lives since it was started."""
        parts = self._parts
        directory = parts.run_directory(instance.app, instance.environment, instance.release)
        path = desired.heartbeat_file(str(directory), heartbeat.file, instance.n)
        touched = files.modified_at(Path(path))
        return touched is not None and touched >= instance.created_at.timestamp()

    def _tell(self, instance: Instance, process: Process, result: net.ProbeResult) -> None:
        """Say what is waited for, when that is due."""
        assert instance.port is not None
        # The port differs from one instance to the next: what is compared is not what is told.
        same = problem_of(result, process.health.path) or ""
        if not self._impatience.is_due(instance.name, process.name, same, self._parts.clock.monotonic()):
            return
        with self._parts.state.store.transaction("homeport") as tx:
            tx.append(
                InstanceWaiting(
                    app=instance.app,
                    environment=instance.environment,
                    change=instance.change,
                    instance=instance.name,
                    # What an app redirects to may hold a secret.
                    answer=self._parts.masker().mask_text(
                        waits_for(result, process.health.path, instance.port)
                    ),
                    at_most=process.start_timeout,
                )
            )

    def _status(self, instance: Instance) -> InstanceStatus | None:
        now = self._parts.clock.monotonic()
        if now - self._observed_at > PROBE_EVERY / 2:
            self._observed_at = now
            self._statuses = {s.name: s for s in self._parts.runtime.observe()}
        return self._statuses.get(instance.name)

    def _ready(self, instance: Instance) -> None:
        with self._parts.state.store.transaction("homeport") as tx:
            state.update_instance(tx, instance.name, ready=True)
            tx.append(
                events.InstanceReady(
                    app=instance.app,
                    environment=instance.environment,
                    change=instance.change,
                    instance=instance.name,
                    seconds=round((tx.now - instance.created_at).total_seconds(), 3),
                )
            )


class _Crashes:
    """Counts how often an instance's process ended, from one look to the next."""

    def __init__(self) -> None:
        self.count = 0
        self.exit = ""
        self._pid: int | None = None
        self._down = False

    def note(self, status: InstanceStatus | None) -> int:
        if status is None:
            return self.count
        if status.state is InstanceState.BACKOFF and not self._down:
            self.count += 1
            self._down = True
        elif status.pid is not None:
            if self._pid is not None and status.pid != self._pid and not self._down:
                self.count += 1
            self._pid = status.pid
            self._down = False
        self.exit = status.exit or self.exit
        return self.count


class _Lives:
    """How long the same process is seen to live: the supervisor tells whole seconds only."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._since = 0.0

    def seconds(self, status: InstanceStatus | None, now: float) -> float:
        alive = status is not None and status.state in (InstanceState.STARTING, InstanceState.RUNNING)
        pid = status.pid if alive and status is not None else None
        if pid is None or pid != self._pid:
            self._pid, self._since = pid, now
        return now - self._since if pid is not None else 0.0
