"""What the edge is told to do, and what it is seen to do."""

from dataclasses import dataclass

from homeport.kernel.ids import ServiceName

SIDE, PIN = "side", "pin"
"""What ``Service.stick`` may be, besides ""."""


@dataclass(frozen=True, slots=True)
class Server:
    """One instance behind a service. ``weight`` 0 gets no new requests but keeps those it has."""

    name: str
    """The instance's name: unique over the edge; it goes to the access log."""
    port: int
    weight: int
    """0 to 256; the share of new requests is weight over the sum of weights."""
    health_path: str = "/"
    address: str = "127.0.0.1"
    follow: bool | None = None
    """Whether a visitor's cookie is followed to it, where its service has ``stick``; None: while it has
    a weight. With weight 0 only where ``stick`` is "pin"."""


@dataclass(frozen=True, slots=True)
class Service:
    """A routed process of an environment, over its releases: an HAProxy backend. Times in seconds."""

    name: ServiceName
    servers: tuple[Server, ...] = ()
    check_interval: float = 1.0
    check_timeout: float = 2.0
    unhealthy_after: int = 3
    response_timeout: float = 300.0
    stick: str = ""
    """"side": a visitor stays with the server that answered first, by a cookie, while that has a weight.
    "pin": also after that. "": no cookie. Beginning and ending it take a reload."""
    asleep: bool = False
    """Requests are held until it is not and has a server that is up; see ``Edge.wanted``. To be said while
    its servers are still there: those go once they have nothing in hand."""

    def follows(self, server: Server) -> bool:
        """Whether cookies are followed to one of its servers."""
        if not self.stick or server.follow is False:
            return False
        return server.weight > 0 or (self.stick == PIN and server.follow is True)


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for ``host`` ("*": any host without routes of its own) at ``prefix`` or below it."""

    host: str
    prefix: str
    service: ServiceName


@dataclass(frozen=True, slots=True)
class Mode:
    """A service that people have switched off, or to reading only.

    ``kind`` "maintenance": all get 503 but those from ``allow``. "read-only": methods other than GET,
    HEAD and OPTIONS get 503 but on paths at or below one of ``exempt``, and but those from ``allow``.
    """

    service: ServiceName
    kind: str
    message: str = ""
    allow: tuple[str, ...] = ()
    """Networks in CIDR notation."""
    exempt: tuple[str, ...] = ()
    retry_after: int = 120
    """Seconds, for ``Retry-After``."""
    page: str = ""
    """The app's own HTML page for maintenance; "" is Homeport's."""


@dataclass(frozen=True, slots=True)
class Bind:
    """An address and port the edge listens on."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class EdgeState:
    """All the edge should do. Order does not matter: rendering sorts."""

    http: Bind
    https: Bind | None
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    modes: tuple[Mode, ...] = ()
    """At most one of each kind for a service; maintenance wins."""
    drain_limit: float = 900.0
    """Seconds a replaced HAProxy worker may go on serving the connections it has."""
    hooks: str = ""
    """A unix socket that gets what any host is asked at ``/.homeport/`` and below; "": nobody does."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A server as HAProxy reports it."""

    service: ServiceName
    name: str
    port: int
    weight: int
    """The weight in force; 0 also while in maintenance."""
    up: bool
    """HAProxy's own health check has it up."""
    sessions: int
    """Requests and tunnels it serves just now, in the current worker."""
    check: str = ""
    """What the last check said, for people: "L7STS/500"."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one server did since the worker began that counted it. No figure ever falls within a worker."""

    service: ServiceName
    name: str
    requests: int
    """Requests that were answered here, or failed here. A WebSocket that was opened is none."""
    errors: int
    """Those of them that failed: an answer of status 5xx, a connection refused, no answer, none in time,
    one broken off. Also when HAProxy then asked another server, and the client saw nothing of it."""
    sessions: int
    """In hand just now; this one falls again."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Figures of another ``worker`` begin at zero, and so do those of a server that was taken away."""

    worker: int
    """Its process id."""
    servers: tuple[Counted, ...]
