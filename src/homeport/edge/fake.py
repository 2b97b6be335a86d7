"""An edge in memory, for the tests of the rooms above. It passes the same contract suite."""

from dataclasses import replace
from pathlib import Path

from homeport.edge import commands, modes
from homeport.edge.commands import Layout
from homeport.edge.errors import BAD_MODE, CONFIG_INVALID, UNREACHABLE
from homeport.edge.model import Counted, Counts, EdgeState, ServerStatus
from homeport.edge.port import Applied
from homeport.edge.render import digest
from homeport.kernel.ids import ServiceName

_LAYOUT = Layout(Path("/edge"))


class FakeEdge:
    """Every server is up and idle unless a test says otherwise. ``history`` is every state applied."""

    def __init__(self) -> None:
        self.state: EdgeState | None = None
        self.history: list[EdgeState] = []
        self.reachable = True
        self.down: set[str] = set()
        """Servers whose health checks fail."""
        self.in_hand: dict[str, int] = {}
        """Server to requests that it has in hand."""
        self.unanswered: dict[str, int] = {}
        """Server to those of them of which no answer has come."""
        self.counted: dict[str, tuple[int, int]] = {}
        """Server to requests and errors since :attr:`worker` began."""
        self.worker = 1
        self.asked: set[ServiceName] = set()
        """Services that a request wants in to; one that is not asleep is not told."""

    def apply(self, state: EdgeState) -> Applied:
        found = commands.problems(state)
        if found:
            raise CONFIG_INVALID.error("cannot put the routes and servers in force", details=found)
        bad = modes.all_problems(state)
        if bad:
            raise BAD_MODE.error("cannot put the modes in force", details=bad)
        before = self.state
        self.state = state
        self._reach()
        self.history.append(state)
        if before is None or digest(before, _LAYOUT) != digest(state, _LAYOUT):
            return Applied("reload", 0.0)
        return Applied("none" if _sorted(before) == _sorted(state) else "runtime", 0.0)

    def observe(self) -> tuple[ServerStatus, ...]:
        self._reach()
        return tuple(
            ServerStatus(
                service=service.name,
                name=server.name,
                port=server.port,
                weight=server.weight,
                up=server.name not in self.down,
                sessions=self.in_hand.get(server.name, 0),
                check="L7STS/500" if server.name in self.down else "L7OK/200",
            )
            for service in (self.state.services if self.state else ())
            for server in service.servers
        )

    def sessions(self, service: ServiceName, server: str) -> int:
        self._reach()
        return self.in_hand.get(server, 0)

    def counts(self) -> Counts:
        return Counts(
            self.worker,
            tuple(
                Counted(s.service, s.name, *self.counted.get(s.name, (0, 0)), s.sessions)
                for s in self.observe()
            ),
        )

    def waiting(self, service: ServiceName, server: str) -> int:
        self._reach()
        return self.unanswered.get(server, 0)

    def wanted(self) -> frozenset[ServiceName]:
        self._reach()
        asked, self.asked = self.asked, set()
        asleep = {service.name for service in (self.state.services if self.state else ()) if service.asleep}
        return frozenset(asked & asleep)

    def _reach(self) -> None:
        if not self.reachable:
            raise UNREACHABLE.error("cannot reach HAProxy: the fake was told so")


def _sorted(state: EdgeState) -> EdgeState:
    services = tuple(
        replace(
            s,
            servers=tuple(
                replace(x, follow=s.follows(x)) for x in sorted(s.servers, key=lambda server: server.name)
            ),
        )
        for s in sorted(state.services, key=lambda x: x.name)
    )
    routes = tuple(sorted(state.routes, key=lambda r: (r.host, r.prefix)))
    return replace(state, services=services, routes=routes, modes=modes.effective(state))
