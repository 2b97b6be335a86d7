"""Where a drill takes place: copies below the scratch directory that nobody else reaches, and its own settings.

Production is read, as a backup reads it; nothing of it is changed but for a restore point and the heartbeat, which
each backup writes too. What a phase found out is noted in a file, for the next one, which is another process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from homeport.backup.drills.errors import NO_CLUSTER, NOT_BROUGHT_BACK
from homeport.backup.physical import commands, manifest, restore
from homeport.backup.physical.copy import Copy, copy_received, received_files, remove
from homeport.backup.physical.errors import NO_SPACE
from homeport.backup.physical.manifest import Manifest
from homeport.backup.physical.model import AtPoint, Progress, Restored, Settings, Target
from homeport.backup.physical.pgbackrest import PgBackRest, hand_over
from homeport.backup.physical.wal import tail
from homeport.backup.toolbox import Toolbox
from homeport.database import machine
from homeport.database.model import Provisioned
from homeport.journal.store import parse_time, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.units import format_size
from homeport.system import files, process

NAME = "_drill"
"""Below the scratch directory; no cluster is named so."""
TWIN = "twin"
BACK = "back"
"""Directories of the two copies: that which is broken, that which is brought back."""
NOTES = "notes.json"
LOG_SEGMENTS = 64
"""What is replayed onto a copy, as far as room is concerned."""
MARK = "drill"
"""Of servers and of pgBackRest."""
FILES = "filebackup"
"""Of restic, by the drill's own directory."""

Told = Callable[[str, Progress], None]


class _Program(PgBackRest):
    """What it starts is marked as a drill's: ``homeport down`` ends it, and no proof or restore does."""

    def __init__(
        self, directory: Path, cluster: str, settings: Settings, clock: Clock, data_dir: Path
    ) -> None:
        super().__init__(directory, cluster, settings, clock)
        self._data_dir = str(data_dir)

    def environment(self, what: str) -> dict[str, str]:
        return {**super().environment(what), process.OWNER: self._data_dir, process.INSTANCE: MARK}


