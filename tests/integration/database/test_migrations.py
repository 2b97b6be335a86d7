"""Migrations on a real PostgreSQL: what runs, what is refused, what others notice."""

import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from migrating import files, migrator, section
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from homeport.database.migrations import repair
from homeport.database.migrations.directory import read
from homeport.database.migrations.model import Direction, Goal, Options, Progress
from homeport.database.migrations.plan import statuses
from homeport.database.migrations.restore_point import restore_point
from homeport.database.migrations.runner import PostgresMigrator
from homeport.database.migrations.session import LOCK, Target
from homeport.database.migrations.tools import run_tool
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

A = ("1_a.sql", section("CREATE TABLE t (id bigint PRIMARY KEY, a int);", "DROP TABLE t;"))
B = ("2_b.sql", section("INSERT INTO t VALUES (1, 1), (2, 1);", "DELETE FROM t;"))
INDEX = (
    "3_i.sql",
    section("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);", "DROP INDEX CONCURRENTLY i;"),
)
UNIQUE = ("4_u.sql", section("CREATE UNIQUE INDEX CONCURRENTLY u ON t (a);"))


def refused(call: Any, *args: Any, **kwargs: Any) -> HomeportError:
    with pytest.raises(HomeportError) as caught:
        call(*args, **kwargs)
    return caught.value


