"""What is asked of a schema, as a child does it; and that what is tried comes nowhere else."""

import base64
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from homeport.database.migrations.errors import TRIAL_FAILED
from homeport.database.works import WORKS
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

FIRST = (
    "1_a.sql",
    "-- migrate:up\nCREATE TABLE t (id int PRIMARY KEY, a text);\n-- migrate:down\nDROP TABLE t;\n",
)
ADD = (
    "2_b.sql",
    "-- migrate:up\nALTER TABLE t ADD COLUMN b int;\n-- migrate:down\nALTER TABLE t DROP COLUMN b;\n",
)


class Database:
    """One of a role of its own, which the superuser looks after: as Homeport provisions it."""

    def __init__(self, admin: str) -> None:
        self.admin = admin
        self.name = psycopg.conninfo.conninfo_to_dict(admin)["dbname"]
        self.url = admin.replace("user=postgres", f"user=o_{self.name}")

    def request(self, *files: tuple[str, str], **more: Any) -> dict[str, Any]:
        coded = [[name, base64.b64encode(text.encode()).decode()] for name, text in files]
        place = {"engine": "postgresql", "url": self.url, "admin": self.admin, "options": {}}
        return {**place, "files": coded, "goal": {}, **more}

    def do(self, work: str, *files: tuple[str, str], **more: Any) -> Any:
        return WORKS[work](self.request(*files, **more), lambda kind, values: None, RealClock())

    def left(self) -> list[str]:
        with psycopg.connect(self.admin) as conn:
            found = conn.execute(
                "select datname from pg_database where datname like 'homeport_scratch_%' "
                "union all select rolname from pg_roles where rolname like 'homeport_scratch_%'"
            )
            return [name for (name,) in found.fetchall()]


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    made = Database(postgres)
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"create role o_{made.name} login")
        conn.execute(f"alter database {made.name} owner to o_{made.name}")
        conn.execute(f"revoke connect on database {made.name} from public")
    yield made
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"reassign owned by o_{made.name} to postgres")
        conn.execute(f"drop owned by o_{made.name}")
        conn.execute(f"drop role o_{made.name}")


def test_a_plan_is_the_sql_that_would_run(database: Database) -> None:
    found = database.do("plan", FIRST, ADD)
    assert [(s["act"], s["version"], s["direction"]) for s in found["steps"]] == [
        ("run", "1", "up"),
        ("run", "2", "up"),
    ]
    assert "ALTER TABLE t ADD COLUMN b int;" in found["sql"] and found["sql"].count("BEGIN;") == 2
    database.do("migrate", FIRST, ADD)
    assert database.do("plan", FIRST, ADD) == {"steps": [], "sql": ""}
    back = database.do("plan", FIRST, ADD, goal={"direction": "down"}, steps=1)
    assert [(s["version"], s["direction"], s["statements"]) for s in back["steps"]] == [
        ("2", "down", ["ALTER TABLE t DROP COLUMN b"])
    ]


def test_counting_back_on_an_empty_database_is_nothing(database: Database) -> None:
    assert database.do("plan", FIRST, goal={"direction": "down"}, steps=3)["steps"] == []


@pytest.mark.parametrize("work", ["plan", "migrate"])
@pytest.mark.parametrize(("direction", "to"), [("up", "3"), ("down", "3"), ("up", "0")])
def test_a_version_that_is_none_means_neither_all_nor_nothing(
    database: Database, work: str, direction: str, to: str
) -> None:
    database.do("migrate", FIRST)
    with pytest.raises(HomeportError, match=f"cannot migrate {direction} to {to}: no migration has"):
        database.do(work, FIRST, ADD, goal={"direction": direction, "to": to})
    assert database.do("migrate", FIRST, ADD, goal={"to": "2"})["applied"] == ["1", "2"]
    assert database.do("migrate", FIRST, ADD, goal={"direction": "down", "to": "0"})["applied"] == []


def test_drift_that_cannot_be_looked_for_is_said_beside_the_trial(database: Database) -> None:
    database.do("migrate", FIRST, ADD)
    with psycopg.connect(database.admin) as conn:
        conn.execute("update homeport_migrations set source = '-- migrate:up\nnot sql;' where version = '1'")
    found = database.do("trial", FIRST, ADD, ("3_c.sql", "-- migrate:up\nCREATE TABLE c (id int);\n"))
    assert [p["sentence"][:24] for p in found["problems"]] == ["cannot look for drift: c"]
    assert database.left() == []


def test_verify_shows_what_somebody_changed_by_hand(database: Database) -> None:
    database.do("migrate", FIRST)
    assert database.do("verify", FIRST) == {"differences": []}
    with psycopg.connect(database.admin, autocommit=True) as conn:
        conn.execute("alter table t add column stray int")
        conn.execute("create schema homeport")
        conn.execute("create table homeport.heartbeat (at timestamptz)")
        conn.execute("create schema restored_20261121t163000")  # homeport restore --table
        conn.execute("create table restored_20261121t163000.t (id serial primary key, a text)")
    [found] = database.do("verify", FIRST)["differences"]
    assert found["sentence"] == "column public.t.stray is there, and no migration makes it"
    assert "+integer" in found["diff"] and database.left() == []


def test_a_repair_is_proposed_and_then_done(database: Database) -> None:
    database.do("migrate", FIRST)
    edited = (FIRST[0], FIRST[1].replace("a text", "a text "))
    proposed = database.do("repair", edited)
    assert [r["act"] for r in proposed["repairs"]] == ["accept"] and proposed["done"] is False
    with pytest.raises(HomeportError, match="changed since"):
        database.do("repair", FIRST, agreed=proposed["repairs"])
    assert database.do("repair", edited, agreed=proposed["repairs"])["done"] is True
    assert database.do("repair", edited)["repairs"] == []