class Ground:
    """In a child of its own for each phase; whatever a former one left running is ended first."""

    def __init__(self, box: Toolbox, cluster: str, told: Told = lambda _, __: None) -> None:
        self.box = box
        self.cluster = cluster
        self.directory = box.data_dir / "scratch" / NAME
        self._told = told

    # Beginning and ending

    def begin(self) -> None:
        """An empty directory, whatever a drill before left there."""
        self.clear()
        (self.directory.parent).mkdir(mode=0o755, exist_ok=True)
        self.directory.mkdir(mode=0o755)
        self.note(begun=text_time(self.box.clock.now()))

    def clear(self) -> None:
        """Nothing of a drill is left: no server, no file, nothing in memory."""
        self.settle()
        for name in (TWIN, BACK):
            remove(self.directory / name, self.directory, self.box.clock)
        for cluster in self.box.state.clusters():
            PgBackRest(self.directory, cluster.name, Settings(()), self.box.clock).forget()
        if self.directory.is_dir():
            files.remove_tree(self.directory, within=self.directory.parent)

    def settle(self) -> None:
        """At the beginning of each phase: nothing of a former one runs, nor keeps memory."""
        segments = [s for name in (TWIN, BACK) if (s := segment(self.directory / name)) is not None]
        process.kill_marked(str(self.box.data_dir), MARK)
        process.kill_family(str(self.directory), FILES)
        for id in segments:
            release(id)

    # Notes

    @property
    def notes(self) -> dict[str, Any]:
        path = self.directory / NOTES
        found: dict[str, Any] = files.read_json(path) if path.exists() else {}
        return found

    def note(self, **values: Any) -> None:
        files.write_atomic(self.directory / NOTES, json.dumps({**self.notes, **values}), mode=0o600)

    def happened(self) -> datetime:
        """The moment of the accident: noted once, also where the phase is done again."""
        noted = self.notes.get("accident")
        if noted is not None:
            return parse_time(noted)
        now = self.box.clock.now()
        self.note(accident=text_time(now))
        return now

    # Programs

    def settings(self) -> Settings:
        return self.box.repositories.for_clusters()

    def program(self, settings: Settings | None = None) -> PgBackRest:
        """With a configuration of the drill's own. Raises ``drill.no_cluster``."""
        if not self.cluster:
            raise NO_CLUSTER.error("cannot rehearse it: there is no cluster", hint="homeport db")
        cluster = self.box.cluster(self.cluster)
        program = _Program(
            self.directory, cluster.name, settings or self.settings(), self.box.clock, self.box.data_dir
        )
        program.prepare(self.box.clusters.layout(cluster.name), cluster.port)
        return program

    # Production, read only

    def mark(self) -> Manifest:
        """A restore point of now, with what is in every table then; the log up to it is archived."""
        cluster = self.box.cluster(self.cluster)
        physical = self.box.physical(self.cluster)
        physical.prepare()
        point = f"homeport_drill_{self.box.clock.now():%Y%m%dT%H%M%S}"
        found = manifest.take(lambda name: self.box.clusters.superuser(cluster, name), point, self.box.clock)
        physical.flush()
        self.note(manifest=found.document())
        return found

    @property
    def manifest(self) -> Manifest:
        return Manifest.of(self.notes["manifest"])

    def apps(self) -> dict[str, Provisioned]:
        """Databases of apps in the cluster, by their name in PostgreSQL."""
        rows = self.box.state.databases(cluster=self.cluster)
        return {r.database: r for r in rows if r.state == "ready"}

    def keep_received(self) -> int:
        """What only the receiver has just now is kept for the drill; how many segments."""
        program = self.program()
        real = self.box.physical(self.cluster).layout.received
        archive = program.archive(program.settings.repositories[0].name)
        kept = tail(received_files(real), archive)
        count = 0
        for name in kept.values():
            target = program.layout.received / name
            # One that is gone by now has been archived.
            if copy_received(real / name, target):
                hand_over(target, machine.user())
                count += 1
        return count

    def must_have_room(self, copies: int) -> None:
        """Raises ``backup.no_space`` where the disk would be short with so many copies."""
        physical = self.box.physical(self.cluster)
        physical.prepare()
        sizes = [b.bytes for look in physical.list() for b in look.backups[-1:]]
        if not sizes:
            return
        wanted = copies * commands.copy_bytes(max(sizes), LOG_SEGMENTS)
        free = files.free_bytes(self.directory)
        if wanted > free:
            raise NO_SPACE.error(
                f"cannot rehearse it: {copies} copies of cluster {self.cluster} need {format_size(wanted)}, and "
                f"{format_size(free)} are free",
                hint="production goes before rehearsals: make room first",
            )

    # Copies

    def bring(
        self,
        name: str,
        target: Target,
        *,
        repositories: Sequence[str] | None = None,
        settings: Settings | None = None,
    ) -> Restored:
        """A copy as of the target; one that a phase that was cut off left is made anew."""
        program = self.program(settings)
        into = self.directory / name
        remove(into, self.directory, self.box.clock)
        names = tuple(repositories or (r.name for r in program.settings.repositories))
        restored = restore.restore(
            program,
            target,
            into,
            self.box.cluster(self.cluster).version,
            self.box.clock,
            on_progress=lambda p: self._told("", p),
            repositories=names,
            timeline=self.manifest.timeline if isinstance(target, AtPoint) else None,
            served=self.box.physical(self.cluster).records.served(),
        )
        return restored

    def at_mark(self) -> AtPoint:
        found = self.manifest
        return AtPoint(found.point, found.lsn, found.at)

    @contextmanager
    def serving(self, name: str) -> Iterator[Copy]:
        """The copy, with a server on it that nobody else reaches."""
        version = self.box.cluster(self.cluster).version
        copy = Copy(self.program(), self.directory / name, version, self.box.clock, throwaway=True)
        try:
            copy.start()
            yield copy
        finally:
            copy.end()

    def must_be_as_marked(self, copy: Copy) -> Mapping[str, Any]:
        """Compared with production's own rows at the mark. Raises ``drill.not_brought_back``."""
        found = manifest.compare(self.manifest, copy.connect)
        if found.differences:
            raise NOT_BROUGHT_BACK.error(
                f"cannot call it brought back: {found.differences[0]}", details=found.differences[1:]
            )
        return {"tables": found.tables, "rows": found.rows, "undecided": list(found.undecided)}


def server_pid(directory: Path) -> int:
    """Of the server on a copy."""
    return int(_lines(directory)[0])


def segment(directory: Path) -> str | None:
    """Of the shared memory that the server on a copy has, or had when it was killed: its id."""
    with suppress(OSError, IndexError):
        return _lines(directory)[6].split()[1]
    return None


def release(segment: str) -> None:
    """Nobody is left who would: its server was killed."""
    process.run(("ipcrm", "--shmem-id", segment), timeout=10, cwd=Path("/"), check=False)


def _lines(directory: Path) -> list[str]:
    return (directory / "data" / "postmaster.pid").read_text().splitlines()
