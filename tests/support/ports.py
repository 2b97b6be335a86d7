"""Ports and directories that no other worker's tests meet: what is free may be bound seconds later."""

import itertools
import os
import socket
import tempfile
from pathlib import Path
from zlib import crc32

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2
_PORTS = itertools.cycle(range(30_000 + _WORKER * 1380, 31_380 + _WORKER * 1380))


def free_port() -> int:
    """One that neither Linux (from 32768 on) nor Homeport (below 30000) gives away, nor another worker's tests."""
    for port in itertools.islice(_PORTS, 1380):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def directory(prefix: str = "hp", within: Path | str = "/tmp", below: str = "") -> Path:
    """A fresh one. Where ``below`` in it is a data directory (itself for ""), Homeport begins to look for ports in this
    worker's half of its ranges."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
        at = crc32(str(made / below).encode())
        if at % 600 // 300 == _WORKER and at % 10_000 // 5_000 == _WORKER:
            return made
        made.rmdir()
