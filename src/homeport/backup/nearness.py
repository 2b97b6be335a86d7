"""Repositories that are lost together with what they hold copies of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from homeport.backup.repositories import Recorded

Filesystem = Callable[[Path], str | None]
"""A name of the filesystem that a path is on; None: not known."""


def is_inside(path: str, data_dir: Path) -> bool:
    return bool(path) and Path(path).is_relative_to(data_dir)


def shares_disk(repository: Recorded, data_dir: Path, filesystem: Filesystem) -> bool:
    """Whether it is a directory on the filesystem of the data directory."""
    path = repository.place.path
    if not path:
        return False
    mine = filesystem(Path(path))
    return mine is not None and mine == filesystem(data_dir)


def warnings(repositories: Iterable[Recorded], data_dir: Path, filesystem: Filesystem) -> tuple[str, ...]:
    """In words: what would be lost with the data directory or its disk. One repository elsewhere is enough."""
    there = tuple(repositories)
    inside = [r.name for r in there if is_inside(r.place.path, data_dir)]
    found = [f"repository {name} is inside the data directory, and is lost with it" for name in inside]
    if there and not inside and all(shares_disk(r, data_dir, filesystem) for r in there):
        which = f"repository {there[0].name} is" if len(there) == 1 else "all repositories are"
        found.append(
            f"{which} on the disk of the data directory, and would be lost with it: "
            "homeport backup repository add NAME, with a directory on another disk or an S3-compatible store"
        )
    return tuple(found)
