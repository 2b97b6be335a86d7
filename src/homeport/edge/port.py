"""The way in, as the rooms above see it. Implementations: HAProxy here, and a fake for tests."""

from dataclasses import dataclass
from typing import Protocol

from homeport.edge.model import EdgeState, ServerStatus
from homeport.kernel.ids import ServiceName


@dataclass(frozen=True, slots=True)
class Applied:
    """How a state was put in force: "none" (already so), "runtime" or "reload"."""

    method: str
    seconds: float


class Edge(Protocol):
    def apply(self, state: EdgeState) -> Applied:
        """Put ``state`` in force without dropping a request, on disk first, then read it back.

        Idempotent. Errors: ``edge.unreachable`` (retry), ``edge.config_invalid``, ``edge.bad_mode``
        (both before anything changes), ``edge.drift``
        (what runs is not what was asked, after a second try).
        """
        ...

    def observe(self) -> tuple[ServerStatus, ...]:
        """Every server of every service, as HAProxy reports it now. Raises ``edge.unreachable``."""
        ...

    def sessions(self, service: ServiceName, server: str) -> int:
        """Requests and tunnels a server has in hand over all workers, draining ones too.

        0 for a server that is not known.
        """
        ...
