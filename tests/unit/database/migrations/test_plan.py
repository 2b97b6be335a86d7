"""Plans, from every prefix, and every reason to do nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.database.migrations.files import parse_all
from homeport.database.migrations.model import Direction, Goal, Migration, Options, Remnant, Row, Seen, Subset
from homeport.database.migrations.plan import (
    Clean,
    Finalize,
    Observed,
    Record,
    Run,
    Step,
    plan,
    problems,
    statuses,
    to_look_at,
)
from homeport.database.migrations.preview import sql
from homeport.database.migrations.repair import Act, Choice, propose, unknown_to_files
from homeport.kernel.errors import HomeportError

NOW = datetime(2026, 11, 20, tzinfo=UTC)
UP, DOWN = Direction.UP, Direction.DOWN


def some(*names: str, **texts: str) -> tuple[Migration, ...]:
    plain = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n"
    return parse_all([(f"{n}_x.sql", texts.get(f"v{n}", plain).encode()) for n in names])


def row(m: Migration, running: Direction | None = None, *, applied: bool = True, back: bool = False) -> Row:
    return Row(
        m.version, m.description, m.filename, m.checksum, m.source, NOW if applied else None, 0.1, "ana", "r1",
        NOW if back else None, running, NOW if running else None,
    )  # fmt: skip


def observed(files: tuple[Migration, ...], *rows: Row, **seen: Seen) -> Observed:
    found = {(v, d): Seen(Remnant.ABSENT) for v, d, _ in to_look_at(files, rows)}
    for key, value in seen.items():
        found[(key[1:], UP if key[0] == "u" else DOWN)] = value
    return Observed(files, rows, found)


def versions(steps: tuple[Step, ...]) -> list[str]:
    return [s.migration.version for s in steps if not isinstance(s, Clean)]


def test_what_is_pending_runs_in_order() -> None:
    files = some("1", "2", "3")
    assert versions(plan(observed(files), Goal())) == ["1", "2", "3"]
    assert versions(plan(observed(files, row(files[0])), Goal())) == ["2", "3"]
    assert versions(plan(observed(files), Goal(to="2"))) == ["1", "2"]
    assert plan(observed(files, *map(row, files)), Goal()) == ()
    assert versions(plan(observed(files, row(files[0], back=True)), Goal())) == ["1", "2", "3"]


def test_down_goes_backwards() -> None:
    files = some("1", "2", "3")
    there = observed(files, *map(row, files))
    assert versions(plan(there, Goal(DOWN, to="1"))) == ["3", "2"]
    assert versions(plan(there, Goal(DOWN, to="0"))) == ["3", "2", "1"]
    assert versions(plan(there, Goal(DOWN, versions=("2",)))) == ["2"]
    begun = observed(files, row(files[0]), row(files[1]), row(files[2], back=True))
    assert versions(plan(begun, Goal(DOWN, versions=("2", "3")))) == ["2"]


def test_expand_and_contract() -> None:
    files = some("1", "2", "3", v2="-- homeport:contract\n-- migrate:up\nSELECT 1;\n")
    assert versions(plan(observed(files), Goal(subset=Subset.EXPAND))) == ["1", "3"]
    assert versions(plan(observed(files), Goal(subset=Subset.CONTRACT))) == ["2"]
    # A contract comes late by nature: it is in order all the same.
    assert versions(plan(observed(files, row(files[0]), row(files[2])), Goal())) == ["2"]


def code(o: Observed, goal: Goal) -> str:
    with pytest.raises(HomeportError) as caught:
        plan(o, goal)
    return caught.value.code


def test_a_changed_file_stops_everything_with_a_diff() -> None:
    files = some("1", "2")
    other = some("1", v1="-- migrate:up\nSELECT 3;\n")[0]
    there = observed(files, row(other))
    error = problems(there, Goal())[0]
    assert error.code == "database.migration_changed"
    assert "-SELECT 3;" in error.details and "+SELECT 1;" in error.details
    assert [s.state for s in statuses(there)] == ["changed", "pending"]


def test_a_missing_file_stops_everything() -> None:
    files = some("1", "2")
    there = observed(files[1:], row(files[0]))
    assert code(there, Goal()) == "database.migration_changed"
    assert [s.state for s in statuses(there)] == ["missing", "pending"]
    # One that was taken back needs no file.
    assert versions(plan(observed(files[1:], row(files[0], back=True)), Goal())) == ["2"]


def test_out_of_order_is_refused_unless_allowed() -> None:
    files = some("1", "2")
    there = observed(files, row(files[1]))
    assert code(there, Goal()) == "database.migration_out_of_order"
    assert versions(plan(there, Goal(out_of_order=True))) == ["1"]
    assert [s.state for s in statuses(there)] == ["out of order", "applied"]


def test_down_needs_a_section_and_an_applied_version() -> None:
    files = some("1", "2", v2="-- migrate:up\nSELECT 1;\n")
    there = observed(files, *map(row, files))
    assert code(there, Goal(DOWN, to="0")) == "database.migration_no_down"
    assert code(there, Goal(DOWN, versions=("9",))) == "database.unknown_migration"


INDEX = "-- migrate:up\nCREATE INDEX CONCURRENTLY i ON t (a);\n-- migrate:down\nDROP INDEX CONCURRENTLY i;\n"
LEFT = Seen(Remnant.INVALID, (("public", "i"),))


def test_an_invalid_index_is_dropped_by_name_first() -> None:
    files = some("1", v1=INDEX)
    assert plan(observed(files, u1=LEFT), Goal()) == (Clean("1", (("public", "i"),)), Run(files[0], UP))


def test_a_statement_that_was_cut_off_is_recognised() -> None:
    files = some("1", v1=INDEX)
    begun = row(files[0], UP, applied=False)
    assert plan(observed(files, begun, u1=LEFT), Goal())[0] == Clean("1", (("public", "i"),))
    assert plan(observed(files, begun), Goal()) == (Run(files[0], UP, resumed=True),)
    assert plan(observed(files, begun, u1=Seen(Remnant.PRESENT)), Goal()) == (Record(files[0], UP),)
    back = row(files[0], DOWN)
    assert plan(observed(files, back, d1=Seen(Remnant.PRESENT)), Goal(DOWN, to="0")) == (
        Run(files[0], DOWN, resumed=True),
    )
    assert plan(observed(files, back), Goal(DOWN, to="0")) == (Record(files[0], DOWN),)
    assert statuses(observed(files, back))[0].state == "unfinished"


def test_a_detaching_that_was_cut_off_is_finalized() -> None:
    files = some("1", v1="-- migrate:up\nALTER TABLE p DETACH PARTITION q CONCURRENTLY;\n")
    begun = row(files[0], UP, applied=False)
    assert plan(observed(files, begun, u1=Seen(Remnant.INVALID)), Goal()) == (Finalize(files[0], UP),)
    assert plan(observed(files, begun), Goal()) == (Record(files[0], UP),)


def test_what_nothing_shows_the_end_of_needs_a_person() -> None:
    files = some("1", v1="-- migrate:up transaction:false\nCALL backfill();\n")
    there = observed(files, row(files[0], UP, applied=False))
    assert code(there, Goal()) == "database.migration_unfinished"
    assert propose(there) == ()
    assert [r.act for r in propose(there, choice=Choice.DONE)] == [Act.DONE]
    assert [r.act for r in propose(there, choice=Choice.AGAIN)] == [Act.AGAIN]


def test_repair_says_what_it_will_do() -> None:
    files = some("1", "2", "3")
    changed = replace(row(files[0]), checksum="0", source="-- migrate:up\n")
    gone = replace(row(files[1]), version="7", filename="7_gone.sql")
    there = Observed(files, (changed, gone), {})
    found = propose(there, dbmate=("1", "2", "8"))
    assert [(r.act, r.version) for r in found] == [(Act.ACCEPT, "1"), (Act.FORGET, "7"), (Act.ADOPT, "2")]
    assert unknown_to_files(there, ("1", "2", "8")) == ("8",)


def test_a_dry_run_gives_sql() -> None:
    files = some("1", "2", v2=INDEX)
    text = sql(plan(observed(files), Goal()), Options(owner="shop owner"))
    assert 'SET ROLE "shop owner";' in text
    assert "BEGIN;\nSELECT 1;\nCOMMIT;" in text
    assert "BEGIN;\nCREATE INDEX" not in text


@given(st.lists(st.sampled_from(["plain", "index", "contract"]), min_size=1, max_size=6), st.data())
def test_a_plan_holds_from_every_interrupted_prefix(kinds: list[str], data: st.DataObject) -> None:
    texts = {
        "plain": "-- migrate:up\nSELECT 1;\n",
        "index": INDEX,
        "contract": "-- homeport:contract\n-- migrate:up\nSELECT 1;",
    }
    files = some(
        *(str(n + 1) for n in range(len(kinds))), **{f"v{n + 1}": texts[k] for n, k in enumerate(kinds)}
    )
    rows: dict[str, Row] = {}
    seen: dict[str, Seen] = {}
    for _ in range(60):
        steps = plan(observed(files, *(rows[v] for v in sorted(rows)), **seen), Goal())
        if not steps:
            break
        step = steps[0]
        if isinstance(step, Clean):
            seen.pop(f"u{step.version}")
            continue
        m = step.migration
        assert not (rows.get(m.version) and rows[m.version].is_applied), "applied twice"
        cut = data.draw(st.sampled_from(["no", "no", "before", "half", "after"]))
        if cut == "no" or isinstance(step, Record):
            rows[m.version] = row(m)
            seen.pop(f"u{m.version}", None)
        elif m.up.lone is not None:
            rows[m.version] = row(m, UP, applied=False)
            seen[f"u{m.version}"] = {
                "before": Seen(Remnant.ABSENT),
                "half": LEFT,
                "after": Seen(Remnant.PRESENT),
            }[cut]
    else:
        return
    assert all(rows[m.version].is_applied for m in files)
    assert not any(s == LEFT for s in seen.values())