def test_a_dump_is_of_the_schema_and_nothing_of_ours(database: Database) -> None:
    database.do("migrate", FIRST)
    before = database.do("dump")["sql"]
    with psycopg.connect(database.admin, autocommit=True) as conn:
        conn.execute("create schema homeport")
        conn.execute("create extension pg_stat_statements schema homeport")
        conn.execute("create role somebody_else")
        conn.execute("grant select on t to somebody_else")
    try:
        assert database.do("dump")["sql"] == before
        assert "CREATE TABLE public.t" in before and "homeport" not in before
    finally:
        with psycopg.connect(database.admin, autocommit=True) as conn:
            conn.execute("drop owned by somebody_else")
            conn.execute("drop role somebody_else")


def test_lint_looks_at_what_is_pending(database: Database) -> None:
    drop = ("3_c.sql", "-- migrate:up\nDROP TABLE t;\n")
    database.do("migrate", FIRST)
    found = database.do("lint", FIRST, drop)
    assert found["files"] == ["3_c.sql"]
    assert [(f["rule"], f["line"], f["stops"]) for f in found["findings"]] == [("ban-drop-table", 2, True)]
    alone = {"engine": "postgresql", "files": database.request(FIRST, drop)["files"]}
    assert WORKS["lint"](alone, lambda kind, values: None, RealClock())["files"] == ["1_a.sql", "3_c.sql"]


def test_a_trial_reports_and_leaves_nothing(database: Database) -> None:
    database.do("migrate", FIRST)
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("insert into t select g from generate_series(1, 1000) g")
        conn.execute("analyze t")
    contract = ("3_c.sql", "-- homeport:contract\n-- migrate:up\nALTER TABLE t DROP COLUMN a;\n")
    found = database.do("trial", FIRST, ADD, contract)
    assert [(m["filename"], m["contract"]) for m in found["pending"]] == [
        ("2_b.sql", False),
        ("3_c.sql", True),
    ]
    assert found["failure"] is None and found["problems"] == [] and found["drift"] == []
    touched = found["tried"][0]["touched"][0]
    assert (touched["table"], touched["rows"], touched["waits"]) == ("public.t", 1000, "reads and writes")
    assert found["without_down"] == ["2_b.sql", "3_c.sql"]
    assert database.left() == []


def test_a_trial_that_fails_tells_the_rest_all_the_same(database: Database) -> None:
    database.do("migrate", FIRST)
    found = database.do("trial", FIRST, ("2_x.sql", "-- migrate:up\nDROP TABLE nope;\n"))
    assert "nope" in found["failure"]["sentence"] and found["tried"] == []
    assert [f["rule"] for f in found["findings"]] == ["ban-drop-table"]
    assert database.left() == []


def test_without_a_database_to_try_it_in_that_is_a_note_and_no_failure(database: Database) -> None:
    """As an attached one, whose login makes no others."""
    database.do("migrate", FIRST)
    found = database.do("trial", FIRST, ADD, admin=database.url)
    assert found["failure"] is None and "cannot make a scratch database" in found["note"]
    [problem] = found["problems"]
    assert problem["sentence"] == found["note"] and "CREATEDB" in problem["hint"]
    with pytest.raises(HomeportError) as refused:
        database.do("verify", FIRST, ADD, admin=database.url)
    assert refused.value.type is TRIAL_FAILED


@pytest.mark.parametrize(
    "escape",
    [
        # Said outright it is refused before it runs.
        "DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'CREATE ROLE intruder SUPERUSER'; END $$;",
        "DO $$ BEGIN EXECUTE 'SET ROLE postgres'; END $$;",
        "COPY t TO PROGRAM 'cat';",
        "CREATE EXTENSION dblink;",
    ],
)
def test_what_is_tried_has_no_rights_beyond_its_own_database(database: Database, escape: str) -> None:
    database.do("migrate", FIRST)
    found = database.do("trial", FIRST, ("2_x.sql", f"-- migrate:up\n{escape}\n"))
    told = str(found["failure"])
    assert "permission denied" in told or "must be superuser" in told, told
    assert database.left() == []


def test_a_tool_is_tried_with_a_login_that_comes_nowhere_else(database: Database) -> None:
    database.do("migrate", FIRST)
    tool = {
        "directory": "/",
        "environment": {"PATH": "/usr/bin:/bin"},
        "variable": "DATABASE_URL",
        "timeout": 20,
    }
    command = 'psql "$DATABASE_URL" -qX -v ON_ERROR_STOP=1 -c "create table made (a int)"'
    found = database.do("trial-tool", command=command, **tool)
    assert found["failure"] is None, found
    assert "table public.made is there, and no migration makes it" in [
        c["sentence"] for c in found["changes"]
    ]
    elsewhere = f'psql "$DATABASE_URL dbname={database.name}" -qX -c "select 1"'
    refused = database.do("trial-tool", command=elsewhere, **tool)["failure"]
    assert "permission denied for database" in str(refused), refused
    assert database.left() == []


def test_a_tool_is_not_tried_with_the_credentials_of_the_real_database(database: Database) -> None:
    more = {"directory": "/", "environment": {}, "variable": "DATABASE_URL", "timeout": 20}
    with pytest.raises(HomeportError) as caught:
        database.do("trial-tool", command="true", url=database.admin, **more)
    assert caught.value.type is TRIAL_FAILED
