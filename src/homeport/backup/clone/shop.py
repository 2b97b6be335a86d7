"""What leaves a masked copy, and how it comes into the target's cluster: loaded by a login that owns the database and
is no superuser, since what an app has put into its schema runs meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from homeport.backup.clone.catalog import SIDE_PATTERN
from homeport.backup.clone.errors import CLONE_FAILED
from homeport.backup.files import toc
from homeport.backup.restores.workshop import DUMP, LONG, MARK, Workshop
from homeport.backup.toolbox import Toolbox
from homeport.database import machine, refused, roles
from homeport.database.commands import as_user
from homeport.database.connect import Connection, first_line
from homeport.database.model import SUPERUSER, Cluster, Provisioned
from homeport.journal.store import text_time
from homeport.system import files, process

VALID = timedelta(days=2)
SOME_CONNECTIONS = 12
"""While it is loaded."""
_LEFT_OUT = re.compile(
    r"\d+; \d+ \d+ (?:COMMENT - |ACL - |SECURITY LABEL - )?(?:USER MAPPING|SERVER|FOREIGN DATA WRAPPER|FOREIGN TABLE|"
    r"FOREIGN SERVER|BLOB|BLOBS|LARGE OBJECT) "
)
"""They lead to other servers, some of them with passwords, or are data that no mask reaches."""


def dump_argv(programs: Path, copy: Path, database: str, into: Path, jobs: int) -> tuple[str, ...]:
    return (
        str(programs / "pg_dump"), "--format=directory", "--compress=0", f"--jobs={jobs}", "--no-subscriptions",
        "--no-publications", "--no-blobs", "--no-tablespaces", "--exclude-schema=homeport",
        f"--exclude-schema={SIDE_PATTERN}", f"--file={into}", f"--host={copy}", "--port=5432",
        f"--username={SUPERUSER}", "--no-password", f"--dbname={database}",
    )  # fmt: skip


def load_argv(
    programs: Path, dump: Path, chosen: Path, port: int, user: str, role: str, database: str, jobs: int
) -> tuple[str, ...]:
    return (
        str(programs / "pg_restore"), "--format=directory", f"--use-list={chosen}", f"--jobs={jobs}",
        "--exit-on-error", "--no-owner", "--no-password", f"--role={role}", "--host=127.0.0.1", f"--port={port}",
        f"--username={user}", f"--dbname={database}", str(dump),
    )  # fmt: skip


def chosen(listed: str, schemas: Iterable[str]) -> str:
    """Lines of a dump's contents that an owner restores. ``schemas``: those that are there already."""
    rest = toc.contents(listed, frozenset(schemas)).rest
    return "".join(line for line in rest.splitlines(keepends=True) if _LEFT_OUT.match(line) is None)


class CloneShop(Workshop):
    def __init__(self, box: Toolbox, cluster: str, run: str) -> None:
        super().__init__(box, cluster, run)
        self._clock = box.clock

    def take_out(self, database: str, extensions: Iterable[tuple[str, str]]) -> None:
        files.write_atomic(self._extensions, json.dumps(list(extensions)), mode=0o600)
        into = self.directory / DUMP
        files.remove_tree(into, within=self.directory)
        self._run(
            dump_argv(self.programs, self.directory, database, into, self.jobs),
            f"take {database} out of the copy",
        )

    @property
    def _extensions(self) -> Path:
        return self.directory / "extensions.json"

    def extensions(self) -> list[tuple[str, str]]:
        """(name, schema) of those that were there."""
        return [(name, schema) for name, schema in files.read_json(self._extensions)]

    def put_in(
        self, admin: Connection, target: Cluster, row: Provisioned, database: str, schemas: Iterable[str]
    ) -> None:
        """Fill ``database``, which is empty. Raises ``backup.clone_failed``."""
        dump = self.directory / DUMP
        lines = self.directory / "chosen"
        files.write_atomic(lines, chosen(self.contents(dump), schemas), mode=0o644)
        _, programs = machine.programs(max(target.version, self.cluster.version))
        with self._login(admin, row) as (user, password):
            argv = load_argv(programs, dump, lines, target.port, user, row.owner, database, self.jobs)
            ran = process.run(
                as_user(argv, self._user),
                timeout=LONG,
                cwd=Path("/"),
                env=self._program.environment(MARK) | {"PGPASSWORD": password},
                check=False,
            )
        if not ran.ok:
            said = refused.lines_of(ran.stderr)
            raise CLONE_FAILED.error(
                f"cannot fill {database}: pg_restore ended with status {ran.returncode}", details=said[-8:]
            )

    @contextmanager
    def _login(self, admin: Connection, row: Provisioned) -> Iterator[tuple[str, str]]:
        name, password = self.login, roles.new_password()
        drop_login(admin, name)
        admin.execute(
            sql.SQL("CREATE ROLE {} NOLOGIN IN ROLE {} CONNECTION LIMIT {}").format(
                sql.Identifier(name), sql.Identifier(row.owner), sql.Literal(SOME_CONNECTIONS)
            )
        )
        roles.set_password(admin, name, password, until=text_time(self._clock.now() + VALID))
        try:
            yield name, password
        finally:
            drop_login(admin, name)

    @property
    def login(self) -> str:
        return f"homeport_clone_{self.name.removeprefix('b-')}"


def drop_login(admin: Connection, name: str) -> None:
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,))
    admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def prepare(
    inside: Connection, row: Provisioned, database: str, wanted: Iterable[tuple[str, str]]
) -> list[str]:
    """An empty database as its owner finds it, with the extensions of the source; returns schemas made for them."""
    statements = (
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {owner}",
        "ALTER SCHEMA public OWNER TO {owner}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "CREATE SCHEMA IF NOT EXISTS {own} AUTHORIZATION {superuser}",
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA {own}",
    )
    names = {
        "database": database,
        "owner": row.owner,
        "own": roles.SCHEMA,
        "superuser": SUPERUSER,
    }
    with inside.transaction():
        for statement in statements:
            inside.execute(
                sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
            )
    made = []
    for name, schema in wanted:
        if schema not in ("public", "pg_catalog"):
            made.append(schema)
        _extend(inside, row, name, schema)
    return made


def _extend(inside: Connection, row: Provisioned, name: str, schema: str) -> None:
    """By its owner where it is trusted, by the superuser where not. Raises ``backup.clone_failed``."""
    make = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {} CASCADE").format(
        sql.Identifier(name), sql.Identifier(schema)
    )
    if schema not in ("public", "pg_catalog"):
        inside.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                sql.Identifier(schema), sql.Identifier(row.owner)
            )
        )
    try:
        with inside.transaction():
            inside.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row.owner)))
            inside.execute(make)
    except psycopg.errors.InsufficientPrivilege:
        inside.execute(make)
    except psycopg.Error as e:
        raise CLONE_FAILED.error(f"cannot clone: extension {name} cannot be made: {first_line(e)}") from None
