"""A runtime in memory, for tests of the rooms above; it passes the suite in tests/contract/runtime."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC

from homeport.kernel.clock import Clock
from homeport.kernel.ids import InstanceName
from homeport.runtime.documents import resealed
from homeport.runtime.errors import (
    CANNOT_SWITCH_USER,
    LIMIT_UNSUPPORTED,
    START_FAILED,
    UNKNOWN_USER,
    UNREACHABLE,
)
from homeport.runtime.loglines import Line, merge, normal_time
from homeport.runtime.model import InstanceSpec, InstanceState, InstanceStatus


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an instance does once started. A non-empty ``exit`` ends it at once: it is in BACKOFF."""

    exit: str = ""
    output: tuple[str, ...] = ()
    listens: bool = True
    """Whether it opens its port."""


def behave_well(spec: InstanceSpec) -> Behaviour:
    return Behaviour()


@dataclass(slots=True)
class _Instance:
    spec: InstanceSpec
    status: InstanceStatus
    behaviour: Behaviour
    since: float


@dataclass(slots=True)
class FakeRuntime:
    """Script it by ``behave`` (asked at each start), :meth:`end`, :meth:`orphan` and the fields."""

    clock: Clock
    behave: Callable[[InstanceSpec], Behaviour] = behave_well
    users: frozenset[str] = frozenset({"root", "nobody"})
    is_root: bool = True
    binds_limits: bool = True
    reachable: bool = True
    instances: dict[InstanceName, _Instance] = field(default_factory=dict)
    logs: dict[InstanceName, list[Line]] = field(default_factory=dict)
    calls: list[tuple[str, InstanceName]] = field(default_factory=list)
    """Each start, restart and stop of an instance that had an effect, in order."""
    _pid: int = 1000

    def _reach(self) -> None:
        if not self.reachable:
            raise UNREACHABLE.error(
                "cannot reach the supervisor: it does not run", hint='"homeport up" starts it'
            )

    # Script

    def end(self, name: InstanceName, exit: str = "status 1", *, for_good: bool = False) -> None:
        """Its process ends; it is started again only by :meth:`recover` or ``restart``."""
        state = InstanceState.STOPPED if for_good else InstanceState.BACKOFF
        self._become(name, state, exit)

    def recover(self, name: InstanceName) -> None:
        """It is started again after its pause."""
        self._launch(self.instances[name].spec)

    def orphan(self, name: InstanceName) -> None:
        """The supervisor was killed and another one runs."""
        self._become(name, InstanceState.ORPHANED, "")

    def print(self, name: InstanceName, text: str) -> None:
        stamp = self.clock.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.logs.setdefault(name, []).append((stamp, name, text))

    def _become(self, name: InstanceName, state: InstanceState, exit: str) -> None:
        instance = self.instances[name]
        alive = state in (InstanceState.RUNNING, InstanceState.STARTING, InstanceState.ORPHANED)
        pid = instance.status.pid if alive else None
        instance.status = replace(instance.status, state=state, pid=pid, exit=exit)
        instance.since = self.clock.monotonic()

    def _launch(self, spec: InstanceSpec) -> None:
        behaviour = self.behave(spec)
        self._pid += 1
        state = InstanceState.BACKOFF if behaviour.exit else InstanceState.RUNNING
        pid = None if behaviour.exit else self._pid
        status = InstanceStatus(spec.name, state, pid, 0.0, behaviour.exit)
        self.instances[spec.name] = _Instance(spec, status, behaviour, self.clock.monotonic())
        for text in behaviour.output:
            self.print(spec.name, text)

    # The port

    def check(self, spec: InstanceSpec) -> None:
        if spec.user is not None and spec.user not in self.users:
            raise UNKNOWN_USER.error(f'cannot run as user "{spec.user}": this machine has no such user')
        if spec.user is not None and not self.is_root:
            raise CANNOT_SWITCH_USER.error(f'cannot run as user "{spec.user}": only root can switch users')
        if (spec.memory is not None or spec.cpu is not None) and not self.binds_limits:
            raise LIMIT_UNSUPPORTED.error(f"cannot bind the limits of {spec.name}: no cgroups here")

    def start(self, spec: InstanceSpec) -> None:
        self._reach()
        instance = self.instances.get(spec.name)
        if instance is None or instance.status.state is InstanceState.STOPPED:
            self.calls.append(("start", spec.name))
            self._launch(spec)

    def stop(self, names: tuple[InstanceName, ...]) -> None:
        self._reach()
        for name in names:
            if self.instances.pop(name, None) is not None:
                self.calls.append(("stop", name))

    def restart(self, name: InstanceName) -> None:
        self._reach()
        instance = self.instances.get(name)
        if instance is None:
            raise START_FAILED.error(f"cannot restart {name}: it is not there")
        if instance.status.state is InstanceState.STOPPED:
            self.calls.append(("restart", name))
            self._launch(instance.spec)

    def observe(self) -> tuple[InstanceStatus, ...]:
        self._reach()
        now = self.clock.monotonic()
        return tuple(
            replace(instance.status, since=now - instance.since)
            for _, instance in sorted(self.instances.items())
        )

    def owns_listener(self, name: InstanceName, port: int) -> bool:
        self._reach()
        instance = self.instances.get(name)
        return (
            instance is not None
            and instance.status.pid is not None
            and instance.behaviour.listens
            and instance.spec.port == port
        )

    def log_tail(self, name: InstanceName, lines: int = 50) -> tuple[str, ...]:
        return tuple(text for _, _, text in self.logs.get(name, [])[-lines:])

    def forget_logs(self, name: InstanceName) -> None:
        self.logs.pop(name, None)

    def reseal(self, box_reseal: Callable[[str], str]) -> int:
        holders = [instance for instance in self.instances.values() if instance.spec.secrets]
        for instance in holders:
            instance.spec = replace(
                instance.spec,
                secrets=tuple((name, resealed(token, box_reseal)) for name, token in instance.spec.secrets),
            )
        return len(holders)


@dataclass(slots=True)
class FakeLogReader:
    """Reads what a :class:`FakeRuntime` printed."""

    runtime: FakeRuntime

    def names(self, prefix: str = "") -> tuple[InstanceName, ...]:
        return tuple(sorted(name for name in self.runtime.logs if name.startswith(prefix)))

    def read(self, names: tuple[InstanceName, ...], *, since: str | None, limit: int) -> list[Line]:
        start = normal_time(since) if since else ""
        logs = (self.runtime.logs.get(name, []) for name in names)
        return merge(([line for line in log if line[0] >= start] for log in logs), limit)

    def follow(self, prefix: str) -> Iterator[Line | None]:
        read = {name: len(log) for name, log in self.runtime.logs.items()}
        while True:
            logs = [
                log[read.get(name, 0) :] for name, log in self.runtime.logs.items() if name.startswith(prefix)
            ]
            read = {name: len(log) for name, log in self.runtime.logs.items()}
            lines = merge(logs, 1 << 62)
            yield from lines
            if not lines:
                yield None
