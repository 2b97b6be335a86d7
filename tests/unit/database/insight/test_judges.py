"""What is a fault, from rows as the catalog gives them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from homeport.database.insight import judge_access, judge_indexes, judge_server, judge_sessions, judge_tables
from homeport.database.insight.growth import Sizes, growth
from homeport.database.insight.model import About, Severity
from homeport.database.insight.rules import BY_ID, RULES

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ABOUT = About("shop", 150018, NOW, 30 * 86400.0)


def index(name: str, columns: list[int], **more: Any) -> dict[str, Any]:
    n = len(columns)
    return {
        "table_id": 1,
        "table": "public.t",
        "index": f"public.{name}",
        "method": "btree",
        "columns": columns,
        "keys": n,
        "classes": [10] * n,
        "collations": [0] * n,
        "options": [0] * n,
        "expressions": False,
        "predicate": "",
        "shape": "",
        "unique": False,
        "nulls_same": False,
        "primary": False,
        "bound": False,
        "bytes": 8192,
    } | more


def duplicates(*rows: dict[str, Any]) -> list[str]:
    return [f.what for f in judge_indexes.duplicate_index(rows, ABOUT)]


def redundant(*rows: dict[str, Any]) -> list[str]:
    return [f.what for f in judge_indexes.redundant_index(rows, ABOUT)]


def test_of_the_same_indexes_the_one_stays_that_something_rests_on() -> None:
    assert duplicates(index("a", [1]), index("b", [1])) == ["public.b"]
    assert duplicates(index("a", [1]), index("b", [1], unique=True)) == ["public.a"]
    assert duplicates(index("a", [1], unique=True), index("b", [1], primary=True, unique=True)) == [
        "public.a"
    ]
    assert duplicates(index("a", [1], bound=True), index("b", [1], bound=True)) == []


@pytest.mark.parametrize(
    "other",
    [
        {"columns": [2]},
        {"table_id": 2},
        {"method": "hash"},
        {"classes": [11]},
        {"collations": [100]},
        {"options": [1]},
        {"predicate": "(x > 0)"},
        {"expressions": True, "shape": "btree (lower(x))"},
    ],
)
def test_indexes_that_differ_anywhere_are_not_the_same(other: dict[str, Any]) -> None:
    assert duplicates(index("a", [1]), index("b", [1]) | other) == []


def test_uniqueness_with_other_nulls_is_another_rule() -> None:
    rows = index("a", [1], unique=True), index("b", [1], unique=True, nulls_same=True)
    assert duplicates(*rows) == []


def test_the_beginning_of_another_index_is_redundant_unless_it_keeps_rows_unique() -> None:
    assert redundant(index("a", [1]), index("b", [1, 2])) == ["public.a"]
    assert redundant(index("a", [2]), index("b", [1, 2])) == []
    assert redundant(index("a", [1], unique=True), index("b", [1, 2])) == []
    assert redundant(index("a", [1], options=[1]), index("b", [1, 2])) == []
    assert redundant(index("a", [1], predicate="(x)"), index("b", [1, 2])) == []
    assert redundant(index("a", [1, 3], keys=1), index("b", [1, 2])) == []


def session(pid: int, blockers: tuple[int, ...] = (), waits: float | None = None) -> dict[str, Any]:
    return {
        "pid": pid,
        "role": "app",
        "state": "active",
        "application": "",
        "query": f"query {pid}",
        "transaction": 9.0,
        "blockers": list(blockers),
        "mode": "AccessExclusiveLock" if blockers else None,
        "relation": "public.t" if blockers else None,
        "waits": waits,
    }


def test_a_lock_tree_has_its_root_and_each_waiter_once() -> None:
    rows = [session(1), session(2, (1,), 5.0), session(3, (2, 1), 3.0), session(4, (2,), 1.0)]
    (finding,) = judge_sessions.lock_tree(rows, ABOUT)
    assert finding.figures["pid"] == 1 and finding.figures["waiting"] == 3
    assert [(line["pid"], line["depth"]) for line in finding.figures["tree"]] == [(2, 1), (3, 2), (4, 2)]
    assert finding.mend.statement == "SELECT pg_terminate_backend(1)"


def test_values_in_what_sessions_run_are_not_told() -> None:
    row = session(7) | {
        "query": "ALTER ROLE app PASSWORD 'hunter2'",
        "transaction": 900.0,
        "waits": False,
        "holds": 1,
    }
    (finding,) = judge_sessions.long_transaction([row], ABOUT)
    assert "hunter2" not in str(finding) and "ALTER ROLE app PASSWORD …" in finding.sentence
    row = row | {"state": "idle in transaction", "in_state": 900.0, "query": "SELECT $tag$hunter2$tag$, $1"}
    (finding,) = judge_sessions.idle_in_transaction([row], ABOUT)
    assert "hunter2" not in str(finding)
    tree = [session(1) | {"query": "x 'hunter2'"}, session(2, (1,), 5.0) | {"query": "y 'hunter2'"}]
    (finding,) = judge_sessions.lock_tree(tree, ABOUT)
    assert "hunter2" not in str(finding)


def test_a_short_wait_and_a_cycle_have_no_root() -> None:
    assert list(judge_sessions.lock_tree([session(1), session(2, (1,), 0.5)], ABOUT)) == []
    assert list(judge_sessions.lock_tree([session(1, (2,), 9.0), session(2, (1,), 9.0)], ABOUT)) == []


def test_what_a_prepared_transaction_blocks_names_no_session() -> None:
    (finding,) = judge_sessions.lock_tree([session(0) | {"role": None}, session(2, (0,), 9.0)], ABOUT)
    assert finding.what == "a prepared transaction" and finding.mend.statement == ""


@pytest.mark.parametrize(
    ("used", "severity"),
    [(79, None), (80, Severity.WARNING), (95, Severity.CRITICAL), (101, Severity.CRITICAL)],
)
def test_connections_near_the_limit(used: int, severity: Severity | None) -> None:
    rows = [{"kind": "server", "name": "", "most": 100, "used": used, "idle": 3}]
    assert [f.severity for f in judge_sessions.connections(rows, ABOUT)] == ([severity] if severity else [])


def sequence(last: int, column: int, own: int, type_: str) -> dict[str, Any]:
    return {
        "sequence": "public.s",
        "table": "public.t",
        "column": "id",
        "type": type_,
        "column_most": column,
        "sequence_most": own,
        "last_value": last,
    }


@pytest.mark.parametrize(
    ("row", "statement"),
    [
        (
            sequence(1_900_000_000, 2**31 - 1, 2**63 - 1, "integer"),
            "ALTER TABLE public.t ALTER COLUMN id TYPE bigint",
        ),
        (
            sequence(30_000, 32767, 32767, "bigint"),
            "ALTER SEQUENCE public.s AS bigint MAXVALUE 9223372036854775807",
        ),
        (sequence(1_000_000_000, 2**31 - 1, 2**63 - 1, "integer"), None),
        (sequence(2**40, 2**63 - 1, 2**63 - 1, "bigint"), None),
    ],
)
def test_a_column_runs_out_where_it_or_its_sequence_ends(row: dict[str, Any], statement: str | None) -> None:
    found = [f.mend.statement for f in judge_tables.sequence_exhaustion([row], ABOUT)]
    assert found == ([statement] if statement else [])


@pytest.mark.parametrize(("age", "found"), [(390_000_000, False), (400_000_000, True), (1_600_000_000, True)])
def test_ids_run_out_where_autovacuum_does_not_get_on(age: int, found: bool) -> None:
    row = {
        "kind": "database",
        "name": "shop",
        "xids": age,
        "multixacts": 0,
        "freeze_max_age": 200_000_000,
        "multixact_freeze_max_age": 400_000_000,
    }
    assert bool(list(judge_tables.wraparound([row], ABOUT))) is found


def policy(**more: Any) -> dict[str, Any]:
    return {
        "table": "public.t",
        "enabled": True,
        "forced": False,
        "owner": "owner",
        "owner_logs_in": False,
        "owner_super": False,
        "owner_connected": False,
        "policy": "p",
        "command": "*",
        "permissive": True,
        "everybody": True,
        "using": "true",
        "check": None,
        "owner_column": "user_id",
        "owner_type": "bigint",
    } | more


@pytest.mark.parametrize(
    ("rows", "rules"),
    [
        ([policy()], ["policy-open"]),
        ([policy(using="(user_id = 1)")], []),
        ([policy(everybody=False)], []),
        ([policy(command="r")], ["policy-open"]),
        ([policy(command="r", owner_column=None)], []),
        ([policy(command="a", using=None, check="true")], []),
        ([policy(), policy(policy="q", permissive=False, using="(user_id = 1)")], []),
        ([policy(enabled=False)], ["rls-disabled"]),
        ([policy(policy=None)], ["rls-without-policy"]),
        ([policy(using="x", owner_logs_in=True)], ["rls-owner-bypass"]),
        ([policy(using="x", owner_logs_in=True, forced=True)], []),
        ([policy(using="x", owner_logs_in=True, owner_super=True)], []),
        (
            [policy(using="x", owner_logs_in=True, owner_super=True, owner_connected=True)],
            ["rls-owner-bypass"],
        ),
    ],
)
def test_policies(rows: list[dict[str, Any]], rules: list[str]) -> None:
    assert [f.rule for f in judge_access.policies(rows, ABOUT)] == rules


def test_a_database_without_row_level_security_is_told_once() -> None:
    rows = [{"table": f"public.t{n}", "column": "user_id", "type": "bigint", "used": False} for n in range(9)]
    (one,) = judge_access.rls_missing(rows, ABOUT)
    assert one.severity is Severity.NOTICE and len(one.figures["tables"]) == 9
    assert len(list(judge_access.rls_missing([r | {"used": True} for r in rows], ABOUT))) == 9


def test_young_counters_do_not_say_that_an_index_is_unused() -> None:
    row = {"index": "i", "table": "t", "bytes": 9_000_000, "writes": 5, "definition": "CREATE INDEX"}
    young = About("shop", 150018, NOW, 86400.0)
    assert list(judge_indexes.unused_index([row], young)) == []
    assert len(list(judge_indexes.unused_index([row], ABOUT))) == 1
    assert list(judge_indexes.unused_index([row | {"bytes": 8192}], ABOUT)) == []


def test_a_cold_cache_says_nothing() -> None:
    row = {"hits": 10, "reads": 40_000, "shared_buffers": "128MB", "buffers": 2**27, "bytes": 10**9}
    assert list(judge_server.cache_hits([row], ABOUT)) == []
    assert len(list(judge_server.cache_hits([row | {"reads": 60_000}], ABOUT))) == 1


def sizes(day: int, total: int, **tables: int) -> Sizes:
    return Sizes(NOW + timedelta(days=day), "shop", total, tables)


def test_growth_is_told_at_the_rate_of_a_month() -> None:
    found = list(growth(sizes(0, 10**10, a=10**9, b=10**9), sizes(10, 12 * 10**9, a=3 * 10**9, b=10**9)))
    assert [f.what for f in found] == ["shop", "a"]
    assert found[0].figures["month"] == 6 * 10**9
    assert list(growth(sizes(0, 10**10), sizes(10, 10**10 + 10**8))) == []
    assert list(growth(sizes(0, 10**6), sizes(10, 10**8))) == []
    assert list(growth(sizes(0, 10**9), Sizes(NOW + timedelta(hours=1), "shop", 10**10, {}))) == []


def test_a_shrunk_database_and_a_clock_that_went_back_are_no_growth() -> None:
    assert list(growth(sizes(0, 10**11, a=10**11), sizes(9, 10**9, a=10**9))) == []
    assert list(growth(sizes(9, 10**9), sizes(0, 10**11))) == []


def test_sizes_can_be_stored() -> None:
    one = sizes(3, 10**9, a=5)
    assert Sizes.from_json(one.to_json()) == one


def test_every_rule_has_its_file_and_its_name_once() -> None:
    from importlib.resources import files

    assert len(BY_ID) == len(RULES)
    for rule in RULES:
        assert files("homeport.database.insight").joinpath("sql", rule.file).is_file(), rule
