"""Wire text as data: where the edge's files lie, its maps, its seal, and runtime commands."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport.edge import modes, pages
from homeport.edge.model import PIN, SIDE, EdgeState, Route, Server, Service
from homeport.kernel.ids import ServiceName

UNROUTED = "unrouted"
"""The backend of requests that no route takes; no service may have its name."""
HOOKS = "hooks"
"""The backend of what the control plane is told from outside; no service may have its name."""
ANY_HOST = "*"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the edge's files lie. ``user`` and ``group`` are what workers run as, "" for the starter's."""

    directory: Path
    user: str = ""
    group: str = ""

    @property
    def config(self) -> Path:
        return self.directory / "haproxy.cfg"

    @property
    def hosts(self) -> Path:
        """Map: a host with routes of its own → itself."""
        return self.directory / "hosts.map"

    @property
    def routes(self) -> Path:
        """Map: host and prefix, ended by "/" → service."""
        return self.directory / "routes.map"

    @property
    def health(self) -> Path:
        """Map: server → the path that its health check asks for."""
        return self.directory / "health.map"

    @property
    def pages(self) -> Path:
        return self.directory / "pages.map"

    @property
    def modes(self) -> Path:
        """Map: service → its mode; this and the next three are told of in :mod:`homeport.edge.modes`."""
        return self.directory / "modes.map"

    @property
    def mode_texts(self) -> Path:
        return self.directory / "mode-texts.map"

    @property
    def mode_exempt(self) -> Path:
        return self.directory / "mode-exempt.map"

    @property
    def mode_networks(self) -> Path:
        return self.directory / "mode-networks.map"

    @property
    def asleep(self) -> Path:
        """Map: service that is asleep → itself."""
        return self.directory / "asleep.map"

    @property
    def wanted(self) -> Path:
        """Map: service that is asleep and was asked → itself. HAProxy fills it; on disk it is empty."""
        return self.directory / "wanted.map"

    @property
    def pins(self) -> Path:
        """Map: server that cookies are followed to → itself."""
        return self.directory / "pins.map"

    @property
    def hold_program(self) -> Path:
        return self.directory / "hold.lua"

    @property
    def own_page_program(self) -> Path:
        return self.directory / "own-page.lua"

    @property
    def admin_socket(self) -> Path:
        return self.directory / "admin.sock"

    @property
    def pid_file(self) -> Path:
        return self.directory / "haproxy.pid"

    @property
    def certs(self) -> Path:
        return self.directory / "certs"

    @property
    def default_certificate(self) -> Path:
        """It sorts before every host name, and HAProxy's default is the first file of a directory."""
        return self.certs / "!default.pem"

    @property
    def access_log(self) -> Path:
        return self.directory / "access.log"

    def master_socket(self, pid: int) -> Path:
        return self.directory / f"m{pid}.sock"

    def page(self, status: int) -> Path:
        return self.directory / f"{status}.http"

    @property
    def mode_maps(self) -> tuple[Path, ...]:
        """In the order in which they are filled, so that a mode is switched on when all of it is there."""
        return (self.mode_networks, self.mode_exempt, self.mode_texts, self.asleep, self.modes)

    @property
    def maps(self) -> tuple[Path, ...]:
        return (
            self.hosts,
            self.routes,
            self.health,
            self.pins,
            self.pages,
            self.wanted,
            *self.mode_maps,
        )


_SEAL = "# end of homeport edge file, sha256 "


def seal(text: str) -> str:
    """``text`` (ended by a newline) with a last line by which truncation and edits show."""
    return f"{text}{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n"


def is_sealed(text: str) -> bool:
    body, mark, rest = text.rpartition(_SEAL)
    return bool(mark) and rest == hashlib.sha256(body.encode()).hexdigest() + "\n"


def route_key(host: str, prefix: str) -> str:
    """A key that a looked-up ``host + path + "/"`` begins with only when the path is at or below prefix."""
    return f"{host.lower()}{prefix.rstrip('/')}/"


def host_entries(routes: Iterable[Route]) -> dict[str, str]:
    return {r.host.lower(): r.host.lower() for r in routes if r.host != ANY_HOST}


def route_entries(routes: Iterable[Route]) -> dict[str, str]:
    return {route_key(r.host, r.prefix): str(r.service) for r in routes}


def health_entries(services: Iterable[Service]) -> dict[str, str]:
    return {s.name: s.health_path for service in services for s in service.servers}


def pin_entries(services: Iterable[Service]) -> dict[str, str]:
    return {s.name: s.name for service in services for s in service.servers if service.follows(s)}


def mode_entries(state: EdgeState) -> tuple[Mapping[str, str], ...]:
    """What :attr:`Layout.mode_maps` hold, in their order."""
    made = modes.entries(state)
    return (made.networks, made.exempt, made.texts, made.asleep, made.modes)


def render_map(entries: Mapping[str, str]) -> str:
    """A map file, sealed."""
    return seal("".join(f"{key} {entries[key]}\n" for key in sorted(entries)))


def map_files(state: EdgeState, layout: Layout) -> dict[Path, str]:
    return {
        layout.health: render_map(health_entries(state.services)),
        layout.pins: render_map(pin_entries(state.services)),
        layout.pages: render_map(pages.entries()),
        layout.wanted: render_map({}),
        layout.routes: render_map(route_entries(state.routes)),
        layout.hosts: render_map(host_entries(state.routes)),
        **{
            path: render_map(entries)
            for path, entries in zip(layout.mode_maps, mode_entries(state), strict=True)
        },
    }


def milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def endpoint(address: str, port: int) -> str:
    """An address and port as HAProxy reads and prints them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def server_options(service: Service, server: Server) -> str:
    """All that makes a server, said in full: a server added at run time inherits no defaults.

    Idle connections are dropped soon, well before an app's own keep-alive limit (Node's and uvicorn's
    is 5 s), so that a request with a body does not meet one that the app just closed.
    """
    return (
        f"{endpoint(server.address, server.port)} weight {server.weight} pool-purge-delay 1s "
        f"check inter {milliseconds(service.check_interval)} fall {service.unhealthy_after} rise 1"
    )


def add_server(service: Service, server: Server) -> tuple[str, ...]:
    """Add a server that is at once checked and open. It counts as up until its first checks fail."""
    name = f"{service.name}/{server.name}"
    return (
        f"add server {name} {server_options(service, server)}",
        f"enable health {name}",
        f"enable server {name}",
    )


def set_weight(service: ServiceName, server: str, weight: int) -> str:
    return f"set server {service}/{server} weight {weight}"


def reopen_server(service: ServiceName, server: str) -> tuple[str, ...]:
    """Take a server out of maintenance."""
    return (f"enable health {service}/{server}", f"set server {service}/{server} state ready")


def close_server(service: ServiceName, server: str) -> str:
    """Maintenance: no new requests and no checks; what it has goes on."""
    return f"set server {service}/{server} state maint"


def delete_server(service: ServiceName, server: str) -> str:
    """Only works in maintenance and with no connection left."""
    return f"del server {service}/{server}"


def add_to_map(file: Path, key: str, value: str) -> str:
    return f"add map {file} {key} {value}"


def set_in_map(file: Path, key: str, value: str) -> str:
    return f"set map {file} {key} {value}"


def delete_from_map(file: Path, key: str) -> str:
    return f"del map {file} {key}"


def clear_map(file: Path) -> str:
    return f"clear map {file}"


def show_map(file: Path) -> str:
    return f"show map {file}"


def take_map(file: Path) -> str:
    """Show a map and empty it."""
    return f"{show_map(file)}; {clear_map(file)}"


def cookie(service: ServiceName) -> str:
    """The name of the cookie that tells which server a visitor stays with."""
    return f"homeport-side-{service}"


def batches(commands: Iterable[str], limit: int = 8000) -> Iterator[str]:
    """Commands joined to lines that fit HAProxy's buffer (16 kB), in order."""
    line = ""
    for command in commands:
        if line and len(line) + len(command) + 2 > limit:
            yield line
            line = ""
        line = f"{line}; {command}" if line else command
    if line:
        yield line


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252})|\[[0-9a-f:.]+\]")
_PATH = re.compile(r"/[!-~]*")
_SOCKET = re.compile(r"/[A-Za-z0-9/._@+-]+")
SOCKET_CHARACTERS = 97
"""Of a unix socket's path: Linux takes 107, and HAProxy may add ten for a temporary name."""
_UNSAFE = set(";\\\"'<#")
"""Characters with a meaning in a command, a map or the configuration."""


def _is_path(path: str) -> bool:
    return _PATH.fullmatch(path) is not None and not _UNSAFE & set(path)


def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def problems(state: EdgeState) -> tuple[str, ...]:
    """All that keeps a state from being rendered, for people; () for a good one."""
    found = []
    for what, bind in (("http", state.http), ("https", state.https)):
        if bind is not None and not (_is_address(bind.address) and 0 < bind.port < 65536):
            found.append(f"{what}: {bind.address}:{bind.port} is not an IP address and port")
    names: set[str] = set()
    for service in state.services:
        if not _NAME.fullmatch(service.name) or service.name in (UNROUTED, HOOKS, "edge"):
            found.append(f"service {service.name!r}: not a usable name")
        if service.stick not in ("", SIDE, PIN):
            found.append(f"service {service.name}: {service.stick!r} is neither {SIDE} nor {PIN}")
        if service.unhealthy_after < 1:
            found.append(f"service {service.name}: unhealthy_after must be at least 1")
        for server in service.servers:
            at = f"server {server.name!r} of {service.name}"
            if not _NAME.fullmatch(server.name):
                found.append(f"{at}: not a usable name")
            if server.name in names:
                found.append(f"{at}: the name is used twice")
            names.add(server.name)
            if not 0 <= server.weight <= 256:
                found.append(f"{at}: weight {server.weight} is not within 0 to 256")
            if not (_is_address(server.address) and 0 < server.port < 65536):
                found.append(f"{at}: {server.address}:{server.port} is not an IP address and port")
            if not _is_path(server.health_path):
                found.append(f"{at}: {server.health_path!r} is not a usable health path")
    if state.hooks and not (_SOCKET.fullmatch(state.hooks) and len(state.hooks) <= SOCKET_CHARACTERS):
        found.append(f"hooks: {state.hooks!r} is not a usable path of a unix socket")
    known = {service.name for service in state.services}
    if len(known) != len(state.services):
        found.append("a service is named twice")
    keys: set[str] = set()
    for route in state.routes:
        at = f"route {route.host}{route.prefix}"
        if route.host != ANY_HOST and not _HOST.fullmatch(route.host.lower()):
            found.append(f"{at}: {route.host!r} is not a host name")
        if not _is_path(route.prefix) or "?" in route.prefix:
            found.append(f"{at}: {route.prefix!r} is not a usable path")
        if route.service not in known:
            found.append(f"{at}: there is no service {route.service}")
        key = route_key(route.host, route.prefix)
        if key in keys:
            found.append(f"{at}: routed twice")
        keys.add(key)
    return tuple(found)
