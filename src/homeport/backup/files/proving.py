"""A restored tree looked at: digests, databases, the journal's chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homeport.backup.files import sqlite_copy, tree
from homeport.backup.files.errors import FULL
from homeport.backup.files.manifest import Manifest, compare, compare_rows
from homeport.backup.files.model import LocalPlace, Repository
from homeport.backup.files.plan import LEAST_ROOM, STATE, room
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_size
from homeport.system import files


def differences(manifest: Manifest, root: Path) -> tuple[str, ...]:
    """What of a tree that was restored into ``root`` is not as it was backed up."""
    tops = sorted({path.partition("/")[0] for path in (*manifest.files, *manifest.links)})
    found = tree.walk(root, tops, heads=False)
    listed = tree.digests(root, {p: i for p, i in found.files.items() if p in manifest.files}, {})
    return compare(manifest, listed, found.links)


def database_problems(manifest: Manifest, root: Path) -> tuple[str, ...]:
    wrong: list[str] = []
    for path, database in sorted(manifest.databases.items()):
        copied = root / database.copy
        if not copied.is_file():
            continue  # told already
        wrong += [f"{path}: {problem}" for problem in sqlite_copy.problems(copied)]
        try:
            wrong += compare_rows(path, database.tables, sqlite_copy.tables(copied))
        except sqlite_copy.UNREADABLE as e:
            wrong.append(f"{path}: its rows cannot be counted: {e}")
    return tuple(wrong)


def chain_problems(manifest: Manifest, root: Path, clock: Clock) -> tuple[str, ...]:
    """Whether ``state.db`` opens, and its journal is whole. What is looked at is changed by that."""
    if STATE not in manifest.databases:
        return ()
    from homeport.journal.store import Store, open_engine

    try:
        engine = open_engine(root / manifest.databases[STATE].copy)
    except HomeportError as e:
        return (f"{STATE}: {e.sentence}",)
    try:
        broken = Store(engine, clock).first_broken()
    finally:
        engine.dispose()
    return () if broken is None else (f"{STATE}: record {broken} of the journal is not what was written",)


def check_room(directory: Path, size: int, doing: str) -> None:
    """Raises ``backup.disk_full``."""
    free = files.free_bytes(directory)
    if free < room(size):
        raise FULL.error(
            f"cannot {doing}: that needs {format_size(room(size))} in {directory}, and {format_size(free)} are free",
            hint="free space there",
        )


def check_disk(repository: Repository, doing: str) -> None:
    """Raises ``backup.disk_full`` where a repository of this machine's takes next to nothing any more."""
    if not isinstance(repository.place, LocalPlace):
        return
    with suppress(OSError):
        free = files.free_bytes(repository.place.path)
        if free < LEAST_ROOM:
            raise FULL.error(
                f"cannot {doing}: its disk is full, {format_size(free)} are free",
                hint="make room there; backups in other repositories are not affected",
            )


@contextmanager
def step(steps: dict[str, float], name: str, clock: Clock) -> Iterator[None]:
    """Take down how long something took."""
    start = clock.monotonic()
    try:
        yield
    finally:
        steps[name] = round(clock.monotonic() - start, 3)


def told(error: HomeportError) -> str:
    """An error as one line of a proof."""
    lines: Iterable[str] = (line.strip() for line in error.details[:4])
    return "; ".join((error.sentence, *lines))