def one(dsn: str, text: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute(text.encode()).fetchone()
        return row[0] if row else None


def invalid(dsn: str) -> int:
    return int(one(dsn, "select count(*) from pg_index where not indisvalid"))


def test_up_and_down(postgres: str) -> None:
    all_ = files(A, B, INDEX)
    m = migrator(postgres, by="ana", release="r7")
    assert [d.version for d in m.run(all_, Goal())] == ["1", "2", "3"]
    assert m.run(all_, Goal()) == ()
    rows = m.look(all_).rows
    assert {(r.by, r.release, r.is_applied, r.running) for r in rows} == {("ana", "r7", True, None)}
    assert all(r.duration is not None for r in rows)
    assert [d.version for d in m.run(all_, Goal(Direction.DOWN, to="1"))] == ["3", "2"]
    assert [s.state for s in statuses(m.look(all_))] == ["applied", "rolled back", "rolled back"]
    assert one(postgres, "select count(*) from t") == 0
    assert [d.version for d in m.run(all_, Goal())] == ["2", "3"]


def test_a_failing_statement_leaves_nothing_and_says_where(postgres: str) -> None:
    bad = files(A, ("2_x.sql", section("INSERT INTO t VALUES (7, 7);\n\nALTER TABLE t\n  DROP COLUMN nope;")))
    m = migrator(postgres)
    error = refused(m.run, bad, Goal())
    assert error.code == "database.migration_failed"
    assert 'line 4: column "nope" of relation "t" does not exist' in error.sentence
    assert one(postgres, "select count(*) from t") == 0
    assert [s.state for s in statuses(m.look(bad))] == ["applied", "pending"]


def test_settings_that_a_file_leaves_do_not_reach_the_next(postgres: str) -> None:
    leaky = (
        "1_a.sql",
        section("SELECT set_config('search_path', '', false); SET lock_timeout = 0; SET work_mem = '1MB';"),
    )
    next_ = ("2_b.sql", section("CREATE TABLE t AS SELECT current_setting('lock_timeout') AS l;"))
    migrator(postgres, lock_timeout=1.5).run(files(leaky, next_), Goal())
    assert one(postgres, "select l from public.t") == "1500ms"


def test_a_failed_unique_index_leaves_no_trace(postgres: str) -> None:
    all_ = files(A, B, UNIQUE)
    m = migrator(postgres)
    error = refused(m.run, all_, Goal())
    assert error.code == "database.migration_failed" and "could not create unique index" in error.sentence
    assert invalid(postgres) == 0
    assert [s.state for s in statuses(m.look(all_))] == ["applied", "applied", "pending"]


def test_an_invalid_index_of_somebody_else_is_not_taken_for_one(postgres: str) -> None:
    """IF NOT EXISTS accepts it in silence."""
    m = migrator(postgres)
    m.run(files(A, B), Goal())
    with psycopg.connect(postgres, autocommit=True) as conn, pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("create unique index concurrently i on t (a)")
    assert invalid(postgres) == 1
    told: list[Progress] = []
    m.run(files(A, B, INDEX), Goal(), note=told.append)
    assert [p.text for p in told if p.kind == "cleaned"] == ["dropped the invalid index public.i"]
    assert invalid(postgres) == 0 and one(
        postgres, "select indisvalid from pg_index where indexrelid = 'i'::regclass"
    )


def test_batches_that_were_cut_off_wait_for_a_person(postgres: str) -> None:
    body = "DO $$ BEGIN INSERT INTO t VALUES (1, 1); COMMIT; INSERT INTO t VALUES (1, 1); END $$;"
    all_ = files(A, ("2_b.sql", f"-- migrate:up transaction:false\n{body}\n"))
    m = migrator(postgres)
    assert refused(m.run, all_, Goal()).code == "database.migration_failed"
    assert one(postgres, "select count(*) from t") == 1
    assert refused(m.run, all_, Goal()).code == "database.migration_unfinished"
    target, clock = Target(postgres), RealClock()
    agreed = repair.look(target, Options(), clock, all_, choice=repair.Choice.DONE)
    assert [r.act for r in agreed] == [repair.Act.DONE]
    repair.repair(target, Options(), clock, all_, agreed, choice=repair.Choice.DONE)
    assert m.run(all_, Goal()) == ()


def test_a_changed_file_is_refused_and_repair_takes_it(postgres: str) -> None:
    m = migrator(postgres)
    m.run(files(A), Goal())
    edited = files((A[0], A[1].replace("int", "bigint")))
    error = refused(m.run, edited, Goal())
    assert error.code == "database.migration_changed" and any(d.startswith("+CREATE") for d in error.details)
    target, clock = Target(postgres), RealClock()
    agreed = repair.look(target, Options(), clock, edited)
    assert (
        refused(repair.repair, target, Options(), clock, files(A), agreed).code
        == "database.migration_changed"
    )
    repair.repair(target, Options(), clock, edited, agreed)
    assert m.run(edited, Goal()) == ()


def test_a_dbmate_table_is_taken_over(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("create table schema_migrations (version varchar primary key)")
        conn.execute("insert into schema_migrations values ('1')")
        conn.execute("create table t (id bigint primary key, a int)")
    target, clock, all_ = Target(postgres), RealClock(), files(A, B)
    agreed = repair.look(target, Options(), clock, all_, adopt=True)
    repair.repair(target, Options(), clock, all_, agreed, adopt=True)
    assert [d.version for d in migrator(postgres).run(all_, Goal())] == ["2"]


def test_two_at_once_one_waits_or_is_refused(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK,))
        error = refused(migrator(postgres, wait_for_other=0.0).run, files(A), Goal())
        assert (
            error.code == "database.migration_locked"
            and f"process {other.info.backend_pid}" in error.details[0]
        )
        told: list[Progress] = []
        thread = threading.Thread(target=lambda: migrator(postgres).run(files(A), Goal(), note=told.append))
        thread.start()
        while not told:
            thread.join(0.02)
        other.execute("select pg_advisory_unlock(%s)", (LOCK,))
        thread.join(30)
    assert [p.kind for p in told] == ["waiting", "started", "statement", "applied"]


def test_two_real_ones_at_once_apply_each_file_once(postgres: str) -> None:
    """With CREATE INDEX CONCURRENTLY among them, which waits for every snapshot: no deadlock."""
    done: list[tuple[str, ...]] = []
    all_ = files(A, B, INDEX)
    threads = [
        threading.Thread(
            target=lambda: done.append(tuple(d.version for d in migrator(postgres).run(all_, Goal())))
        )
        for _ in range(3)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert sorted(done) == [(), (), ("1", "2", "3")]


def test_a_blocked_migration_lets_go_tries_again_and_succeeds(postgres: str) -> None:
    m = migrator(postgres, lock_timeout=0.1)
    m.run(files(A), Goal())
    told: list[Progress] = []
    with psycopg.connect(postgres) as holder:
        holder.execute("select * from t")

        def note(progress: Progress) -> None:
            told.append(progress)
            if [p.kind for p in told].count("retry") == 2:
                holder.rollback()

        done = m.run(files(A, ("2_x.sql", section("ALTER TABLE t ADD COLUMN b int;"))), Goal(), note=note)
    assert done[0].attempts >= 3


def test_patience_ends_and_names_who_is_in_the_way(postgres: str) -> None:
    m = migrator(postgres, lock_timeout=0.05, patience=0.5)
    m.run(files(A), Goal())
    with psycopg.connect(postgres, application_name="report") as holder:
        holder.execute("select * from t")
        error = refused(m.run, files(A, ("2_x.sql", section("DROP TABLE t;"))), Goal())
    assert error.code == "database.migration_blocked" and error.type.retry
    assert "report" in error.details[0]


def test_stopping_takes_effect_in_the_middle_of_a_statement(postgres: str) -> None:
    told: list[Progress] = []
    slow = files(A, ("2_x.sql", section("INSERT INTO t VALUES (5, 5); SELECT pg_sleep(60);")))
    error = refused(
        migrator(postgres).run, slow, Goal(), note=told.append,
        cancelled=lambda: any("pg_sleep" in p.text for p in told),
    )  # fmt: skip
    assert error.code == "database.migration_cancelled"
    assert one(postgres, "select count(*) from t") == 0


def test_statement_timeout(postgres: str) -> None:
    slow = files(("1_x.sql", section("SELECT pg_sleep(60);")))
    assert (
        refused(migrator(postgres, statement_timeout=0.1).run, slow, Goal()).code
        == "database.migration_timed_out"
    )


def test_a_commit_hidden_in_a_block_is_refused_by_postgresql(postgres: str) -> None:
    hidden = files(A, ("2_x.sql", section("INSERT INTO t VALUES (5, 5); DO $$ BEGIN COMMIT; END $$;")))
    assert "invalid transaction termination" in refused(migrator(postgres).run, hidden, Goal()).sentence
    assert one(postgres, "select count(*) from t") == 0


def test_it_runs_as_the_owner(postgres: str) -> None:
    name = conninfo_to_dict(postgres)["dbname"]
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"create role owner_{name}".encode())
        conn.execute(f"alter database {name} owner to owner_{name}".encode())
    try:
        migrator(postgres, owner=f"owner_{name}").run(files(A), Goal())
        assert one(postgres, "select tableowner from pg_tables where tablename = 't'") == f"owner_{name}"
    finally:
        with psycopg.connect(postgres, autocommit=True) as conn:
            conn.execute(f"drop owned by owner_{name} cascade".encode())
            conn.execute(f"alter database {name} owner to postgres".encode())
            conn.execute(f"drop role owner_{name}".encode())


def test_servers_that_cannot_be_migrated(postgres: str, tmp_path: Path) -> None:
    run = migrator(postgres).run
    with psycopg.connect(postgres, autocommit=True) as conn:
        name = conninfo_to_dict(postgres)["dbname"]
        conn.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    error = refused(run, files(A), Goal())
    assert error.code == "database.migration_server_unsuitable" and "takes no writes" in error.sentence
    nowhere = make_conninfo(postgres, host=str(tmp_path), password="hunter22")
    error = refused(migrator(nowhere).run, files(A), Goal())
    assert error.code == "database.migration_unreachable" and error.type.retry
    wrong = make_conninfo(postgres, dbname="no_such", password="hunter22")
    assert refused(migrator(wrong).run, files(A), Goal()).code == "database.migration_login_refused"
    error = refused(migrator("postgresql://a:hunter22@[/x").run, files(A), Goal())
    assert error.code == "database.migration_login_refused"
    assert "hunter22" not in f"{error.sentence} {error.hint} {error.details} {error.__cause__}"


def test_directories_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(read, tmp_path / "none").code == "database.migrations_unreadable"
    (tmp_path / "1_a.sql").write_text(A[1])
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "2_b.sql").mkdir()
    assert refused(read, tmp_path).code == "database.migrations_unreadable"
    (tmp_path / "2_b.sql").rmdir()
    with (tmp_path / "2_b.sql").open("wb") as f:
        f.truncate(200_000_000)
    assert "more than 10 MB" in refused(read, tmp_path).sentence
    (tmp_path / "2_b.sql").unlink()
    assert [m.version for m in read(tmp_path)] == ["1"]


