"""The histories of a cluster's timelines: without them a repository's log leads to none but the first."""

from __future__ import annotations

from pathlib import Path

from homeport.backup.physical.copy import prefer_archive
from homeport.backup.physical.pgbackrest import PgBackRest
from homeport.backup.toolbox import Toolbox
from homeport.database import machine
from homeport.kernel.errors import HomeportError


def archive_again(box: Toolbox, cluster: str) -> tuple[int, ...]:
    """Have the server archive those that a repository lacks; returns their timelines.

    It counts them as archived where they went nowhere, before it had a repository, or to other repositories alone.
    """
    pg = box.clusters.layout(cluster).files / "pg_wal"
    here = sorted(int(p.stem, 16) for p in pg.glob("????????.history"))
    if not here:
        return ()
    settings = box.repositories.for_clusters()
    program = PgBackRest(box.data_dir, cluster, settings, box.clock)
    missing: set[int] = set()
    for repository in settings.repositories:
        try:
            missing |= set(here) - program.archive(repository.name).histories
        except HomeportError:
            # One that does not answer is told otherwise; it costs little to archive them again.
            missing |= set(here)
    for timeline in missing:
        _forget(pg, timeline)
        prefer_archive(machine.user(), pg.parent, timeline)
    return tuple(sorted(missing))


def _forget(pg_wal: Path, timeline: int) -> None:
    (pg_wal / "archive_status" / f"{timeline:08X}.history.done").unlink(missing_ok=True)
