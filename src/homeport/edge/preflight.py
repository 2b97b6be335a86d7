"""What must hold before HAProxy is started: it is here, new enough, its addresses are free, its files whole."""

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from homeport.edge import commands
from homeport.edge.commands import Layout, endpoint
from homeport.edge.errors import (
    BIND_DENIED,
    CONFIG_FOREIGN,
    CONFIG_INVALID,
    MISSING,
    PORT_TAKEN,
    TOO_OLD,
)
from homeport.edge.model import Bind
from homeport.kernel.errors import HomeportError
from homeport.system import net, process

OLDEST = (2, 6)
_INSTALL = "apt-get install haproxy"
_VERSION = re.compile(r"HA-?Proxy version ((\d+)\.(\d+)\S*)")


def haproxy() -> Path:
    """Where HAProxy is. Raises ``edge.haproxy_missing``."""
    found = process.program("haproxy")
    if found is None:
        raise MISSING.error("cannot run the edge: HAProxy is not installed", hint=_INSTALL)
    return found


def check_haproxy() -> str:
    """The version of the installed HAProxy. Raises ``edge.haproxy_missing``, ``edge.haproxy_too_old``."""
    return read_version(process.run((str(haproxy()), "-v"), timeout=10).stdout)


def read_version(output: str) -> str:
    """The version in ``haproxy -v``. Raises ``edge.haproxy_too_old``."""
    found = _VERSION.search(output)
    if found is None:
        raise MISSING.error("cannot run the edge: what is installed as haproxy is not HAProxy", hint=_INSTALL)
    if (int(found[2]), int(found[3])) < OLDEST:
        raise TOO_OLD.error(
            f"cannot run the edge on HAProxy {found[1]}: it needs 2.6 or newer",
            hint="Debian 12 and Ubuntu 24.04 bring one; older systems: https://haproxy.debian.net",
        )
    return found[1]


def check_bind(bind: Bind, own: Callable[[int], bool] = lambda pid: False) -> None:
    """That the address is free to listen on. Raises ``edge.port_taken``, ``edge.bind_denied``.

    Tried without SO_REUSEPORT: HAProxy sets it, so a second one would share the port in silence.
    A listener held by a process that is ``own`` does not count as taken.
    """
    family = socket.AF_INET6 if ":" in bind.address else socket.AF_INET
    at = endpoint(bind.address, bind.port)
    with socket.socket(family) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            s.bind((bind.address, bind.port))
            return
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                hint = "run as root, or choose a port from 1024 up" if e.errno == errno.EACCES else ""
                raise BIND_DENIED.error(f"cannot listen on {at}: {e.strerror}", hint=hint) from e
    pids = _listeners(bind.port)
    if any(own(pid) for pid in pids):
        return
    who = ", ".join(f"{_name(pid)} (pid {pid})" for pid in pids) or "another process"
    raise PORT_TAKEN.error(f"cannot listen on {at}: {who} does", hint="stop it, or choose another port")


def _listeners(port: int) -> list[int]:
    wanted = {f"socket:[{inode}]" for inode in net.listener_inodes(port)}
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if not wanted.isdisjoint(_open_files(pid))]


def _open_files(pid: int) -> list[str]:
    """What a process has open; nothing when it may not be looked at."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process"


def check_files(layout: Layout) -> None:
    """That the configuration and the maps that it names are whole and ours.

    Raises ``edge.config_foreign`` naming the file. A configuration that an older Homeport wrote names
    fewer maps.
    """
    _check_file(layout.config)
    config = layout.config.read_text()
    for path in layout.maps:
        if str(path) in config:
            _check_file(path)


def _check_file(path: Path) -> None:
    problem = _problem(path)
    if problem:
        raise foreign(path, problem)


def _problem(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except OSError as e:
        return (e.strerror or str(e)).lower()
    except UnicodeDecodeError:
        return "it is not text"
    return "" if commands.is_sealed(text) else "it was cut short, or changed by someone else"


def foreign(path: Path, problem: str) -> HomeportError:
    return CONFIG_FOREIGN.error(
        f"cannot start HAProxy on {path}: {problem}",
        hint="homeport serve writes it anew from its own state when it starts",
    )


def check_config(file: Path, layout: Layout) -> None:
    """That HAProxy takes a configuration. Raises ``edge.config_invalid`` with HAProxy's own lines."""
    result = process.run((str(haproxy()), "-c", "-f", str(file)), timeout=60, check=False)
    if not result.ok:
        raise invalid(result.stderr + result.stdout, file, layout)


def invalid(output: str, file: Path, layout: Layout) -> HomeportError:
    lines = [line.replace(str(file), str(layout.config)) for line in output.strip().splitlines()]
    alerts = [line for line in lines if "[ALERT]" in line or "[WARNING]" in line]
    return CONFIG_INVALID.error(
        "cannot use the edge's configuration: HAProxy refuses it",
        hint="what served before serves on; this is a defect of Homeport, please report it with these lines",
        details=alerts or lines,
    )


def binds_of(config: str) -> tuple[Bind, ...]:
    """The addresses that a rendered configuration listens on."""
    found = []
    for line in config.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "bind":
            address, _, port = fields[1].rpartition(":")
            found.append(Bind(address.strip("[]"), int(port)))
    return tuple(found)
