"""Dumps of databases that somebody else runs: made of one moment, and proven by restoring them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backup.files import commands, proving, stage, toc
from homeport.backup.files.errors import DUMP_FAILED, FULL, NOT_PROVEN, RESTORE_FAILED
from homeport.backup.files.manifest import Manifest, compare_rows
from homeport.backup.files.model import Made, dump_series
from homeport.backup.files.queries import ask
from homeport.backup.files.records import Proof
from homeport.backup.files.restic import OnProgress, silent
from homeport.backup.files.scratch_database import Scratch, connect, extend, scratch
from homeport.backup.files.service import FileBackups, OnMade
from homeport.backup.files.tables import rows_of
from homeport.database import refused
from homeport.kernel.clock import Clock
from homeport.kernel.errors import ErrorType, HomeportError
from homeport.kernel.masking import Masker
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import ProofQuery
from homeport.system import files, process

if TYPE_CHECKING:
    import psycopg

DUMP = "dump"
"""The directory in the stage, and in the snapshot."""
SILENT = 900.0
"""Seconds without a byte, after which a server counts as hanging."""
KEPT = 16_384


@dataclass(frozen=True, slots=True)
class Filled:
    """A database that was filled from a dump and has its rows."""

    manifest: Manifest
    left_out: tuple[str, ...]
    """What only a superuser makes, and rights that could not be given, as pg_restore names them."""


class Dumps:
    def __init__(self, backups: FileBackups, clock: Clock, *, jobs: int = 2) -> None:
        self._backups = backups
        self._layout = backups.layout
        self._clock = clock
        self._jobs = jobs

    # Making

    def backup(
        self,
        app: str,
        environment: str,
        database: str,
        url: Secret,
        programs: Path,
        *,
        on_progress: OnProgress = silent,
        on_made: OnMade = lambda _: None,
    ) -> tuple[Made, ...]:
        """Dump a database into every repository, with the rows of each table at the dump's moment.

        ``url`` leads to the server, or to a pooler that knows transactions; ``programs`` is where pg_dump is, which
        must be no older than the server. Raises ``backup.dump_failed``, ``.disk_full``, what connecting to an
        attached database may (``database.…``), and as :meth:`FileBackups.backup`.
        """
        series = dump_series(app, environment, database)
        with self._backups.alone(f"back up {series}"):
            try:
                tables = self._dump(series, url, programs)
                ready = stage.prepare_tree(self._layout, series, tables, self._clock)
                return self._backups.keep(ready, on_progress, on_made)
            finally:
                stage.clear(self._layout)

    def _dump(self, series: str, url: Secret, programs: Path) -> dict[str, int]:
        from homeport.database import attached

        parameters = attached.parameters(url)
        directory = stage.directory(self._layout)
        directory.mkdir(mode=0o700, parents=True)
        with attached.connect(url) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            row = connection.execute(
                "SELECT pg_export_snapshot(), pg_database_size(current_database())"
            ).fetchone()
            assert row is not None
            snapshot, size = str(row[0]), int(row[1])
            proving.check_room(directory, size, f"dump {series}")
            self._run(
                commands.pg_dump(programs, directory / DUMP, snapshot, self._jobs),
                parameters,
                f"dump {series}",
                DUMP_FAILED,
                growing=directory,
            )
            return rows_of(connection)

    # Proving

    def prove(
        self,
        repository: str,
        snapshot: str,
        admin: str,
        programs: Path,
        queries: Sequence[ProofQuery] = (),
    ) -> Proof:
        """Restore a dump into a scratch database and compare; all of it is gone afterwards.

        ``admin``: how the superuser of a cluster of ours reaches it, as libpq takes it. ``programs``: of that
        cluster's version or newer. Raises only what says that it could not be tried.
        """

        def look(manifest: Manifest, root: Path, steps: dict[str, float]) -> Sequence[str]:
            found = _dump_in(root)
            if found is None:
                return ("the dump is missing",)
            proving.check_room(root, manifest.bytes, f"prove {snapshot[:8]}")
            with scratch(admin) as database:
                return self._look(manifest, found, database, programs, queries, steps)

        with self._backups.alone(f"prove {snapshot[:8]}"):
            restic = self._backups.restic(repository)
            return self._backups.judge(restic, restic.snapshot(snapshot), look)

    def _look(
        self,
        manifest: Manifest,
        dump: Path,
        database: Scratch,
        programs: Path,
        queries: Sequence[ProofQuery],
        steps: dict[str, float],
    ) -> Sequence[str]:
        import psycopg

        try:
            with proving.step(steps, "load", self._clock):
                self._load(dump, database.owner, programs, lambda found: extend(database, found))
            with proving.step(steps, "rows", self._clock), connect(database.admin) as connection:
                wrong = compare_rows("dump", manifest.tables, rows_of(connection))
            with proving.step(steps, "queries", self._clock), connect(database.owner) as connection:
                return (*wrong, *ask(connection, queries))
        except HomeportError as e:
            if e.type is not RESTORE_FAILED:
                raise
            return (proving.told(e),)
        except psycopg.Error as e:
            return (_said(e),)

    # Counting

    def rows(self, url: Secret) -> dict[str, int]:
        """Of each table as it is now, by ``schema.name``."""
        from homeport.database import attached

        with attached.connect(url) as connection:
            return rows_of(connection)

    def rows_of(self, repository: str, snapshot: str) -> dict[str, int]:
        """Of each table as it was dumped."""
        restic = self._backups.restic(repository)
        return dict(restic.manifest(restic.snapshot(snapshot))[0].tables)

    # Restoring

    def restore(self, repository: str, snapshot: str, url: Secret, programs: Path) -> Filled:
        """Restore a dump into a database that is empty, as the role of ``url``, who has to be its owner.

        Raises ``backup.not_as_backed_up``, ``.restore_failed``, and as :meth:`FileBackups.restore`.
        """
        from homeport.database import attached

        parameters = attached.parameters(url)
        doing = f"restore {snapshot[:8]}"
        with self._fetched(doing, repository, snapshot) as (manifest, dump):
            with attached.connect(url) as connection:
                if rows := rows_of(connection):
                    raise RESTORE_FAILED.error(
                        f"cannot {doing} into {attached.where(parameters)}: it has {len(rows)} tables",
                        hint="restore into an empty database beside it",
                    )
            listed = self._load(dump, parameters, programs, lambda e: _extend(url, e))
            with attached.connect(url) as connection:
                wrong = compare_rows("dump", manifest.tables, rows_of(connection))
            if wrong:
                raise _not_same(doing, wrong)
            refused = self._give_rights(dump, listed.rights, parameters, programs)
            return Filled(manifest, (*listed.left_out, *refused))

    @contextmanager
    def unpacked(self, repository: str, snapshot: str, admin: str, programs: Path) -> Iterator[Scratch]:
        """A dump in a database of the time at a server of ours, compared with its manifest; gone afterwards.

        ``admin`` and ``programs`` as for :meth:`prove`. Raises as :meth:`restore`.
        """
        import psycopg

        doing = f"unpack {snapshot[:8]}"
        with self._fetched(doing, repository, snapshot) as (manifest, dump), scratch(admin) as database:
            try:
                self._load(dump, database.owner, programs, lambda found: extend(database, found))
                with connect(database.admin) as connection:
                    wrong = compare_rows("dump", manifest.tables, rows_of(connection))
            except psycopg.Error as e:
                raise RESTORE_FAILED.error(f"cannot {doing}: {_said(e)}") from e
            if wrong:
                raise _not_same(doing, wrong)
            yield database

    def take_schema(
        self, database: Scratch, schema: str, url: Secret, programs: Path, chosen: Callable[[str], str]
    ) -> None:
        """A schema out of :meth:`unpacked` into another database, with all rows. ``chosen`` picks from the contents
        what comes along. Raises ``backup.dump_failed``, ``.restore_failed``."""
        from homeport.database import attached

        parameters = attached.parameters(url)
        top = self._layout.scratch / "schema"
        files.remove_tree(top, within=self._layout.data)
        top.mkdir(mode=0o700, parents=True)
        dump = top / DUMP
        argv = commands.pg_dump_schema(programs, dump, schema, self._jobs)
        self._run(argv, database.owner, f"take {schema} out of the dump", DUMP_FAILED, growing=top)
        doing = f"bring {schema} beside"
        wanted = top / "chosen"
        wanted.write_text(chosen(self._run(commands.contents(programs, dump), {}, doing, RESTORE_FAILED)))
        argv = commands.pg_restore(programs, dump, wanted, str(parameters.get("dbname", "")), self._jobs)
        self._run(argv, parameters, doing, RESTORE_FAILED)

    @contextmanager
    def _fetched(self, doing: str, repository: str, snapshot: str) -> Iterator[tuple[Manifest, Path]]:
        """A dump in a directory, as it was made; gone afterwards."""
        with self._backups.alone(doing), ExitStack() as stack:
            restic = self._backups.restic(repository)
            found = restic.snapshot(snapshot)
            tree = self._layout.scratch / found.id[:12]
            stack.callback(files.remove_tree, tree, within=self._layout.data)
            manifest, _ = restic.manifest(found)
            tree.mkdir(mode=0o700, parents=True)
            proving.check_room(tree, manifest.bytes, doing)
            restic.restore(found.id, tree, manifest.bytes)
            wrong = proving.differences(manifest, tree)
            dump = _dump_in(tree)
            if wrong or dump is None:
                raise _not_same(doing, wrong or ("the dump is missing",))
            yield manifest, dump

    def _give_rights(
        self, dump: Path, lines: str, parameters: Mapping[str, Any], programs: Path
    ) -> tuple[str, ...]:
        """Who may do what in a database that was loaded; what of it could not be given."""
        if not lines:
            return ()
        chosen = dump.parent / "chosen"
        chosen.write_text(lines)
        argv = commands.pg_rights(programs, dump, chosen, str(parameters.get("dbname", "")))
        try:
            self._run(argv, parameters, "give the rights of the dump", RESTORE_FAILED)
        except HomeportError as e:
            if e.type is not RESTORE_FAILED:
                raise
            return tuple(line for line in e.details if "error:" in line) or (e.sentence,)
        return ()

    def _load(
        self,
        dump: Path,
        parameters: Mapping[str, Any],
        programs: Path,
        make_extensions: Callable[[tuple[tuple[str, str], ...]], None],
    ) -> toc.Contents:
        """Raises ``backup.restore_failed``, and what ``make_extensions`` does."""
        doing = "load the dump"
        listed = self._run(commands.contents(programs, dump), {}, doing, RESTORE_FAILED)
        chosen = dump.parent / "chosen"
        extensions: tuple[tuple[str, str], ...] = ()
        wanted = toc.contents(listed).extensions
        if wanted:
            chosen.write_text(wanted)
            text = self._run(commands.as_sql(programs, dump, chosen), {}, doing, RESTORE_FAILED)
            extensions = toc.extensions(text)
            make_extensions(extensions)
        found = toc.contents(listed, frozenset(schema for _, schema in extensions))
        chosen.write_text(found.rest)
        argv = commands.pg_restore(programs, dump, chosen, str(parameters.get("dbname", "")), self._jobs)
        self._run(argv, parameters, doing, RESTORE_FAILED)
        return found

    # Running programs

    def _run(
        self,
        argv: Sequence[str],
        parameters: Mapping[str, Any],
        doing: str,
        fails: ErrorType,
        *,
        growing: Path | None = None,
    ) -> str:
        """``growing``: a directory that a program writes to; one that stops doing so for long has failed."""
        kept = bytearray()
        whole = argv[1:2] == ("--list",) or "--file=-" in argv
        size = -1
        moved = looked = self._clock.monotonic()

        def output(chunk: bytes) -> None:
            kept.extend(chunk)
            if not whole:
                del kept[:-KEPT]

        def poll() -> str | None:
            nonlocal size, moved, looked
            now = self._clock.monotonic()
            if growing is None or now - looked < 5:
                return None
            looked = now
            if (found := files.tree_bytes(growing)) != size:
                size, moved = found, now
            return "stalled" if now - moved > SILENT else None

        env = commands.pg_environment(parameters) | {
            process.OWNER: str(self._layout.data),
            process.INSTANCE: self._layout.mark,
        }
        try:
            status, reason = process.stream(
                argv, timeout=float("inf"), cwd=Path("/"), env=env, on_output=output, poll=poll
            )
        except OSError as e:
            raise fails.error(f"cannot {doing}: {argv[0]}: {e.strerror}") from e
        said = kept.decode("utf-8", "replace")
        if reason is None and status == 0:
            return said
        password = str(parameters.get("password") or "")
        masked = Masker([password]).mask_text(said) if password else said
        lines = refused.lines_of(masked, cut=not whole and len(kept) >= KEPT)[-6:]
        if "No space left on device" in said:
            raise FULL.error(f"cannot {doing}: the disk is full", details=lines)
        name = next((Path(a).name for a in argv if "pg_" in Path(a).name), argv[0])
        why = (
            f"{name} ended with status {status}"
            if reason is None
            else f"no byte came for {SILENT / 60:g} min"
        )
        raise fails.error(
            f"cannot {doing}: {why}",
            hint="pg_dump and pg_restore must be no older than the server",
            details=lines,
        )


def _said(error: psycopg.Error) -> str:
    return refused.why(error)


def _extend(url: Secret, extensions: tuple[tuple[str, str], ...]) -> None:
    from psycopg import sql

    from homeport.database import attached

    with attached.connect(url) as connection:
        for name, schema in extensions:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            connection.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}").format(
                    sql.Identifier(name), sql.Identifier(schema)
                )
            )


def _dump_in(root: Path) -> Path | None:
    found = sorted(root.glob(f"**/{DUMP}/toc.dat"))
    return found[0].parent if found else None


def _not_same(doing: str, wrong: tuple[str, ...]) -> HomeportError:
    return NOT_PROVEN.error(f"cannot {doing}: what came out is not what was backed up", details=wrong)
