"""The way in, as the rooms above see it. Implementations: HAProxy here, and a fake for tests."""

from dataclasses import dataclass
from typing import Protocol

from homeport.edge.model import Counts, EdgeState, ServerStatus
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

    def counts(self) -> Counts:
        """What every server did since the current worker began. Raises ``edge.unreachable``."""
        ...

    def waiting(self, service: ServiceName, server: str) -> int:
        """Requests at a server of which no answer has come yet, over all workers; no downloads, event
        streams or WebSockets. 0 for a server that is not known. Dear: it looks at every connection.
        """
        ...

    def wanted(self) -> frozenset[ServiceName]:
        """Services that are asleep and have a request held now, or had one since this was asked last.

        Cheap. Raises ``edge.unreachable``.
        """
        ...
