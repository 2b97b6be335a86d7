"""HAProxy's sockets: the worker's and the masters'."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from homeport.edge import commands, observed
from homeport.edge.commands import Layout
from homeport.edge.errors import UNREACHABLE
from homeport.edge.observed import Count, Info, Pairs, Running
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName
from homeport.system import net, process
from homeport.system.clock import RealClock

_TIMEOUT = 5.0


def _unreachable(why: str) -> HomeportError:
    return UNREACHABLE.error(
        f"cannot reach HAProxy: {why}",
        hint="it is started again by its supervisor; homeport doctor says why it does not start",
    )


def ask(layout: Layout, command: str) -> str:
    """One command line to the current worker. Raises ``edge.unreachable``."""
    try:
        return net.ask(layout.admin_socket, f"{command}\n", timeout=_TIMEOUT)
    except OSError as e:
        raise _unreachable(e.strerror or str(e)) from e


def tell(layout: Layout, lines: Iterable[str]) -> tuple[str, ...]:
    """Send commands in order; returns what HAProxy said that was neither empty nor good news."""
    said = []
    for batch in commands.batches(lines):
        said += [line.strip() for line in ask(layout, batch).splitlines()]
    return tuple(line for line in said if line and not line.startswith(_GOOD_NEWS))


_GOOD_NEWS = ("New server registered", "Server deleted")


def info(layout: Layout) -> Info:
    """Raises ``edge.unreachable``."""
    try:
        return observed.parse_info(ask(layout, "show info"))
    except ValueError as e:
        raise _unreachable(str(e)) from e


def running(layout: Layout) -> Running:
    """All that the current worker holds. Raises ``edge.unreachable``."""
    about = info(layout)
    hosts, routes, health, pins, *mode_maps = _maps(layout)
    return Running(
        pid=about.pid,
        digest=about.digest,
        stopping=about.stopping,
        servers=observed.parse_servers(ask(layout, "show stat -1 4 -1")),
        hosts=hosts,
        routes=routes,
        health=health,
        pins=pins,
        mode_maps=tuple(mode_maps),
    )


def counts(layout: Layout) -> tuple[int, tuple[Count, ...]]:
    """The current worker's pid and its counters, of one moment. Raises ``edge.unreachable``."""
    said = ask(layout, "show info; show stat -1 4 -1")
    try:
        return observed.parse_info(said.partition("# pxname,")[0]).pid, observed.parse_counts(said)
    except ValueError as e:
        raise _unreachable(str(e)) from e


def take_wanted(layout: Layout) -> frozenset[ServiceName]:
    """Services in the map of wishes, which is empty afterwards. Raises ``edge.unreachable``."""
    said = observed.parse_map(ask(layout, commands.take_map(layout.wanted)))
    return frozenset(ServiceName(name) for name, _ in said)


def _maps(layout: Layout) -> tuple[Pairs, ...]:
    files = (layout.hosts, layout.routes, layout.health, layout.pins, *layout.mode_maps)
    try:
        return observed.parse_maps(ask(layout, "; ".join(map(commands.show_map, files))), len(files))
    except ValueError as e:
        raise _unreachable(str(e)) from e


def processes(layout: Layout) -> tuple[int, ...]:
    """Pids of every HAProxy that runs on our configuration, masters and workers, ours by command line."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and is_ours(int(entry.name), layout):
            found.append(int(entry.name))
    return tuple(sorted(found))


def is_ours(pid: int, layout: Layout) -> bool:
    """Whether a living process is an HAProxy that was started on our configuration."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    name = os.path.basename(argv[0])
    return name == b"haproxy" and os.fsencode(layout.config) in argv[1:] and process.is_alive(pid)


def master(layout: Layout) -> int | None:
    """The master's pid: as its pid file says and the process itself confirms.

    While HAProxy writes that file anew, the master whose socket is the youngest.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(layout.pid_file.read_text().split()[0])
        if is_ours(pid, layout):
            return pid
    with contextlib.suppress(OSError):
        sockets = sorted(_master_sockets(layout), key=lambda path: path.stat().st_mtime)
        if sockets:
            return int(sockets[-1].name[1 : -len(".sock")])
    return None


def _master_sockets(layout: Layout) -> list[Path]:
    found = []
    for path in sorted(layout.directory.glob("m*.sock")):
        pid = path.name[1 : -len(".sock")]
        if pid.isdigit() and is_ours(int(pid), layout):
            found.append(path)
    return found


def ask_master(socket: Path, command: str) -> str:
    """A command to a master. "" when it does not answer."""
    try:
        return net.ask(socket, f"{command}\nquit\n", timeout=_TIMEOUT)
    except OSError:
        return ""


def failed_reloads(layout: Layout, master_pid: int) -> int:
    """How many reloads in a row have failed; 0 while the master does not answer."""
    return observed.parse_failed_reloads(ask_master(layout.master_socket(master_pid), "show proc"))


def _ask_until_it_answers(socket: Path, command: str) -> str:
    """A master is silent for a moment while it reloads: silence must not be taken for "no requests"."""
    clock = RealClock()
    for _ in range(20):
        text = ask_master(socket, command)
        if text:
            return text
        if not socket.exists():
            return ""
        clock.sleep(0.05)
    raise _unreachable("its master process does not answer")


def tell_all(layout: Layout, told: Callable[[tuple[Pairs, ...]], tuple[str, ...]]) -> None:
    """Have every worker of all masters obey what ``told`` says of its mode maps.

    After a reload there are some that finish what they have: a client's kept connection may bring
    them one more request. Raises ``edge.unreachable`` when a master is silent.
    """
    for socket in _master_sockets(layout):
        for worker in observed.parse_workers(_ask_until_it_answers(socket, "show proc")):
            maps = tuple(
                observed.parse_map(ask_master(socket, f"@!{worker} {commands.show_map(file)}"))
                for file in layout.mode_maps
            )
            for command in told(maps):
                ask_master(socket, f"@!{worker} {command}")


def sessions(layout: Layout, service: ServiceName, server: str) -> int:
    """Requests and tunnels in hand over all workers of all masters. Raises ``edge.unreachable``."""
    tables = of_all(layout, f"show stat {service} 4 -1")
    return sum(s.sessions for table in tables for s in observed.parse_servers(table) if s.name == server)


def waiting(layout: Layout, service: ServiceName, server: str) -> int:
    """Requests without an answer so far, over all workers of all masters. Raises ``edge.unreachable``."""
    tables = of_all(layout, "show sess all")
    return sum(observed.parse_waiting(table, service, server) for table in tables)


def of_all(layout: Layout, command: str) -> tuple[str, ...]:
    """What every worker of all masters says. Raises ``edge.unreachable``."""
    said = []
    for socket in _master_sockets(layout):
        for worker in observed.parse_workers(_ask_until_it_answers(socket, "show proc")):
            said.append(_ask_until_it_answers(socket, f"@!{worker} {command}"))
    if not any(said):
        said = [ask(layout, command)]
    return tuple(said)
