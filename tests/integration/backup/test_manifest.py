"""What was in a cluster whose databases come and go meanwhile."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from hurried import Hurried
from postgres import Postgres

from homeport.backup.physical import manifest
from homeport.backup.physical.manifest import Manifest, take
from homeport.database.connect import Connection, not_answering
from homeport.kernel.errors import HomeportError


class Server:
    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.before: Callable[[str], None] = lambda _: None
        """Called with a database's name before it is connected to."""

    @contextmanager
    def connect(self, name: str) -> Iterator[Connection]:
        self.before(name)
        try:
            connection = psycopg.connect(self.server.dsn(name), autocommit=True)
        except psycopg.OperationalError as e:
            raise not_answering("postgresql.main", e) from None
        with connection:
            yield connection

    def sql(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.server.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def make(self, *names: str) -> None:
        for name in names:
            self.sql(f"CREATE DATABASE {name}")
            self.sql("CREATE TABLE orders AS SELECT generate_series(1, 10) AS id", database=name)

    def take(self) -> Manifest:
        return take(self.connect, "homeport_test", Hurried())


@pytest.fixture(scope="module")
def started() -> Iterator[Postgres]:
    with Postgres(settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def server(started: Postgres) -> Iterator[Server]:
    it = Server(started)
    it.make("shop", "going")
    try:
        yield it
    finally:
        with psycopg.connect(started.dsn(), autocommit=True) as connection:
            for name in manifest.databases(connection):
                if name != "postgres":
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def read(found: Manifest) -> list[str]:
    return sorted(t.database for t in found.tables)


def at_reading(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have it done just before the tables of the database ``going`` are read."""
    before = manifest._read

    def reading(connection: Connection, database: str, whole: int) -> Any:
        if database == "going":
            act()
        return before(connection, database, whole)

    monkeypatch.setattr(manifest, "_read", reading)


def test_databases_of_trials_and_proofs_are_left_out(server: Server) -> None:
    server.make(
        "homeport_scratch_1795258800_0a1b2c3d", "homeport_proof_0a1b2c3d4e5f", "homeport_scratch_production"
    )
    assert read(server.take()) == ["going", "homeport_scratch_production", "shop"]


def test_one_that_is_dropped_before_it_is_looked_into_is_none(server: Server) -> None:
    def drop(name: str) -> None:
        if name == "going":
            server.sql("DROP DATABASE IF EXISTS going")

    server.before = drop
    found = server.take()
    assert (read(found), found.skipped) == (["shop"], ())


def test_one_that_is_dropped_while_it_is_read_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_reading(monkeypatch, lambda: server.sql("DROP DATABASE going WITH (FORCE)"))
    found = server.take()
    assert (read(found), found.skipped) == (["shop"], ("database going",))


def test_one_that_gives_its_name_to_another_while_it_is_read_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.make("fresh")
    ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN ('going', 'fresh')"
    renamed = "ALTER DATABASE going RENAME TO former", "ALTER DATABASE fresh RENAME TO going"
    at_reading(monkeypatch, lambda: server.sql(ended, *renamed))
    found = server.take()
    assert {"database going"} <= set(found.skipped) <= {"database going", "database fresh"}
    assert "going" not in read(found) and "shop" in read(found)


def test_an_attempt_is_given_up_though_one_was_dropped_in_it(server: Server) -> None:
    """It found a transaction under way: the next lists anew what there is."""

    class Dropping(Hurried):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            server.sql("DROP DATABASE IF EXISTS going WITH (FORCE)")

    with psycopg.connect(server.server.dsn("shop")) as writing:
        writing.execute("INSERT INTO orders VALUES (11)")
        server.sql("CREATE TABLE later ()", "DROP TABLE later")
        found = take(server.connect, "homeport_test", Dropping())
    assert (read(found), found.skipped) == (["shop"], ())


def test_one_that_is_there_and_does_not_answer_fails_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'going'"
    at_reading(monkeypatch, lambda: server.sql(ended))
    with pytest.raises(psycopg.errors.AdminShutdown):
        server.take()

    def fail(name: str) -> None:
        if name == "going":
            raise not_answering("postgresql.main", RuntimeError("no"))

    server.before = fail
    with pytest.raises(HomeportError, match="cannot reach"):
        server.take()
