"""What the room needs of others: programs kept running, and a place for secrets."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class ServiceStatus(Protocol):
    """How a long-running program is."""

    @property
    def name(self) -> str: ...

    @property
    def running(self) -> bool:
        """Whether its process lives, supervised or left over by a supervisor that was killed."""
        ...

    @property
    def pid(self) -> int | None: ...

    @property
    def ended(self) -> str:
        """How it last ended, such as "status 1"; "" when it was asked to or never did."""
        ...


class Services(Protocol):
    """Programs that run as long as Homeport does, one by name: database servers, poolers, caches.

    A name is made of a-z, 0-9, hyphens and dots, such as ``postgresql.main``. All calls are idempotent and
    may be made again after a crash at any point. At boot services start before apps; at the end they stop
    after them. They outlive the control plane, and a supervisor that was killed: the next one keeps them.
    """

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
        """Run ``argv``, now and after each reboot; nothing when it runs so already.

        Where it runs with other words, those are kept for its next start. ``user``: whom it becomes, when we
        are root. ``grace``: seconds from ``stop_signal`` (a name without SIG) to SIGKILL. ``rank`` 0 to 7: lower
        starts earlier and stops later. ``takes_over``: a second process of ``argv`` takes the sockets and
        clients of the first, which then ends. Returns when it was spawned, not when it is ready.
        """
        ...

    def stop(self, name: str) -> None:
        """End it for good: on return nothing of it runs and it does not come back. Its log stays."""
        ...

    def restart(self, name: str) -> None:
        """End it and start it again; start it when it is down."""
        ...

    def replace(self, name: str) -> None:
        """Start a second process that takes over from the first; for those with ``takes_over`` only."""
        ...

    def status(self, name: str) -> ServiceStatus | None:
        """None: there is no such service."""
        ...

    def log_tail(self, name: str, lines: int = 30) -> tuple[str, ...]:
        """Its last output, oldest first, without times; () when there is none."""
        ...


class Secrets(Protocol):
    """Where passwords are kept, by the app's own variable names (``DATABASE_URL``)."""

    def get(self, app: str, environment: str, name: str) -> str | None:
        """The newest value; None when it was never set or was removed."""
        ...

    def set(self, app: str, environment: str, name: str, value: str) -> None: ...

    def remove(self, app: str, environment: str, name: str) -> None:
        """Nothing when there is none."""
        ...
