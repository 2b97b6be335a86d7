"""SQL as SQLite's shell would split it, and migration files with it."""

import pytest

from homeport.database.migrations.model import Lone
from homeport.database.sqlite.files import parse_all
from homeport.database.sqlite.model import Place, place
from homeport.database.sqlite.statements import split
from homeport.kernel.errors import HomeportError
from homeport.spec.model import Storage
from homeport.spec.model_database import Database

TRIGGER = """create temp trigger t after insert on a begin
  update a set x = case when 1 then ';' else 2 end;
  select 1;
end"""


@pytest.mark.parametrize(
    ("body", "statements"),
    [
        ("", []),
        (" ; ;\n-- only a comment; \n/* and ; another", []),
        ("select 1", [("select 1", 7)]),
        ("\nselect 1;\nselect 2 ;", [("select 1", 8), ("select 2", 9)]),
        ("-- a;\n/* b;\n */ select ';', \"a;b\", `;`, [;], 'it''s;' -- c;\n, 2;select 3",
         [("select ';', \"a;b\", `;`, [;], 'it''s;' -- c;\n, 2", 9), ("select 3", 10)]),
        (f"{TRIGGER};\nselect 1;", [(TRIGGER, 7), ("select 1", 11)]),
        ("create table trigger_begin (x); create view v as select 1 end;",
         [("create table trigger_begin (x)", 7), ("create view v as select 1 end", 7)]),
        ("select 'not closed; select 2", [("select 'not closed", 7), ("select 2", 7)]),
    ],
)  # fmt: skip
def test_statements_and_their_lines(body: str, statements: list[tuple[str, int]]) -> None:
    assert [(s.text, s.line) for s in split("1.sql", body, 7)] == statements


@pytest.mark.parametrize(
    ("body", "why"),
    [
        *((f"select 1;\n{word}", "line 8 begins or ends a transaction, and each file runs in one of its own")
          for word in ("begin", "COMMIT", "end transaction", "rollback to x", "savepoint x", "release x")),
        *((text, "line 7 reaches another file") for text in ("attach 'x' as y", "detach y", "vacuum main into 'x'")),
        *((text, "line 7 changes how the database works, which Homeport looks after")
          for text in ("pragma journal_mode = delete", "PRAGMA main.synchronous=off", "pragma writable_schema(1)",
                       "pragma", "pragma 'journal_mode'")),
        (".read x", "line 7 is a command of SQLite's shell, which does not run here"),
        ("select 1; vacuum", "line 7 cannot run in a transaction and does not stand alone"),
    ],
)  # fmt: skip
def test_what_a_migration_may_not_hold(body: str, why: str) -> None:
    with pytest.raises(HomeportError) as caught:
        split("1.sql", body, 7)
    assert caught.value.code == "database.migration_invalid"
    assert caught.value.sentence == f"cannot use 1.sql: {why}"


@pytest.mark.parametrize(
    "pragma", ["pragma foreign_keys=off", "PRAGMA main.user_version = 3", "pragma OPTIMIZE"]
)
def test_pragmas_about_what_is_in_the_database(pragma: str) -> None:
    [statement] = split("1.sql", pragma, 1)
    assert (statement.text, statement.lone) == (pragma, None)


def test_vacuum_stands_alone() -> None:
    [statement] = split("1.sql", "vacuum;", 1)
    assert statement.lone is Lone.REPEATABLE


def test_a_file_of_sqlites_sql() -> None:
    text = (
        "-- migrate:up\n-- homeport:contract\ncreate table a (x integer primary key autoincrement) strict;\n"
        f"{TRIGGER};\n-- migrate:down\ndrop table a;\n"
    )
    [migration] = parse_all([("20260101000000_add_a.sql", text.replace("\n", "\r\n").encode())])
    assert (migration.version, migration.description, migration.contract) == ("20260101000000", "add a", True)
    assert migration.source == text
    assert [(s.line, s.text.split()[0]) for s in migration.up.statements] == [(3, "create"), (4, "create")]
    assert migration.down is not None
    assert [(s.line, s.text) for s in migration.down.statements] == [(9, "drop table a")]


@pytest.mark.parametrize(
    ("text", "has_down"),
    [
        ("-- migrate:up\nselect 1;", False),
        ("-- migrate:up\nselect 1;\n-- migrate:down\n", False),
        ("-- migrate:up\n\n-- migrate:down\n", True),
        ("-- migrate:up\nselect 1;\n-- migrate:down\nselect 2", True),
    ],
)
def test_an_empty_down_section_is_none(text: str, has_down: bool) -> None:
    [migration] = parse_all([("1_a.sql", text.encode())])
    assert (migration.down is not None) == has_down


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.sql", b"-- migrate:up\n"),
        ("1_a.sql", b""),
        ("1_a.sql", b"select 1"),
        ("1_a.sql", b"select 1;\n-- migrate:up\nselect 2"),
        ("1_a.sql", "-- migrate:up\nselect 1".encode("utf-16")),
        ("1_a.sql", "-- migrate:up\nselect 1".encode("utf-16-le")),
        ("1_a.sql", b"-- migrate:up\nselect '\xff'"),
        ("1_a.sql", b"-- migrate:up\n-- homeport:allow x\nselect 1"),
        ("1_a.sql", b"-- migrate:up\nselect 1;\n-- migrate:up\n"),
        ("1_a.sql", b"-- migrate:up\n" + b"x" * 10_000_000),
        ("1_a.sql", b"-- migrate:up\ncommit;"),
    ],
)
def test_a_file_that_is_none_is_refused(name: str, raw: bytes) -> None:
    with pytest.raises(HomeportError) as caught:
        parse_all([(name, raw)])
    assert caught.value.code == "database.migration_invalid"


def test_the_problems_of_all_files_are_told_at_once() -> None:
    with pytest.raises(HomeportError) as caught:
        parse_all([("1_a.sql", b"-- migrate:up\ncommit"), ("2_b.sql", b"-- migrate:up\nattach 'x' as y")])
    assert caught.value.details == (
        "cannot use 1_a.sql: line 2 begins or ends a transaction, and each file runs in one of its own",
        "cannot use 2_b.sql: line 2 reaches another file",
    )


def test_a_million_semicolons_are_read_in_a_moment() -> None:
    text = "insert into a values ('" + ";" * 1_000_000 + "');" + "select 1;" * 20_000
    assert len(split("1.sql", text, 1)) == 20_001


def test_the_place_of_a_database_in_storage() -> None:
    storage = (Storage("a", "var"), Storage("data", "var2/data"))
    assert place(Database("main", path="var2/data/x/shop.db"), storage) == Place("data", "x/shop.db")
    with pytest.raises(ValueError):
        place(Database("main", path="var2/database.db"), storage)
