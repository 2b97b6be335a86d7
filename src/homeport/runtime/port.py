"""Where instances run. Implementations: supervisor here, containers later, and a fake for tests."""

from collections.abc import Callable, Iterator
from typing import Protocol

from homeport.kernel.ids import InstanceName
from homeport.runtime.model import InstanceSpec, InstanceStatus


class Runtime(Protocol):
    """All calls are idempotent and may be made again after a crash at any point.

    Every call raises ``runtime.unreachable`` (retry) when the supervisor does not answer.
    """

    def check(self, spec: InstanceSpec) -> None:
        """Raise when this machine cannot run it as asked, before anything starts.

        Errors: ``runtime.unknown_user``, ``runtime.cannot_switch_user``, ``runtime.limit_unsupported``.
        """
        ...

    def start(self, spec: InstanceSpec) -> None:
        """Start an instance and have it come back after a reboot; nothing when it is there already.

        Returns when the process was spawned, not when it is ready.
        """
        ...

    def stop(self, names: tuple[InstanceName, ...]) -> None:
        """End instances, together: SIGTERM to each whole process group, SIGKILL after its ``stop_grace``.

        On return nothing of them runs and they do not come back; their logs stay.
        """
        ...

    def restart(self, name: InstanceName) -> None:
        """Start an instance that is STOPPED again."""
        ...

    def observe(self) -> tuple[InstanceStatus, ...]:
        """Every instance of this data directory, orphaned ones included, by name."""
        ...

    def owns_listener(self, name: InstanceName, port: int) -> bool:
        """Whether the process that listens on ``port`` belongs to the instance, not to a stranger."""
        ...

    def log_tail(self, name: InstanceName, lines: int = 50) -> tuple[str, ...]:
        """Its last output, oldest first, without time stamps; () when there is none."""
        ...

    def forget_logs(self, name: InstanceName) -> None:
        """Remove the logs of an instance that is gone."""
        ...

    def reseal(self, box_reseal: Callable[[str], str]) -> int:
        """Put ``box_reseal(token)`` in the place of every sealed value that is kept for instances.

        For a change of keys; ``box_reseal`` takes what it gave before as well. Returns how many instances
        have any. A value that it raises WrongKey for stays: nothing can open it. What runs is not touched.
        """
        ...


class LogReader(Protocol):
    """Reads instances' logs. A line is (time in ISO 8601 UTC, instance, text)."""

    def names(self, prefix: str = "") -> tuple[InstanceName, ...]:
        """Instances whose name begins with ``prefix`` and that have a log, gone ones included."""
        ...

    def read(
        self, names: tuple[InstanceName, ...], *, since: str | None, limit: int
    ) -> list[tuple[str, InstanceName, str]]:
        """The newest ``limit`` lines of the named instances, oldest first, from time ``since`` on."""
        ...

    def follow(self, prefix: str) -> Iterator[tuple[str, InstanceName, str] | None]:
        """New lines of all instances whose name begins with ``prefix``; None when there is none just now."""
        ...
