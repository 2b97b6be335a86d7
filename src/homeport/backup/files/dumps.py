"""Dumps of databases that somebody else runs: made of one moment, and proven by restoring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.backup.files import commands, proving, stage, toc
from homeport.backup.files.errors import DUMP_FAILED, FULL, NOT_PROVEN, RESTORE_FAILED
from homeport.backup.files.manifest import Manifest, compare_rows
from homeport.backup.files.model import Made, dump_series
from homeport.backup.files.queries import ask
from homeport.backup.files.records import Proof
from homeport.backup.files.restic import WORK, OnProgress, silent
from homeport.backup.files.scratch_database import Scratch, connect, extend, scratch
from homeport.backup.files.service import FileBackups, OnMade
from homeport.kernel.clock import Clock
from homeport.kernel.errors import ErrorType, HomeportError
from homeport.kernel.masking import Masker
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import ProofQuery
from homeport.system import files, process

if TYPE_CHECKING:
    from psycopg import Connection

DUMP = "dump"
"""The directory in the stage, and in the snapshot."""
SILENT = 900.0
"""Seconds without a byte, after which a server counts as hanging."""
KEPT = 16_384
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


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
            return _rows(connection)

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
                wrong = compare_rows("dump", manifest.tables, _rows(connection))
            with proving.step(steps, "queries", self._clock), connect(database.owner) as connection:
                return (*wrong, *ask(connection, queries))
        except HomeportError as e:
            if e.type is not RESTORE_FAILED:
                raise
            return (proving.told(e),)
        except psycopg.Error as e:
            return ((e.diag.message_primary or str(e) or type(e).__name__).strip().splitlines()[-1],)

    # Restoring

    def restore(self, repository: str, snapshot: str, url: Secret, programs: Path) -> Manifest:
        """Restore a dump into a database that is empty, as the role of ``url``, who has to be its owner.

        Raises ``backup.not_as_backed_up``, ``.restore_failed``, and as :meth:`FileBackups.restore`.
        """
        from homeport.database import attached

        parameters = attached.parameters(url)
        doing = f"restore {snapshot[:8]}"
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
            with attached.connect(url) as connection:
                if rows := _rows(connection):
                    raise RESTORE_FAILED.error(
                        f"cannot {doing} into {attached.where(parameters)}: it has {len(rows)} tables",
                        hint="restore into an empty database beside it",
                    )
            self._load(dump, parameters, programs, lambda e: _extend(url, e))
            with attached.connect(url) as connection:
                wrong = compare_rows("dump", manifest.tables, _rows(connection))
            if wrong:
                raise _not_same(doing, wrong)
            return manifest

    def _load(
        self,
        dump: Path,
        parameters: Mapping[str, Any],
        programs: Path,
        make_extensions: Callable[[tuple[tuple[str, str], ...]], None],
    ) -> None:
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
        chosen.write_text(toc.contents(listed, frozenset(schema for _, schema in extensions)).rest)
        argv = commands.pg_restore(programs, dump, chosen, str(parameters.get("dbname", "")), self._jobs)
        self._run(argv, parameters, doing, RESTORE_FAILED)

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
            process.INSTANCE: WORK,
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
        lines = [line for line in masked.splitlines() if line.strip()][-6:]
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


def _rows(connection: Connection[Any]) -> dict[str, int]:
    """Of each table, by ``schema.name``; of one that is inherited from, its own alone."""
    from psycopg import sql

    connection.execute("SET row_security = off")
    found = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        counted = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        row = connection.execute(counted).fetchone()
        found[f"{schema}.{name}"] = int(row[0]) if row else 0
    return found


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
