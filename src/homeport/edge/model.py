"""What the edge is told to do, and what it is seen to do."""

from dataclasses import dataclass

from homeport.kernel.ids import ServiceName


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


@dataclass(frozen=True, slots=True)
class Service:
    """A routed process of an environment, over its releases: an HAProxy backend. Times in seconds."""

    name: ServiceName
    servers: tuple[Server, ...] = ()
    check_interval: float = 1.0
    check_timeout: float = 2.0
    unhealthy_after: int = 3
    response_timeout: float = 300.0


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
