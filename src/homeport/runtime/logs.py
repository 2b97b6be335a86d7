"""Reading what the log daemon writes: back from the end, and on as it grows."""

import contextlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from homeport.kernel.clock import Clock
from homeport.kernel.ids import InstanceName
from homeport.runtime.commands import is_instance
from homeport.runtime.layout import Layout
from homeport.runtime.loglines import Line, merge, normal_time, parse

BLOCK = 256 * 1024
POLL = 0.1
BURST = 1 << 20
"""Bytes of one log that are read before the next one has its turn."""


def _open(path: Path) -> BufferedReader | None:
    """A file to read and close; None when it is missing."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _reversed_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file without newlines, the last first; none when it is missing."""
    f = _open(path)
    if f is None:
        return
    with f:
        position = f.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            f.seek(position)
            first, *lines = (f.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
        if rest:
            yield rest


def newest(layout: Layout, name: InstanceName, limit: int, since: str = "") -> list[Line]:
    """The last ``limit`` lines of one instance from ``since`` on, oldest first."""
    found: list[Line] = []
    for path in layout.log_files(name):
        for raw in _reversed_lines(path):
            if len(found) >= limit:
                return found[::-1]
            parsed = parse(raw)
            if parsed is None:
                continue
            if parsed[0] < since:
                return found[::-1]
            found.append((parsed[0], name, parsed[1]))
    return found[::-1]


def tail(layout: Layout, name: InstanceName, lines: int) -> tuple[str, ...]:
    """The text of the last lines."""
    return tuple(text for _, _, text in newest(layout, name, lines))


class Follower:
    """Reads on in one log, over rotations, however many there were since the last read."""

    def __init__(self, layout: Layout, name: InstanceName, *, at_end: bool) -> None:
        self.name = name
        self._paths = layout.log_files(name)
        self._file: BufferedReader | None = None
        self._rest = b""
        if at_end:
            self._file = _open(self._paths[0])
        if self._file is not None:
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, end - 1))
            if self._file.read(1) not in (b"", b"\n"):  # the daemon is in the middle of a write
                self._rest = b"?"

    def read(self) -> list[Line]:
        """What was written since the last call, at most BURST bytes of it; [] when nothing was."""
        lines: list[Line] = []
        size = 0
        while size < BURST:
            data = self._file.read(BLOCK) if self._file is not None else b""
            if data:
                size += len(data)
                *raws, self._rest = (self._rest + data).split(b"\n")
                for raw in raws:
                    if (parsed := parse(raw)) is not None:
                        lines.append((parsed[0], self.name, parsed[1]))
            elif not self._next_file():
                break
        return lines

    def _next_file(self) -> bool:
        """Go on to the file that follows the one that is read to its end; False when it is the newest."""
        inode = os.fstat(self._file.fileno()).st_ino if self._file is not None else 0
        following: Path | None = None
        expected = 0
        for path in self._paths:  # newest first
            with contextlib.suppress(FileNotFoundError):
                this = path.stat().st_ino
                if this == inode:
                    break
                following, expected = path, this
        if following is None:
            return False
        if self._file is not None:
            # Lines written to it between the last read and its rotation are read first.
            position = self._file.tell()
            if self._file.seek(0, os.SEEK_END) != position:
                self._file.seek(position)
                return True
        file = _open(following)
        if file is None:
            return True
        if os.fstat(file.fileno()).st_ino != expected:  # rotated again just now
            file.close()
            return True
        self.close()
        self._file = file
        self._rest = b""
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class FileLogReader:
    """The port's LogReader over the log files of one data directory."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._layout = Layout(data_dir)
        self._clock = clock

    def read(self, names: tuple[InstanceName, ...], *, since: str | None, limit: int) -> list[Line]:
        start = normal_time(since) if since else ""
        return merge((newest(self._layout, name, limit, start) for name in names), limit)

    def names(self, prefix: str = "") -> tuple[InstanceName, ...]:
        """Instances that have a log, gone ones included."""
        try:
            entries = os.listdir(self._layout.logs)
        except FileNotFoundError:
            return ()
        names = (e.removesuffix(".log") for e in entries if e.endswith(".log") and e.startswith(prefix))
        return tuple(InstanceName(name) for name in sorted(names) if is_instance(name))

    def follow(self, prefix: str) -> Iterator[Line | None]:
        """New lines from the first ``next()`` on. None is yielded before each pause of POLL seconds."""
        followers = {n: Follower(self._layout, n, at_end=True) for n in self.names(prefix)}
        try:
            while True:
                for name in self.names(prefix):
                    if name not in followers:
                        followers[name] = Follower(self._layout, name, at_end=False)
                lines = merge([follower.read() for follower in followers.values()], 1 << 62)
                yield from lines
                if not lines:
                    present = self.names(prefix)
                    for name in [n for n in followers if n not in present]:
                        followers.pop(name).close()
                    yield None
                    self._clock.sleep(POLL)
        finally:
            for follower in followers.values():
                follower.close()