def tool(postgres: str, tmp_path: Path, command: str, **options: Any) -> tuple[Any, bytes]:
    out = bytearray()
    psql = {"PATH": "/usr/lib/postgresql/15/bin:/usr/bin:/bin"}
    ran = run_tool(
        command, target=Target(make_conninfo(postgres, password="hunter22")), directory=tmp_path, environment=psql,
        options=Options(**options), clock=RealClock(), timeout=30, on_output=out.extend,
    )  # fmt: skip
    return ran, bytes(out)


def test_a_tool_of_the_app_runs_under_the_same_lock_and_timeouts(postgres: str, tmp_path: Path) -> None:
    command = (
        'psql "$DATABASE_URL" -XAtc "show lock_timeout" -c "select count(*) from pg_locks '
        'where locktype = \'advisory\'"; echo "$DATABASE_URL"'
    )
    ran, out = tool(postgres, tmp_path, command, lock_timeout=1.5)
    assert out.startswith(b"1500ms\n1\n") and ran.attempts == 1
    assert b"hunter22" not in out and b"host=" in out


def test_a_tool_that_did_not_get_a_lock_is_run_again(postgres: str, tmp_path: Path) -> None:
    migrator(postgres).run(files(A), Goal())
    with psycopg.connect(postgres) as holder:
        holder.execute("select * from t")
        command = 'psql "$DATABASE_URL" -Xqc "alter table t add b int" || { touch failed; exit 3; }'

        def let_go() -> None:
            while not (tmp_path / "failed").exists():
                time.sleep(0.02)
            holder.rollback()

        threading.Thread(target=let_go, daemon=True).start()
        ran, _ = tool(postgres, tmp_path, command, lock_timeout=0.1)
    assert ran.attempts > 1 and (tmp_path / "failed").exists()
    assert refused(tool, postgres, tmp_path, "echo broken; exit 4").details == ("broken",)


