"""Slow queries, and what their plans ask for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from homeport.database.insight.model import About, Query
from homeport.database.insight.queries import (
    Candidate,
    Trial,
    candidates,
    missing_index,
    parameters,
    shown,
    slow_query,
    why_no_plan,
)

ABOUT = About("shop", 150018, datetime(2026, 11, 21, tzinfo=UTC), 86400.0)
TABLE = {
    "schema": "public",
    "name": "orders",
    "table": "public.orders",
    "rows": 100_000,
    "bytes": 8_000_000,
    "columns": ["id", "email", "State", "placed"],
    "indexed": ["id"],
}


def query(text: str, mean: float = 0.1, calls: int = 100) -> Query:
    return Query("1", text, "app", calls, mean * calls, mean, calls, 1.0, 0.5)


def scan(condition: str, rows: int = 10, **more: Any) -> dict[str, Any]:
    node = {
        "Node Type": "Seq Scan",
        "Schema": "public",
        "Relation Name": "orders",
        "Filter": condition,
        "Plan Rows": rows,
    }
    return {"Plan": {"Node Type": "Aggregate", "Plans": [node | more]}}


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("(orders.email = $1)", ("email",)),
        ("((orders.email)::text = $1)", ("email",)),
        ('(orders."State" = $1)', ('"State"',)),
        ("((orders.placed > $1) AND (orders.\"State\" = 'new'::text))", ('"State"', "placed")),
        ("((orders.placed > $1) AND (orders.placed < $2))", ("placed",)),
        ("(orders.email = ANY ($1))", ("email",)),
    ],
)
def test_what_a_filter_compares_wants_an_index(condition: str, columns: tuple[str, ...]) -> None:
    found = candidates(scan(condition), [TABLE], ABOUT)
    assert found == (Candidate("public.orders", columns, 100_000),)


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "((orders.email = $1) OR (orders.placed > $2))",
        "(lower(orders.email) = $1)",
        "(lower((orders.email)::text) = $1)",
        "((orders.email || 'x'::text) = $1)",
        "(orders.email ~~ $1)",
        "(orders.email <> $1)",
        "(orders.email = orders.placed)",
        "(orders.id = $1)",
        "(orders.nothing = $1)",
    ],
)
def test_what_an_index_would_not_serve_wants_none(condition: str) -> None:
    assert candidates(scan(condition), [TABLE], ABOUT) == ()


def test_no_index_for_most_of_a_table_nor_for_a_small_one() -> None:
    assert candidates(scan("(orders.email = $1)", rows=50_000), [TABLE], ABOUT) == ()
    assert (
        candidates(scan("(orders.email = $1)", rows=2_000, **{"Parallel Aware": True}), [TABLE], ABOUT) == ()
    )
    assert candidates(scan("(orders.email = $1)"), [TABLE | {"rows": 5_000}], ABOUT) == ()
    assert candidates(None, [TABLE], ABOUT) == ()


def test_an_index_that_a_trial_finds_useless_is_not_told() -> None:
    wanted = Candidate("public.orders", ("email",), 100_000)

    def found(trial: Trial | None, calls: int = 100) -> list[str]:
        use = query("SELECT 1", calls=calls)
        return [f.mend.statement for f in missing_index({wanted: [(use, trial)]}, ABOUT)]

    statement = "CREATE INDEX CONCURRENTLY ON public.orders (email)"
    assert found(None) == [statement]
    assert found(Trial(1000.0, 8.0)) == [statement]
    assert found(Trial(1000.0, 900.0)) == []
    assert found(None, calls=3) == []


def test_only_what_people_asked_for_is_slow() -> None:
    def slow(*queries: Query) -> int:
        return len(list(slow_query(queries, ABOUT)))

    assert (
        slow(query("SELECT 1"))
        == slow(query("-- orders\n /* x */ with a as (select 1) select * from a"))
        == 1
    )
    assert slow(query("UPDATE orders SET id = $1")) == 1
    assert slow(query("REFRESH MATERIALIZED VIEW x")) == slow(query("COPY orders TO STDOUT")) == 0
    assert slow(query("SELECT 1", mean=0.01)) == slow(query("SELECT 1", calls=5)) == 0


def test_of_what_neither_reads_nor_writes_only_its_name_is_shown() -> None:
    assert shown("SELECT * FROM a WHERE b = $1") == "SELECT * FROM a WHERE b = $1"
    assert shown("<insufficient privilege>") == "<insufficient privilege>"
    assert shown("ALTER ROLE app PASSWORD 'hunter2'") == "ALTER ROLE …"
    assert shown("/* it's */ -- 'x'\n CREATE USER a PASSWORD 'hunter2'") == "CREATE USER …"
    assert shown("CALL pay('4111')") == "CALL pay(… …"
    assert shown("DO $$ SELECT 'hunter2' $$") == "DO … …"


def test_only_whole_statements_that_read_are_planned() -> None:
    assert why_no_plan(query("SELECT $1")) == ""
    assert "read" in why_no_plan(query("DELETE FROM orders"))
    assert "too long" in why_no_plan(query("SELECT " + "x" * 30_000))
    assert "not permitted" in why_no_plan(query("<insufficient privilege>"))
    assert parameters("SELECT $1, $12, '$3'") == 12
    assert parameters("SELECT 1") == 0
