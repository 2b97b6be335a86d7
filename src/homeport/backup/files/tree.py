"""The files below a directory: found without following links, and their digests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from homeport.backup.files.errors import UNREADABLE
from homeport.backup.files.manifest import File
from homeport.backup.files.records import Identity, Known
from homeport.backup.files.sqlite_copy import MAGIC

_CHUNK = 1 << 20


@dataclass(slots=True)
class Found:
    """What a walk found. Paths are relative to its root."""

    files: dict[str, Identity] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    """Files that begin as SQLite's do; they are among :attr:`files` too."""

    @property
    def bytes(self) -> int:
        return sum(i.bytes for i in self.files.values())


def identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def look(root: Path, path: str) -> Identity | None:
    """None for what is no regular file, or is gone."""
    try:
        status = os.lstat(root / path)
    except OSError:
        return None
    return identity(status) if S_ISREG(status.st_mode) else None


def walk(root: Path, tops: Iterable[str], *, heads: bool = True) -> Found:
    """Everything below ``tops``, themselves included; what vanishes meanwhile is left out, and so are sockets,
    pipes and devices. ``heads``: look which files are databases.

    Raises ``backup.unreadable_source``.
    """
    found = Found()
    for top in tops:
        for path, status in _entries(root, top):
            if S_ISLNK(status.st_mode):
                try:
                    found.links[path] = os.readlink(root / path)
                except FileNotFoundError:
                    continue
            elif S_ISREG(status.st_mode):
                if heads and status.st_size > len(MAGIC):
                    head = _head(root, path)
                    if head is None:
                        continue
                    if head == MAGIC:
                        found.databases.append(path)
                found.files[path] = identity(status)
    return found


def _entries(root: Path, top: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        status = os.lstat(root / top)
    except FileNotFoundError:
        return
    if not S_ISDIR(status.st_mode):
        yield top, status
        return
    stack = [top]
    while stack:
        directory = stack.pop()
        try:
            with os.scandir(root / directory) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    path = f"{directory}/{entry.name}"
                    if S_ISDIR(status.st_mode):
                        stack.append(path)
                    else:
                        yield path, status
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as e:
            raise _unreadable(directory, e) from e


def _head(root: Path, path: str) -> bytes | None:
    try:
        with _open(root / path) as file:
            return file.read(len(MAGIC))
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _unreadable(path, e) from e


def digests(
    root: Path, found: dict[str, Identity], known: Known, on_bytes: Callable[[int], None] = lambda _: None
) -> dict[str, File]:
    """The digest of each file; what is as it was when its digest was ``known`` is not read again.

    Names of one file (hard links) are read once. Raises ``backup.unreadable_source``.
    """
    result: dict[str, File] = {}
    by_file: dict[Identity, str] = {}
    for path, was in found.items():
        digest = by_file.get(was)
        if digest is None:
            before = known.get(path)
            digest = before[1] if before is not None and before[0] == was else _digest(root, path, on_bytes)
        if digest is None:
            continue
        by_file[was] = digest
        result[path] = File(was.bytes, digest)
    return result


def _digest(root: Path, path: str, on_bytes: Callable[[int], None]) -> str | None:
    """None for what is gone."""
    total = sha256()
    try:
        with _open(root / path) as file:
            while chunk := file.read(_CHUNK):
                total.update(chunk)
                on_bytes(len(chunk))
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _unreadable(path, e) from e
    return total.hexdigest()


def _open(path: Path) -> _File:
    """Neither follows a link that took a file's place, nor waits at a pipe that did. Raises OSError."""
    return _File(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


class _File:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, count: int) -> bytes:
        return os.read(self._fd, count)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _unreadable(path: str, error: OSError) -> Exception:
    return UNREADABLE.error(
        f"cannot back up {path}: {error.strerror}", hint="let the user that Homeport runs as read it"
    )


def target(root: Path, path: str) -> str | None:
    """What a symbolic link says; None where there is none."""
    try:
        return os.readlink(root / path)
    except OSError:
        return None
