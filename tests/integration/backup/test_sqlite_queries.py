"""Queries of ``[backup.proof]`` to SQLite files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from homeport.backup.files import sqlite_queries
from homeport.backup.files.manifest import Database
from homeport.backup.files.sqlite_queries import Question, ask
from homeport.spec.model_backup import ProofQuery
from homeport.system.clock import RealClock

PATH = "storage/shop/production/data/orders.db"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "0.sqlite")) as db:
        db.executescript("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2)")
    return tmp_path


def asked(root: Path, query: str, expect: str = "", path: str = PATH) -> tuple[str, ...]:
    questions = [Question(path, ProofQuery("q", query, expect, "lite"))]
    return ask(questions, {PATH: Database("0.sqlite", 0o600, 0, 0, {})}, root, RealClock())


def test_an_answer_is_held_against_what_is_expected(root: Path) -> None:
    assert asked(root, "SELECT count(*) FROM orders") == asked(root, "SELECT max(id) FROM orders", "2") == ()
    assert asked(root, "SELECT max(id) FROM orders", "3") == ("q: 2 instead of 3",)
    assert asked(root, "SELECT id FROM orders WHERE id > 9") == ("q: no row came",)
    assert asked(root, "SELECT count(*) FROM orders WHERE id > 9") == ("q: the first value is 0",)
    assert asked(root, "SELECT * FROM elsewhere") == ("q: no such table: elsewhere",)


def test_a_file_that_is_not_in_the_backup_is_named(root: Path) -> None:
    assert asked(root, "SELECT 1", path="storage/x.db") == (
        "q cannot be asked: storage/x.db is not in the backup",
    )


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM orders",
        "ATTACH '/etc/passwd' AS other",
        "VACUUM INTO '/tmp/copy-of-orders'",
        "PRAGMA user_version = 3",
        "SELECT load_extension('x')",
    ],
)
def test_it_only_reads(root: Path, query: str) -> None:
    assert "authoriz" in asked(root, query)[0]
    assert asked(root, "SELECT count(*) FROM orders", "2") == ()


def test_one_without_an_end_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_queries, "SECONDS", 0.1)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    assert asked(root, endless) == ("q: no answer within 0.1 s",)
