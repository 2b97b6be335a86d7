"""Insight on a real PostgreSQL: every planted fault is found, none on a database that is well."""

import json
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from homeport.database.insight.model import Limits, Report
from homeport.database.insight.rules import RULES
from homeport.database.insight.service import report, snapshot
from homeport.kernel.errors import HomeportError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

AT_ONCE = Limits(statistics_age=0, idle_in_transaction=1, long_transaction=2, lock_wait=1, prepared=0)
PREFIXES = (f"i{n}_" for n in count(1))


def look(dsn: str, planner: str = "", **more: Any) -> Report:
    with psycopg.connect(dsn) as connection, psycopg.connect(planner or dsn) as plans:
        return report(connection, planner=plans, **more)


@pytest.fixture(scope="module")
def planted() -> Iterator[Report]:
    import faults
    from postgres import Postgres

    with Postgres(checksums=False, settings=faults.SETTINGS) as cluster:
        faults.create(cluster.dsn(), "shop")
        with faults.planted(cluster.dsn("shop")):
            time.sleep(2.5)
            yield look(cluster.dsn("shop"), limits=AT_ONCE)


@pytest.fixture
def prefix() -> str:
    """Roles are the cluster's, not the database's."""
    return next(PREFIXES)


def test_every_planted_fault_is_found(planted: Report) -> None:
    import faults

    assert faults.missed(planted) == []
    assert {f.rule for f in planted.findings} == {rule.id for rule in RULES}
    assert [s for s in planted.skipped if not s.reason.startswith("locked")] == []


def test_every_finding_says_what_mends_it_and_what_that_locks(planted: Report) -> None:
    for finding in planted.findings:
        assert finding.mend.locks and (finding.mend.statement or finding.mend.note), finding
        assert "…" not in finding.mend.statement
    severities = [f.severity for f in planted.findings]
    assert severities == sorted(severities, reverse=True)
    data = json.loads(json.dumps(planted.to_json()))
    assert {f["severity"] for f in data["findings"]} == {"critical", "warning", "notice"}


def test_slow_queries_have_plans_and_no_values(planted: Report) -> None:
    planned = [q for q in planted.queries if q.plan]
    assert planned and planned[0].plan is not None and "Total Cost" in planned[0].plan["Plan"]
    assert all("example.com" not in q.text for q in planted.queries)


def test_the_holder_of_a_lock_is_at_the_root(planted: Report) -> None:
    (tree,) = (f for f in planted.findings if f.rule == "lock-tree")
    assert "holder" in tree.what and "public.tickets" in tree.sentence
    assert [line["relation"] for line in tree.figures["tree"]] == ["public.tickets"] * tree.figures["waiting"]


@pytest.fixture(scope="module")
def well() -> Iterator[Any]:
    """A cluster as one is meant to be set: the shared one forgoes fsync."""
    from postgres import Postgres

    with Postgres() as cluster:
        yield cluster


def test_nothing_is_found_where_nothing_is_wrong(well: Any, prefix: str) -> None:
    import faults

    faults.create(well.dsn(), "shop")
    faults.clean(well.dsn("shop"), prefix=prefix)
    found = look(well.dsn("shop"), well.dsn("shop", f"{prefix}migrations"), limits=Limits(statistics_age=0))
    assert found.findings == ()
    assert found.skipped == ()
    assert all(q.plan or q.no_plan for q in found.queries)


def test_an_empty_database_has_no_faults(well: Any) -> None:
    import faults

    faults.create(well.dsn(), "empty")
    found = look(well.dsn("empty"))
    assert found.findings == ()
    assert {s.rule for s in found.skipped} == {"slow-query", "missing-index"}
    assert all("pg_stat_statements is not installed" in s.reason for s in found.skipped)


