"""Ports for instances: one choice, given what is taken and a way to ask the machine."""

from collections.abc import Callable, Set
from pathlib import Path
from zlib import crc32

from homeport.runtime.errors import NO_PORT

PORTS = range(20_000, 30_000)
"""Below the range from which Linux takes the ports of outgoing connections (32768 on)."""


def choose(taken: Set[int], is_free: Callable[[int], bool], start: int, ports: range = PORTS) -> int:
    """The first port from ``start`` on, around the end of the range, that is neither taken nor bound.

    Raises ``runtime.no_port``. A port that a stranger holds is skipped, however often it is asked.
    """
    offset = (start - ports.start) % len(ports)
    for n in range(len(ports)):
        port = ports[(offset + n) % len(ports)]
        if port not in taken and is_free(port):
            return port
    raise NO_PORT.error(
        f"cannot find a free port: all of {ports.start} to {ports[-1]} are taken",
        hint="stop what listens there; ss -tlnp shows it",
    )


def start_of(data_dir: Path, ports: range = PORTS) -> int:
    """Where a data directory begins to look, so that several on one machine seldom meet."""
    return ports[crc32(str(data_dir).encode()) % len(ports)]
