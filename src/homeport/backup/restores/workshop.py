"""A restored copy of a cluster, and what is taken out of it: within a child, under a mark of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeport.backup.physical.copy import Copy
from homeport.backup.physical.pgbackrest import PgBackRest
from homeport.backup.physical.place import Place as CopyPlace
from homeport.backup.restores import commands
from homeport.backup.restores.errors import PROGRAM_FAILED
from homeport.backup.toolbox import Toolbox
from homeport.database import machine, refused
from homeport.database.commands import as_user
from homeport.system import files, process

MARK = "restored"
DUMP = "dump"
LONG = 24 * 3600.0


class _Program(PgBackRest):
    """What it starts carries another mark than proofs do: they end what one of them left behind, and this is not."""

    def environment(self, what: str) -> dict[str, str]:
        return super().environment(MARK)


class Workshop:
    def __init__(self, box: Toolbox, cluster: str, run: str) -> None:
        self._box = box
        self.cluster = box.cluster(cluster)
        self.layout = box.clusters.layout(cluster)
        self.name = run
        self.directory = CopyPlace(self.layout, run).restored
        self._program = _Program(box.data_dir, cluster, box.repositories.for_clusters(), box.clock)
        self._user = machine.user()
        _, self.programs = machine.programs(self.cluster.version)
        self.jobs = max(2, min(4, process.cores()))

    @contextmanager
    def copy(self) -> Iterator[Copy]:
        """The restored copy, with a server on it. What a caller that was killed left running is ended first."""
        self.end()
        copy = Copy(self._program, self.directory, self.cluster.version, self._box.clock, throwaway=False)
        try:
            copy.start()
            yield copy
        finally:
            copy.end()

    def end(self) -> None:
        """Nothing of the run's works on the copy any more."""
        self._program.end_left_over(MARK)

    # Programs

    def dump(self, database: str, schema: str | None = None) -> Path:
        into = self.directory / DUMP
        files.remove_tree(into, within=self.directory)
        argv = commands.dump(self.programs, self.directory, database, into, self.jobs, schema)
        self._run(argv, f"take {database} out of the copy")
        return into

    def load(self, dump: Path, database: str, *, chosen: str | None = None) -> None:
        """Into a database of the cluster that serves."""
        lines = None
        if chosen is not None:
            lines = self.directory / "chosen"
            files.write_atomic(lines, chosen, mode=0o644)
        argv = commands.restore(
            self.programs, dump, self.layout.sockets, self.cluster.port, database, self.jobs, lines
        )
        self._run(argv, f"fill {database}")

    def contents(self, dump: Path) -> str:
        return self._run(commands.contents(self.programs, dump), "list what the copy holds")

    def _run(self, argv: tuple[str, ...], doing: str) -> str:
        ran = process.run(
            as_user(argv, self._user),
            timeout=LONG,
            cwd=Path("/"),
            env=self._program.environment(MARK),
            check=False,
        )
        if not ran.ok:
            lines = refused.lines_of(ran.stderr)
            raise PROGRAM_FAILED.error(
                f"cannot {doing}: {Path(argv[0]).name} ended with status {ran.returncode}", details=lines[-8:]
            )
        return ran.stdout