def test_a_superuser_makes_no_plans_of_its_own(well: Any, prefix: str) -> None:
    import faults

    faults.create(well.dsn(), "hostile")
    with psycopg.connect(well.dsn("hostile"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        # IMMUTABLE is a lie: planning runs it.
        connection.execute(
            "CREATE FUNCTION trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'planned as %', session_user; END $$"
        )
        for _ in range(3):
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT trap(1)")
        connection.execute("SELECT 1 + 1")
        alone = report(connection)
        assert all(q.plan is None and "superuser" in q.no_plan for q in alone.queries)


TRAPS = """
CREATE EXTENSION pg_stat_statements;
CREATE SEQUENCE sprung;
CREATE TABLE kept (id int);
GRANT ALL ON SEQUENCE sprung TO PUBLIC;
CREATE FUNCTION writes() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN RETURN nextval('sprung'); EXCEPTION WHEN division_by_zero THEN RETURN 1; END $$;
CREATE FUNCTION sleeps() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN IF current_setting('app.awake', true) IS NULL THEN PERFORM pg_sleep(30); END IF; RETURN 1; END $$;
"""


def test_insight_does_not_find_itself(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.commit()
        report(connection)
        assert [q.text for q in report(connection).queries] == ["CREATE EXTENSION …"]


def test_planning_writes_nothing_and_does_not_go_on_for_long(postgres: str, prefix: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(TRAPS)
        connection.execute(f"CREATE ROLE {prefix}app LOGIN".encode())
        connection.execute("SELECT writes()")
        connection.execute("SET app.awake = 'yes'")
        connection.execute("SELECT sleeps()")
    found = look(postgres, f"{postgres} user={prefix}app")
    plans = {q.text: q for q in found.queries}
    assert "read-only" in plans["SELECT writes()"].no_plan
    assert "timeout" in plans["SELECT sleeps()"].no_plan
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT last_value FROM sprung").fetchone() == (1,)


def test_a_second_statement_is_not_planned_nor_run(postgres: str) -> None:
    from homeport.database.insight.model import Query
    from homeport.database.insight.plans import plans

    hostile = Query("1", "SELECT 1; COMMIT; DROP TABLE kept", "app", 1, 1.0, 1.0, 1, None, 1.0)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        about = report(connection, only=["connections"]).about
        (query, *_), _ = plans(connection, [hostile], [], about, hypopg="", most=5)
        assert query.plan is None and "multiple commands" in query.no_plan
        connection.execute("SELECT * FROM kept")


def test_functions_of_the_apps_are_not_taken_for_postgresqls(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$"
        )
        with pytest.raises(psycopg.Error, match="run as postgres"):
            connection.execute("SELECT quote_ident(datname) FROM pg_database")
        assert [s for s in report(connection).skipped if "not installed" not in s.reason] == []


def test_with_few_rights_rules_say_so(postgres: str, prefix: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE TABLE private (id int PRIMARY KEY, user_id int)")
        connection.execute("INSERT INTO private SELECT n, n FROM generate_series(1, 1000) n")
        connection.execute("ANALYZE private")
        connection.execute(f"CREATE ROLE {prefix}guest LOGIN".encode())
    found = look(f"{postgres} user={prefix}guest")
    reasons = {s.rule: s.reason for s in found.skipped}
    for rule in ("connections", "lock-tree", "idle-in-transaction", "long-transaction", "md5-password"):
        assert reasons[rule].startswith("not permitted"), rule
    assert reasons["table-bloat"] == "not permitted for 1 object"
    assert [f.rule for f in found.findings if f.rule == "rls-missing"] == ["rls-missing"]


def test_a_suggested_index_is_tried_where_hypopg_is_there(postgres: str, prefix: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute(
            "CREATE TABLE t AS SELECT n AS id, 'e' || n AS email FROM generate_series(1, 50000) n"
        )
        connection.execute(f"CREATE ROLE {prefix}app LOGIN".encode())
        connection.execute(f"GRANT SELECT ON t TO {prefix}app".encode())
        connection.execute("ANALYZE t")
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'hunter2'")
        for n in range(25):
            connection.execute("SELECT * FROM t WHERE email = %s", [str(n)])
        there = connection.execute("SELECT FROM pg_available_extensions WHERE name = 'hypopg'").fetchone()
        if there is not None:
            connection.execute("CREATE EXTENSION hypopg")
    found = look(postgres, f"{postgres} user={prefix}app", only=["missing-index"])
    (finding,) = found.findings
    assert finding.mend.statement == "CREATE INDEX CONCURRENTLY ON public.t (email)"
    if there is not None:
        assert finding.figures["cost_after"] < finding.figures["cost_before"] / 10
    else:
        assert "hypopg is not installed" in finding.mend.note
    assert "hunter2" not in json.dumps(found.to_json())


def test_one_rule_can_be_asked_for(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int); CREATE INDEX a ON t (id); CREATE INDEX b ON t (id)")
        found = report(connection, only=["duplicate-index"])
        assert [(f.rule, f.what) for f in found.findings] == [("duplicate-index", "public.b")]
        assert found.findings[0].mend.statement == "DROP INDEX CONCURRENTLY public.b"
        with pytest.raises(HomeportError, match="no such rule") as raised:
            report(connection, only=["duplicate-idex"])
        assert raised.value.hint == "did you mean duplicate-index?"


def test_names_are_quoted_wherever_they_are_needed(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."a;b" (id int)')
        connection.execute(
            'CREATE INDEX "x""y" ON "My Shop"."a;b" (id); CREATE INDEX z ON "My Shop"."a;b" (id)'
        )
        (finding,) = report(connection, only=["duplicate-index"]).findings
        connection.execute(finding.mend.statement.encode())
        assert report(connection, only=["duplicate-index"]).findings == ()


def test_looking_waits_for_nobody_and_changes_nothing(postgres: str) -> None:
    with psycopg.connect(postgres) as holder, psycopg.connect(postgres) as connection:
        holder.execute("CREATE TABLE seen (id int PRIMARY KEY)")
        holder.commit()
        holder.execute("LOCK TABLE seen IN ACCESS EXCLUSIVE MODE")
        found = report(connection)
        assert not [s for s in found.skipped if "locked" in s.reason]
        assert connection.info.transaction_status.name == "IDLE"
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("off",)
        with pytest.raises(HomeportError, match="in a transaction"):
            report(connection)


def test_a_lost_connection_is_an_error_of_its_own(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as admin:
        connection = psycopg.connect(postgres)
        pid = connection.info.backend_pid
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(HomeportError) as raised:
            report(connection)
        assert raised.value.code == "database.insight_lost"
        connection.close()


def test_sizes_can_be_taken_while_tables_are_locked(postgres: str) -> None:
    with psycopg.connect(postgres) as holder, psycopg.connect(postgres) as connection:
        holder.execute("CREATE TABLE kept AS SELECT repeat('x', 100) AS t FROM generate_series(1, 5000)")
        holder.execute("ANALYZE kept")
        holder.commit()
        holder.execute("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE")
        sizes = snapshot(connection)
    assert sizes.tables["public.kept"] > 500_000
    assert sizes.bytes > 5_000_000
