"""Stand-ins for the ports, for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FakeStatus:
    name: str
    running: bool
    pid: int | None
    ended: str = ""


@dataclass(slots=True)
class FakeServices:
    """Services that run as soon as they are asked to; ``calls`` tells what was asked, in order."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    specs: dict[str, dict[str, object]] = field(default_factory=dict)
    pids: dict[str, int | None] = field(default_factory=dict)
    _next: int = 1000

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: str,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: str = "TERM",
        grace: float = 30.0,
        rank: int = 0,
        takes_over: bool = False,
    ) -> None:
        self.calls.append(("start", name))
        self.specs[name] = {
            "argv": tuple(argv),
            "directory": directory,
            "user": user,
            "environment": dict(environment or {}),
            "stop_signal": stop_signal,
            "grace": grace,
            "rank": rank,
            "takes_over": takes_over,
        }
        if self.pids.get(name) is None:
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        self._next += 1
        self.pids[name] = self._next

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))
        self.specs.pop(name, None)
        self.pids.pop(name, None)

    def restart(self, name: str) -> None:
        self.calls.append(("restart", name))
        self._spawn(name)

    def replace(self, name: str) -> None:
        self.calls.append(("replace", name))
        self._spawn(name)

    def status(self, name: str) -> FakeStatus | None:
        if name not in self.specs:
            return None
        pid = self.pids.get(name)
        return FakeStatus(name, pid is not None, pid)

    def log_tail(self, name: str, lines: int = 30) -> tuple[str, ...]:
        return ()


@dataclass(slots=True)
class FakeSecrets:
    values: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def get(self, app: str, environment: str, name: str) -> str | None:
        return self.values.get((app, environment, name))

    def set(self, app: str, environment: str, name: str, value: str) -> None:
        self.values[app, environment, name] = value

    def remove(self, app: str, environment: str, name: str) -> None:
        self.values.pop((app, environment, name), None)
