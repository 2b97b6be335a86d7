"""What a child does to have every repository. What is made in a new one is taken back where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from homeport.backup import histories
from homeport.backup.errors import BAD_REPOSITORY, OTHER_PASSPHRASE
from homeport.backup.files import stage
from homeport.backup.files.errors import NO_REPOSITORY, NOT_OPENED
from homeport.backup.files.model import S3Place
from homeport.backup.files.sealing import is_for
from homeport.backup.files.service import FileBackups
from homeport.backup.locks.plan import prefix_of
from homeport.backup.repositories import Recorded
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.database import machine
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.system import files

SHORTLY = 30.0
"""Seconds that a person waits for a backup of files that is just under way."""
PARTS = ("files", "postgresql")
OF_EVERY_DISK = "lost+found"


def prepare(box: Toolbox, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Have every repository, opened by the passphrase, and every cluster archived into them; which were made.

    ``new``: the one that is to be added just now.
    """
    _check_directories(box)
    new = next((r for r in box.repositories.list() if r.name == request.get("new") and not r.ready), None)
    with _taken_back(box, new):
        found = box.files()
        made = patiently(box.clock, found.prepare, patience=SHORTLY) if request.get("files", True) else ()
        if request.get("passphrase"):
            _set_passphrase(box, found, Secret(request["passphrase"]), same=bool(request.get("same")))
        for name, synchronous in request["clusters"].items():
            box.physical(name, synchronous=synchronous).ensure()
            histories.archive_again(box, name)
    return made


def _set_passphrase(box: Toolbox, found: FileBackups, passphrase: Secret, *, same: bool) -> None:
    if same and _is_another(found, passphrase):
        raise OTHER_PASSPHRASE.error(
            "cannot use this passphrase: the other repositories have another one",
            hint="the same one opens them all; homeport backup passphrase changes it everywhere",
        )
    patiently(box.clock, lambda: found.set_passphrase(passphrase), patience=SHORTLY)


def _is_another(found: FileBackups, passphrase: Secret) -> bool:
    try:
        there = stage.recipient(found.layout)
    except HomeportError:
        return False
    return not is_for(passphrase, there)


# Places that are new


def _check_directories(box: Toolbox) -> None:
    """Of repositories that are new: one that is missing may be a disk that is not mounted."""
    for r in box.repositories.list():
        if r.ready or not r.place.path:
            continue
        if not Path(r.place.path).is_dir():
            raise BAD_REPOSITORY.error(
                f"cannot use repository {r.name}: there is no directory {r.place.path}",
                hint="make it; where a disk belongs there, mount that first",
            )
        try:
            machine.must_reach(Path(r.place.path), machine.user(), "pgBackRest")
        except HomeportError as e:
            raise BAD_REPOSITORY.error(
                f"cannot use repository {r.name}: user {machine.user()}, who runs PostgreSQL, may not enter {r.place.path}",
                hint=e.hint.partition(",")[0],
            ) from e
        others = strangers(Path(r.place.path))
        if others:
            raise BAD_REPOSITORY.error(
                f"cannot use repository {r.name}: {r.place.path} is not empty, and no repository",
                hint=f"mkdir {r.place.path}/homeport, and name that",
                details=[f"it holds {', '.join(others[:5])}{' and others' if others[5:] else ''}"],
            )


def strangers(directory: Path) -> list[str]:
    """What is in a directory that cannot be a repository because of it."""
    postgresql = directory / "postgresql"
    if (directory / "files" / "config").is_file() or any(
        (postgresql / name).is_dir() for name in ("archive", "backup")
    ):
        return []
    try:
        return sorted(p.name for p in directory.iterdir() if p.name != OF_EVERY_DISK and not _is_ours(p))
    except OSError as e:
        raise BAD_REPOSITORY.error(f"cannot use {directory}: {e.strerror}", hint=f"ls -ld {directory}") from e


def _is_ours(path: Path) -> bool:
    """An empty one, as a try that was cut off leaves it."""
    return path.name in PARTS and _is_empty(path)


def _is_empty(path: Path) -> bool:
    """Or not there at all."""
    try:
        return not any(path.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False


@contextmanager
def _taken_back(box: Toolbox, new: Recorded | None) -> Iterator[None]:
    """What is made meanwhile in a repository that is new goes again where that fails; all else in it stays."""
    empty = _empty_parts(box, new) if new is not None else ()
    try:
        yield
    except HomeportError:
        if new is not None:
            with suppress(HomeportError, OSError):
                _clear(box, new, empty)
        raise


def _empty_parts(box: Toolbox, new: Recorded) -> tuple[str, ...]:
    """Of a repository that is not there yet. Raises why its place cannot be looked at, or is none for a new one."""
    if new.place.path:
        empty = tuple(part for part in PARTS if _is_empty(Path(new.place.path) / part))
    try:
        box.files().restic(new.name).check_opened()
    except HomeportError as e:
        if e.type is NOT_OPENED:
            raise NOT_OPENED.error(
                f"cannot use repository {new.name}: {new.place} is one already, of another name or another Homeport",
                hint="add it by the name that it had here, or name another place: an empty directory, or a --prefix",
            ) from e
        if e.type is not NO_REPOSITORY:
            raise
    else:
        return ()
    if new.place.path:
        return empty
    with suppress(HomeportError), _bucket(box, new) as bucket:
        return tuple(part for part in PARTS if not bucket.has(f"{prefix_of(new.place.prefix)}{part}/"))
    return ()


def _clear(box: Toolbox, new: Recorded, parts: tuple[str, ...]) -> None:
    if new.place.path:
        for part in parts:
            files.remove_tree(Path(new.place.path) / part, within=Path(new.place.path))
    elif parts:
        with _bucket(box, new) as bucket:
            for part in parts:
                bucket.remove(f"{prefix_of(new.place.prefix)}{part}/")


@contextmanager
def _bucket(box: Toolbox, new: Recorded) -> Iterator[Any]:
    # It takes memory that other works need not have.
    from homeport.backup.locks.bucket import Bucket

    place = next(r.place for r in box.repositories.for_files() if r.name == new.name)
    assert isinstance(place, S3Place)
    with Bucket(new.name, place) as bucket:
        yield bucket
