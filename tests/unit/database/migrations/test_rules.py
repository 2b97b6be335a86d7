"""Findings and what allows them; differences of schemas; what a tool is given."""

from homeport.database.migrations.differences import differences
from homeport.database.migrations.files import parse
from homeport.database.migrations.model import Options
from homeport.database.migrations.rules import judge, refusal
from homeport.database.migrations.session import Target
from homeport.database.migrations.tools import variables


def file(text: str) -> str:
    return f"{text}\n-- migrate:up\nALTER TABLE t DROP COLUMN a;\n"


DROP = ("ban-drop-column", 3, "Dropping a column may break existing clients.", "")
BLOCK = ("require-concurrent-index-creation", 4, "It blocks.", "Use CONCURRENTLY.")
TASTE = ("prefer-text-field", 5, "Text is better.", "")


def test_a_dangerous_finding_stops_unless_a_comment_allows_it() -> None:
    bare = parse("1_a.sql", file("").encode())
    error = refusal(judge(bare, [DROP, TASTE]))
    assert error is not None and error.code == "database.migration_unsafe"
    assert len(error.details) == 1 and "1_a.sql:3: ban-drop-column (incompatible)" in error.details[0]
    allowed = parse("1_a.sql", file("-- homeport:allow ban-drop-column because nobody reads it").encode())
    findings = judge(allowed, [DROP])
    assert findings[0].allowed == "nobody reads it"
    assert refusal(findings) is None


def test_a_contract_may_break_the_old_shape_but_not_block() -> None:
    contract = parse("1_a.sql", file("-- homeport:contract").encode())
    error = refusal(judge(contract, [DROP, BLOCK]))
    assert error is not None and [d.split(": ")[1] for d in error.details] == [f"{BLOCK[0]} (blocking)"]


def test_an_allowance_that_is_not_needed_is_told() -> None:
    m = parse("1_a.sql", file("-- homeport:allow ban-drop-colum because x").encode())
    finding = next(f for f in judge(m, [DROP]) if f.rule == "unused-allow")
    assert not finding.stops and "ban-drop-column" in finding.hint


def test_differences_name_what_differs() -> None:
    expected = {
        ("table", "public.a"): "table",
        ("column", "public.a.x"): "integer",
        ("column", "public.a.y"): "text",
    }
    there = {("table", "public.a"): "table", ("column", "public.a.x"): "bigint", ("table", "public.b"): "table",
             ("column", "public.b.x"): "integer"}  # fmt: skip
    assert [d.sentence for d in differences(there, expected)] == [
        "column public.a.x differs",
        "column public.a.y is missing",
        "table public.b is there, and no migration makes it",
    ]
    assert differences(there, there) == ()
    assert differences(there, expected)[0].diff[-2:] == ("-integer", "+bigint")


def test_a_tool_is_given_the_timeouts_and_the_role() -> None:
    url = "postgresql://u:p%40ss@db:5433/shop?sslmode=require&options=-c%20x%3D1"
    given = variables(Target(url), Options(owner="shop_owner", lock_timeout=1.5))
    assert given["PGOPTIONS"] == "-c lock_timeout=1500 -c statement_timeout=900000 -c role=shop_owner"
    assert given["DATABASE_URL"].startswith(
        "postgresql://u:p%40ss@db:5433/shop?sslmode=require&options=-c%20lock_timeout"
    )
    assert "x%3D1" not in given["DATABASE_URL"]


def test_a_target_does_not_show_its_password() -> None:
    target = Target("postgresql://u:hunter22@db/shop")
    assert "hunter22" not in repr(target) and "hunter22" not in target.place
    assert "hunter22" not in target.mask("could not log in with hunter22")