def test_a_restore_point_has_its_place(postgres: str) -> None:
    before = one(postgres, "select pg_current_wal_lsn()::text")
    point = restore_point(Target(postgres), "shop.production.r7")
    assert point.named and point.name == "shop.production.r7"
    assert one(postgres, f"select '{point.lsn}'::pg_lsn > '{before}'::pg_lsn")
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("create role nobody_much login")
    try:
        lesser = restore_point(Target(make_conninfo(postgres, user="nobody_much")), "x")
        assert not lesser.named and lesser.lsn
    finally:
        with psycopg.connect(postgres, autocommit=True) as conn:
            conn.execute("drop role nobody_much")


def test_a_wrong_password_is_told_apart_and_not_shown(own_cluster: Any) -> None:
    with psycopg.connect(own_cluster.dsn(), autocommit=True) as conn:
        conn.execute("create role app login password 'right'")
    (own_cluster.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    own_cluster.stop()
    own_cluster.start()
    dsn = own_cluster.dsn(user="app")
    error = refused(migrator(make_conninfo(dsn, password="hunter22")).run, files(A), Goal())
    assert error.code == "database.migration_login_refused" and "authentication failed" in error.details[0]
    assert "hunter22" not in f"{error.sentence} {error.hint} {error.details} {error.__cause__}"
    error = refused(migrator(make_conninfo(dsn, password="right")).run, files(A), Goal())
    assert error.code == "database.migration_failed" and "CREATE" in error.hint


@pytest.mark.parametrize("took", [True, False])
def test_a_commit_whose_answer_was_lost_is_looked_up(postgres: str, took: bool) -> None:
    all_ = files(A, B)
    cut: list[str] = []

    def before_commit(conn: Any, migration: Any, direction: Any) -> None:
        if cut:
            return
        cut.append(migration.version)
        if took:
            conn.execute("commit")
        one(postgres, f"select pg_terminate_backend({conn.info.backend_pid}, 5000)")

    m = PostgresMigrator(Target(postgres), Options(), RealClock(), before_commit=before_commit)
    if took:
        assert [d.version for d in m.run(all_, Goal())] == ["1", "2"]
    else:
        error = refused(m.run, all_, Goal())
        assert error.code == "database.migration_connection_lost" and error.type.retry
        assert m.look(all_).rows == ()
    assert [s.state for s in statuses(m.look(all_))] == (["applied"] * 2 if took else ["pending"] * 2)
