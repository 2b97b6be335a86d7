"""What upkeep runs, from what is there."""

from datetime import UTC, datetime

import pytest

from homeport.database.upkeep.commands import text
from homeport.database.upkeep.model import Analyze, Clean, Name, Refresh, Reindex, Seen
from homeport.database.upkeep.plan import due, plan, target
from homeport.kernel.errors import HomeportError
from homeport.spec.model_database import Upkeep

VIEW = Name("public", "sales")


def upkeep(kind: str, what: str = "sales", schedule: str = "0 3 * * *") -> Upkeep:
    return Upkeep("nightly", kind, what, schedule)


def seen(kind: str, **more: object) -> Seen:
    return Seen(VIEW, kind, 8192, 10.0, **more)


def test_a_target_without_a_schema_is_in_public() -> None:
    assert target(upkeep("refresh")) == VIEW
    assert target(upkeep("refresh", "stats.sales")) == Name("stats", "sales")
    assert target(upkeep("analyze", "")) is None


def test_a_filled_view_is_refreshed_beside_its_readers() -> None:
    assert plan(upkeep("refresh"), seen("m", unique=True)) == (Refresh(VIEW, True),)


def test_a_view_that_was_never_filled_locks_nobody_out() -> None:
    assert plan(upkeep("refresh"), seen("m", filled=False)) == (Refresh(VIEW, False),)


def test_leftovers_go_before_the_reindex() -> None:
    left = Name("public", "sales_ccnew")
    assert plan(upkeep("reindex"), seen("i", leftovers=(left,))) == (Clean(left), Reindex(VIEW, "INDEX"))
    assert plan(upkeep("reindex"), seen("r")) == (Reindex(VIEW, "TABLE"),)


@pytest.mark.parametrize(
    ("kind", "found", "code"),
    [
        ("refresh", None, "no_upkeep_target"),
        ("refresh", seen("m"), "no_unique_index"),
        ("refresh", seen("v", unique=True), "wrong_upkeep_target"),
        ("analyze", seen("S"), "wrong_upkeep_target"),
        ("reindex", seen("i", building=True), "upkeep_under_way"),
        ("reindex", seen("i", exclusion=True), "wrong_upkeep_target"),
        ("reindex", seen("r", system=True), "wrong_upkeep_target"),
    ],
)
def test_what_cannot_be_done_is_refused(kind: str, found: Seen | None, code: str) -> None:
    with pytest.raises(HomeportError) as raised:
        plan(upkeep(kind), found)
    assert raised.value.code == f"database.{code}"
    assert raised.value.sentence.startswith("cannot ") and raised.value.hint


def test_statements_quote_names() -> None:
    evil = Name("public", 'a"; DROP TABLE b; --')
    assert text(Analyze(evil)) == 'ANALYZE "public"."a""; DROP TABLE b; --"'
    assert text(Analyze(None)) == "ANALYZE"
    assert text(Refresh(VIEW, True)) == 'REFRESH MATERIALIZED VIEW CONCURRENTLY "public"."sales"'
    assert text(Reindex(VIEW, "TABLE")) == 'REINDEX TABLE CONCURRENTLY "public"."sales"'
    assert text(Clean(VIEW)) == 'DROP INDEX CONCURRENTLY IF EXISTS "public"."sales"'


def test_only_the_newest_of_missed_times_is_due() -> None:
    def at(day: int, hour: int = 0) -> datetime:
        return datetime(2026, 11, day, hour, tzinfo=UTC)

    assert due(upkeep("refresh"), at(20, 4), at(21, 2)) is None
    assert due(upkeep("refresh"), at(18), at(21, 4)) == at(21, 3)
    assert due(upkeep("refresh"), at(21, 3), at(21, 3)) is None
