"""Before production: the linter, the trial on a scratch database, and drift."""

from pathlib import Path

import psycopg
import pytest
from migrating import files, migrator, section

from homeport.database.migrations.drift import drift
from homeport.database.migrations.lint import beside_python, lint
from homeport.database.migrations.model import Direction, Goal, Options
from homeport.database.migrations.rules import refusal
from homeport.database.migrations.scratch import dump
from homeport.database.migrations.session import Target
from homeport.database.migrations.trial import trial
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
FIRST = (
    "1_a.sql",
    section(
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE VIEW v AS SELECT a FROM t;",
        "DROP TABLE t CASCADE;",
    ),
)


def scratches(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            "select count(*) from pg_database where datname like 'homeport_scratch_%'"
        ).fetchone()
    return int(row[0]) if row else -1


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        ("ALTER TABLE t ADD COLUMN b int;", set()),
        ("CREATE INDEX CONCURRENTLY i ON t (a);", set()),
        ("CREATE TABLE n (id bigint PRIMARY KEY);\nCREATE INDEX i ON n (id);", set()),
        ("CREATE INDEX i ON t (a);", {"require-concurrent-index-creation"}),
        ("ALTER TABLE t DROP COLUMN a;", {"ban-drop-column"}),
        ("ALTER TABLE t RENAME COLUMN a TO b;", {"renaming-column"}),
        ("ALTER TABLE t ALTER COLUMN id TYPE bigint;", {"changing-column-type"}),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL;", {"adding-not-nullable-field"}),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a <> '');", {"constraint-missing-not-valid"}),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a <> '') NOT VALID;", set()),
        ("DROP VIEW v;", {"ban-drop-view"}),
        ("-- squawk-ignore ban-drop-table\nDROP TABLE t;", {"ban-drop-table"}),
    ],
)
def test_what_blocks_or_breaks_is_found(sql: str, rules: set[str]) -> None:
    found = lint(files(("1_a.sql", section(sql))), program=beside_python())
    assert {f.rule for f in found if f.stops} == rules
    assert all(f.line >= 2 for f in found)


def test_a_finding_has_its_line_and_a_reason_allows_it() -> None:
    text = "-- a\n\n-- migrate:up\nSELECT 1;\n\nDROP TABLE t;\n"
    bare, allowed = (
        files(("1_a.sql", text)),
        files(("1_a.sql", "-- homeport:allow ban-drop-table because it is empty" + text[4:])),
    )
    found = [f for f in lint(bare, program=beside_python()) if f.stops]
    assert [(f.rule, f.line) for f in found] == [("ban-drop-table", 6)]
    assert refusal(lint(allowed, program=beside_python())) is None


def test_a_trial_tells_times_locks_rewrites_and_what_down_leaves(postgres: str) -> None:
    migrator(postgres).run(files(FIRST), Goal())
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("insert into t select g, repeat('x', 100) from generate_series(1, 5000) g")
        conn.execute("analyze t")
    all_ = files(
        FIRST,
        (
            "2_b.sql",
            section("ALTER TABLE t ALTER COLUMN id TYPE bigint;", "ALTER TABLE t ALTER COLUMN id TYPE int;"),
        ),
        ("3_c.sql", section("CREATE INDEX CONCURRENTLY i ON t (a);", "DROP INDEX CONCURRENTLY i;")),
        (
            "4_d.sql",
            section(
                "ALTER TABLE t ADD COLUMN b int; ALTER TABLE t ADD COLUMN c int;",
                "ALTER TABLE t DROP COLUMN b;",
            ),
        ),
    )
    before = dump(Target(postgres), Options(), PROGRAMS)
    target = Target(postgres)
    report = trial(target, target, all_, Goal(), Options(), RealClock(), programs=PROGRAMS)
    ways = [(t.version, t.direction) for t in report.tried]
    up = [("2", Direction.UP), ("3", Direction.UP), ("4", Direction.UP)]
    # The second up fails at the column that down left: it is told, see below.
    assert ways[:3] == up
    change = next(x for x in report.tried[0].touched if x.table == "public.t")
    assert change.rewritten and change.lock == "AccessExclusiveLock" and change.waits == "reads and writes"
    assert change.rows == 5000 and change.size > 500_000 and change.reckoned is not None
    assert [d.sentence for d in report.leavings] == ["column public.t.c is there, and no migration makes it"]
    assert report.failure is not None and "already exists" in report.failure.sentence
    assert scratches(postgres) == 0
    assert dump(Target(postgres), Options(), PROGRAMS) == before


def test_a_good_trial(postgres: str) -> None:
    all_ = files(
        FIRST, ("2_b.sql", section("ALTER TABLE t ADD COLUMN b int;", "ALTER TABLE t DROP COLUMN b;"))
    )
    migrator(postgres).run(all_[:1], Goal())
    target = Target(postgres)
    report = trial(target, target, all_, Goal(), Options(), RealClock(), programs=PROGRAMS)
    assert [(t.version, t.direction.value) for t in report.tried] == [("2", "up"), ("2", "down"), ("2", "up")]
    assert (report.leavings, report.unstable, report.without_down, report.failure) == ((), (), (), None)
    with psycopg.connect(postgres) as conn, pytest.raises(psycopg.errors.UndefinedColumn):
        conn.execute("select b from t")


def test_a_trial_of_what_fails_gives_its_error(postgres: str) -> None:
    target = Target(postgres)
    with pytest.raises(HomeportError) as caught:
        trial(
            target,
            target,
            files(("1_x.sql", section("DROP TABLE nope;"))),
            Goal(),
            Options(),
            RealClock(),
            programs=PROGRAMS,
        )
    assert caught.value.code == "database.migration_failed"
    assert scratches(postgres) == 0


KINDS = [
    ("column", "alter table t add column d int"),
    ("column", "alter table t alter column a set not null"),
    ("column", "alter table t alter column a set default 'x'"),
    ("column", "alter table n alter column b type text"),
    ("constraint", "alter table t add constraint c check (a <> '')"),
    ("index", "create index i on t (a)"),
    ("index", "drop index j"),
    ("view", "create or replace view v as select a || '' as a from t"),
    ("table", "create table x ()"),
    ("table", "alter table t enable row level security"),
    ("policy", "create policy p on t using (true)"),
    ("function", "create function f() returns int language sql return 1"),
    ("trigger", "alter table n disable trigger g"),
    ("enum", "alter type mood add value 'x'"),
    ("sequence", "alter sequence s increment 5"),
    ("schema", "create schema y"),
    ("domain", "create domain z as int"),
    ("extension", "create extension pgcrypto"),
]
RICH = (
    "2_b.sql",
    section(
        "CREATE TABLE n (b int); CREATE INDEX j ON n (b); CREATE TYPE mood AS ENUM ('a'); CREATE SEQUENCE s;\n"
        "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;\n"
        "CREATE TRIGGER g BEFORE INSERT ON n FOR EACH ROW EXECUTE FUNCTION tf();"
    ),
)


def test_drift_of_every_kind_is_found_and_nothing_else(postgres: str) -> None:
    target, clock = Target(postgres), RealClock()
    migrator(postgres).run(files(FIRST, RICH), Goal())
    assert drift(target, target, Options(), clock) == ()
    with psycopg.connect(postgres, autocommit=True) as conn:
        for _, text in KINDS:
            conn.execute(text.encode())
    found = {d.kind for d in drift(target, target, Options(), clock)}
    # An extension is the provisioning's: the scratch database is given it.
    assert found == {kind for kind, _ in KINDS} - {"extension"}
    assert scratches(postgres) == 0
