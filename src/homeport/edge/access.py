"""The access log, read as it grows: what each request met, and how long it took.

The log is whole up to a rate and a sample beyond it (:mod:`homeport.edge.render`): it says how long
requests took, never how many there were.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from homeport.edge.logs import LOGS_KEPT_AT_MOST, numbered
from homeport.kernel.ids import ServiceName

READ_AT_MOST = 8 << 20
"""Bytes that one call reads: about 20,000 lines."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """One line. ``service`` and ``server`` are HAProxy's words: a request that got no server has "<NOSRV>"."""

    at: float
    """When it began, in seconds since the epoch."""
    service: ServiceName
    server: str
    status: int
    """-1: no answer was sent."""
    response_ms: int | None
    """From the connection to the answer's head; None: there was none from a server."""
    total_ms: int
    retries: int
    end: str
    """HAProxy's two letters; "--" is a good end."""

    @property
    def ended(self) -> float:
        """When its line was written, in seconds since the epoch. Lines are in this order, nearly."""
        return self.at + self.total_ms / 1000


_LINE = re.compile(
    rb'\{"time":(\d+\.\d+),(?:"idle_ms":(-?\d+),)?.*"status":(-?\d+),"bytes":\d+,"total_ms":\+?(-?\d+),"connect_ms":-?\d+,'
    rb'"response_ms":(-?\d+),"service":"([^"\\]*)","server":"([^"\\]*)","retries":"\+?(\d+)","end":"([^"\\]*)"\}\r?'
)
"""A line as HAProxy is told to write it: four times as fast as reading it as JSON. What clients say stands
before ``status`` and has no bare quote in it."""


def parse_line(line: bytes) -> Access | None:
    """None for what is no line of the access log, such as a notice of HAProxy's, or half of one."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    at, idle, status, total, response, service, server, retries, end = found.groups()
    ms = int(response)
    return Access(
        float(at) + max(0, int(idle or 0)) / 1000, ServiceName(service.decode()), server.decode(), int(status),
        ms if ms >= 0 else None, int(total), int(retries), end.decode(),
    )  # fmt: skip


def parse(text: bytes) -> tuple[Access, ...]:
    """Whole lines; those that are none of the access log are left out."""
    return tuple(entry for line in text.split(b"\n") if (entry := parse_line(line)) is not None)


Position = Mapping[str, int]
"""Where a reader is: a file by its inode, and an offset in it. Good for JSON."""


class Tail:
    """Reads the log at ``path`` and the older ones beside it. Holds nothing open and remembers nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, position: Position | None) -> tuple[tuple[Access, ...], Position | None]:
        """What came since ``position``, and where the next call begins; None begins at the end.

        At most :data:`READ_AT_MOST` bytes a call. Where the log was rotated it goes on in the older file
        first; when that is gone, at the beginning of the present one. None comes back while there is no log.
        """
        files = self._files()
        if not files:
            return (), position
        if position is None:
            return (), _position(files[-1][1], files[-1][1].st_size)
        known = [n for n, (_, about) in enumerate(files) if about.st_ino == position.get("inode")]
        at = known[0] if known else len(files) - 1
        offset = max(0, position.get("offset", 0)) if known else 0
        entries: list[Access] = []
        room = READ_AT_MOST
        while True:
            path, about = files[at]
            text, offset, ended = _read(path, about, offset, room)
            entries += parse(text)
            room -= len(text)
            # A file that is still written to is left only when another has taken its place.
            if not ended or at + 1 == len(files):
                return tuple(entries), _position(about, offset)
            at, offset = at + 1, 0

    def recent(self, seconds: float, now: float) -> tuple[Access, ...]:
        """What ended within the last ``seconds`` before ``now``, oldest first.

        Of a log that grows faster than :data:`READ_AT_MOST` bytes in that time, the latest part.
        """
        since = now - seconds
        blocks: list[tuple[Access, ...]] = []
        room = READ_AT_MOST
        for path, about in reversed(self._files()):
            for text in _backwards(path, about, room):
                entries = parse(text)
                blocks.append(tuple(entry for entry in entries if entry.ended > since))
                room -= len(text)
                if (entries and entries[0].ended <= since) or room <= 0:
                    return tuple(entry for block in reversed(blocks) for entry in block)
        return tuple(entry for block in reversed(blocks) for entry in block)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """Oldest first."""
        found = []
        for n in range(LOGS_KEPT_AT_MOST, -1, -1):
            path = numbered(self.path, n)
            try:
                found.append((path, path.stat()))
            except OSError:
                continue
        return found


def _position(about: os.stat_result, offset: int) -> Position:
    return {"inode": about.st_ino, "offset": offset}


def _open(path: Path, about: os.stat_result) -> BinaryIO | None:
    """None when another file has the name by now: the next call will find it."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    if os.fstat(file.fileno()).st_ino != about.st_ino:
        file.close()
        return None
    return file


def _read(path: Path, about: os.stat_result, offset: int, room: int) -> tuple[bytes, int, bool]:
    """Whole lines from ``offset``, where they end, and whether the file was read to its end."""
    file = _open(path, about)
    if file is None:
        return b"", offset, False
    with file:
        if offset > os.fstat(file.fileno()).st_size:
            offset = 0
        file.seek(offset)
        text = file.read(room)
        more = len(text) == room
    whole = text.rfind(b"\n") + 1
    if not whole and len(text) == READ_AT_MOST:
        return b"", offset + len(text), False
    return text[:whole], offset + whole, not more


def _backwards(path: Path, about: os.stat_result, room: int) -> Iterator[bytes]:
    """Blocks of whole lines, the last ones first; ``room`` bytes at most, and a line."""
    file = _open(path, about)
    if file is None:
        return
    with file:
        end = about.st_size
        rest = b""
        while end > 0 and room > 0:
            size = min(_BLOCK, end, room)
            file.seek(end - size)
            text = file.read(size) + rest
            end, room = end - size, room - size
            rest, newline, lines = text.partition(b"\n") if end else (b"", b"\n", text)
            if newline:
                yield lines
