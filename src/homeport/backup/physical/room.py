"""Room on the disks of copies, and of repositories that are directories of this machine."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from homeport.backup.physical.errors import NO_SPACE
from homeport.backup.physical.model import LocalStore, Repository, Settings
from homeport.backup.physical.plan import LEAST_ROOM
from homeport.backup.physical.wal import SEGMENT
from homeport.kernel.units import format_size
from homeport.system import files


def left(settings: Settings) -> Mapping[str, int]:
    """Free bytes by repository; those elsewhere, and those whose directory is not there, are left out."""
    found: dict[str, int] = {}
    for repository in settings.repositories:
        if isinstance(repository.store, LocalStore):
            with suppress(OSError):
                found[repository.name] = files.free_bytes(repository.store.path)
    return found


def must_take(repository: Repository, doing: str) -> None:
    """Raises ``backup.no_space`` where not even a little of the log would go in: its programs would ask a full disk
    again and again for minutes."""
    free = left(Settings((repository,))).get(repository.name)
    if free is not None and free < LEAST_ROOM:
        raise NO_SPACE.error(
            f"cannot {doing}: its disk is full, {format_size(free)} are free",
            hint="make room there; backups in other repositories are not affected",
        )


def must_not_be_full(directory: Path, doing: str, why: Iterable[str]) -> None:
    """What went wrong with a copy on a disk that filled up meanwhile says nothing of the backup.

    Raises ``backup.no_space`` with ``why``.
    """
    free = files.free_bytes(directory)
    if free < SEGMENT:
        raise NO_SPACE.error(
            f"cannot {doing}: the disk of {directory} filled up meanwhile, {format_size(free)} are free",
            hint="make room there; nothing is known against the backup",
            details=tuple(why),
        )
