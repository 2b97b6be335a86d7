"""A database that somebody else runs, out of a dump: the steps from every prefix, and which right is missing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from played_steps import AT, played

from homeport.backup.model import CANCELLED, PASSED, SKIPPED, Step
from homeport.backup.restores import plan
from homeport.backup.restores.model import Place
from homeport.backup.restores.rights import Rights, cannot_beside, cannot_in_place, missing_in_place, too_new

PLACE = Place.for_run(
    "b-0123456789", AT, app="shop", environment="production", name="reports", cluster="", database="theirs"
)
IN_PLACE = plan.dump_in_place(PLACE, {"served": "theirs"}, {}, hold=True)
MAY = Rights("app", 150004, "theirs", "app", superuser=False, createdb=True, owns=True, may_create=True)


def test_it_is_switched_to_once_it_is_loaded_and_else_what_served_lets_everybody_in_before_writers_go_on() -> (
    None
):
    names = [s.name for s in IN_PLACE]
    assert names == [plan.HOLD, plan.DUMP, plan.SWITCH, plan.SCHEMA, plan.TIDY_DUMP, plan.RELEASE]
    for n, name in enumerate(names[:4]):
        for states in (played(IN_PLACE, fails=name), played(IN_PLACE, cancel_at=name)):
            assert all(states[later] in (SKIPPED, CANCELLED) for later in names[n + 1 : 4])
            assert states[plan.TIDY_DUMP] == states[plan.RELEASE] == PASSED


def test_writable_on_request() -> None:
    steps = plan.dump_in_place(PLACE, {"served": "theirs"}, {}, hold=False)
    assert [s.name for s in steps] == [plan.DUMP, plan.SWITCH, plan.SCHEMA, plan.TIDY_DUMP]
    assert set(played(steps).values()) == {PASSED}


@pytest.mark.parametrize("steps", [plan.dump_looking(PLACE, {}, []), plan.dump_beside(PLACE, {}, ["orders"])])
def test_what_only_looks_or_brings_tables_beside_switches_nothing_and_leaves_nothing(
    steps: tuple[Step, ...],
) -> None:
    assert plan.SWITCH not in [s.name for s in steps] and not steps[-1].request["switches"]
    assert played(steps, fails=steps[0].name)[plan.TIDY_DUMP] == PASSED


@pytest.mark.parametrize(
    ("rights", "wrong"),
    [
        (MAY, []),
        (replace(MAY, createdb=False), ["CREATEDB"]),
        (replace(MAY, owns=False, owner="boss"), ['belongs to "boss"']),
        (replace(MAY, createdb=False, owns=False), ["CREATEDB", "belongs to"]),
        (replace(MAY, elsewhere=False), ["GRANT CONNECT"]),
        (replace(MAY, createdb=False, owns=False, superuser=True), []),
    ],
)
def test_what_is_missing_for_a_return_in_place_is_named(rights: Rights, wrong: list[str]) -> None:
    found = missing_in_place(rights)
    assert len(found) == len(wrong) and all(w in text for w, text in zip(wrong, found, strict=True))
    error = cannot_in_place(rights, "database reports of shop production")
    assert (error is not None) == bool(wrong)
    if error is not None:
        assert error.details == found and "--table" in (error.hint or "")


def test_tables_beside_need_a_schema_and_no_server_may_be_newer_than_our_programs() -> None:
    assert cannot_beside(replace(MAY, createdb=False, owns=False), "x") is None
    error = cannot_beside(replace(MAY, may_create=False), "x")
    assert error is not None and "GRANT CREATE ON DATABASE" in (error.hint or "")
    assert too_new(MAY, 15, "x") is None and too_new(replace(MAY, version=170002), 17, "x") is None
    assert too_new(replace(MAY, version=170002), 16, "x") is not None
