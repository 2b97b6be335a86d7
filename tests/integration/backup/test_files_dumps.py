"""Dumps of attached databases, proven by restoring them into a cluster that is handed in."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from files_home import FilesHome
from postgres import PORT, PROGRAMS, Postgres

from homeport.backup.files.dumps import Dumps
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import ProofQuery

SCHEMA = """
CREATE ROLE app LOGIN PASSWORD 'hush-hush';
CREATE SCHEMA crm;
CREATE SCHEMA ext;
CREATE EXTENSION pgcrypto WITH SCHEMA ext;
CREATE EXTENSION pg_stat_statements;
CREATE TABLE crm.people (id int PRIMARY KEY, email text UNIQUE);
INSERT INTO crm.people SELECT n, n || '@example.com' FROM generate_series(1, 300) n;
CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO parts SELECT n, '2026-05-01' FROM generate_series(1, 40) n;
ALTER TABLE crm.people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted();
COMMENT ON EXTENSION pgcrypto IS 'ours';
CREATE VIEW many AS SELECT count(*) FROM parts;
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, str]]:
    """A cluster with the database "theirs", and its URL."""
    with Postgres(settings={"fsync": "off"}) as it:
        with psycopg.connect(it.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE theirs")
        with psycopg.connect(it.dsn("theirs"), autocommit=True) as connection:
            connection.execute(SCHEMA)
        host = quote(str(it.socket), safe="")
        yield it, f"postgresql://postgres:hush-hush@/theirs?host={host}&port={PORT}"


@pytest.fixture(scope="module")
def dumped(servers: tuple[Postgres, str]) -> Iterator[tuple[FilesHome, Dumps, str]]:
    home = FilesHome()
    try:
        home.backups.prepare()
        dumps = Dumps(home.backups, home.clock)
        [made] = dumps.backup("shop", "production", "theirs", Secret(servers[1]), PROGRAMS)
        assert made.series == "shop.production.theirs" and made.bytes > 1000
        yield home, dumps, made.snapshot
    finally:
        home.end()


def databases(server: Postgres) -> set[str]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        query = (
            "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"
        )
        return {name for (name,) in connection.execute(query)}


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def test_a_dump_is_proven_in_a_database_of_the_time(
    servers: tuple[Postgres, str], dumped: tuple[FilesHome, Dumps, str]
) -> None:
    server, _ = servers
    home, dumps, snapshot = dumped
    before = databases(server)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        # What a killed proof leaves.
        connection.execute("CREATE ROLE homeport_proof_0123456789ab")
        connection.execute("CREATE DATABASE homeport_proof_0123456789ab OWNER homeport_proof_0123456789ab")
    queries = [
        ProofQuery("all", "SELECT count FROM many", "40"),
        ProofQuery("some", "SELECT count(*) FROM parts"),
        ProofQuery("encrypted", "SELECT ext.digest('a', 'sha256') IS NOT NULL"),
    ]
    proof = dumps.prove("r1", snapshot, server.dsn(), PROGRAMS, queries)
    assert proof.failures == ()
    assert (proof.rows, proof.tables) == (340, 2)
    assert databases(server) == before and home.left() == []

    wrong = [
        ProofQuery("none", "SELECT 1 WHERE false"),
        ProofQuery("other", "SELECT count FROM many", "41"),
        ProofQuery("writing", "DELETE FROM parts"),
        ProofQuery("nothing", "SELECT id FROM parts WHERE id = 1 AND false UNION ALL SELECT 0"),
        ProofQuery("broken", "SELEKT"),
    ]
    proof = dumps.prove("r1", snapshot, server.dsn(), PROGRAMS, wrong)
    assert proof.failures == (
        "none: no row came",
        "other: 40 instead of 41",
        "writing: cannot execute DELETE in a read-only transaction",
        "nothing: the first value is 0",
        'broken: syntax error at or near "SELEKT"',
    )
    assert databases(server) == before


def test_rows_that_are_missing_fail_the_proof(
    servers: tuple[Postgres, str], dumped: tuple[FilesHome, Dumps, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from homeport.backup.files import dumps as module

    _, dumps, snapshot = dumped
    real = module.compare_rows
    monkeypatch.setattr(
        module, "compare_rows", lambda what, wanted, found: real(what, {**wanted, "crm.people": 301}, found)
    )
    proof = dumps.prove("r1", snapshot, servers[0].dsn(), PROGRAMS)
    assert proof.failures == ("dump: table crm.people has 300 rows instead of 301",)


def test_a_dump_is_restored_into_an_empty_database(
    servers: tuple[Postgres, str], dumped: tuple[FilesHome, Dumps, str]
) -> None:
    server, url = servers
    _, dumps, snapshot = dumped
    with refused("backup.restore_failed"):
        dumps.restore("r1", snapshot, Secret(url), PROGRAMS)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE beside")
    dumps.restore("r1", snapshot, Secret(url.replace("/theirs", "/beside")), PROGRAMS)
    with psycopg.connect(server.dsn("beside"), autocommit=True) as connection:
        assert connection.execute("SELECT count FROM many").fetchone() == (40,)


def test_what_cannot_be_dumped_or_proven_is_told_without_the_password(
    servers: tuple[Postgres, str], dumped: tuple[FilesHome, Dumps, str], tmp_path: Path
) -> None:
    _, url = servers
    home, dumps, snapshot = dumped
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "pg_dump: error: $PGPASSWORD" >&2\nexit 1\n')
    program.chmod(0o755)
    with refused("backup.dump_failed") as caught:
        dumps.backup("shop", "production", "theirs", Secret(url), tmp_path)
    assert "hush-hush" not in f"{caught.value.sentence}{caught.value.details}"
    with refused("database.no_database"):
        dumps.backup("shop", "production", "theirs", Secret(url.replace("/theirs", "/none")), PROGRAMS)
    with refused("backup.no_scratch_database"):
        dumps.prove("r1", snapshot, f"host={tmp_path} port=1 user=postgres dbname=postgres", PROGRAMS)
    assert home.left() == []
