"""The steps of a restore, from every prefix; names, losses, and which lines of a dump are wanted beside."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from homeport.backup.model import (
    CANCELLED,
    FAILED,
    PASSED,
    RETURNING,
    RUNNING,
    SKIPPED,
    Run,
    Step,
    next_step,
)
from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup
from homeport.backup.restores import commands, plan
from homeport.backup.restores.contents import _merge
from homeport.backup.restores.model import Place, beside, losses, target_document, target_of

AT = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)


def place(database: str = "shop_production") -> Place:
    return Place.for_run(
        "b-0123456789",
        AT,
        app="shop",
        environment="production",
        name="main",
        cluster="main",
        database=database,
    )


def played(steps: tuple[Step, ...], fails: str = "", cancel_at: str = "") -> dict[str, str]:
    """How each step ends where one fails, or somebody cancels while it runs."""
    run = Run("b-0123456789", "restore", "x", RETURNING, {}, "me", RUNNING, steps, "", AT, None)
    while (found := next_step(run)) is not None:
        step, how = found
        state = {"skip": SKIPPED, "cancel": CANCELLED}.get(how, PASSED)
        if step.name == cancel_at:
            run = replace(run, cancel="somebody")
        if how == "do" and step.name in (fails, cancel_at):
            state = FAILED if step.name == fails else CANCELLED
        run = run.with_step(replace(step, state=state))
    return {s.name: s.state for s in run.steps}


WHOLE = plan.whole("main", "b-0123456789", {"kind": "newest"}, "", synchronous=False, hold=True)
IN_PLACE = plan.in_place(place(), {"kind": "newest"}, "", {}, hold=True, rollback="r1")


@pytest.mark.parametrize("steps", [IN_PLACE, WHOLE])
def test_whatever_fails_writers_go_on_and_no_copy_is_left(steps: tuple[Step, ...]) -> None:
    last = steps[-1].name
    names = [s.name for s in steps if not s.always]
    for name in names:
        for states in (played(steps, fails=name), played(steps, cancel_at=name)):
            assert states[plan.RELEASE] == PASSED
            assert states[last] == PASSED
            after = names[names.index(name) + 1 :]
            assert all(states[n] in (SKIPPED, CANCELLED) for n in after), (name, states)


def test_nothing_is_switched_to_that_was_not_compared_and_no_data_go_back_without_their_release() -> None:
    assert played(IN_PLACE, fails=plan.TAKE)[plan.SWITCH] == SKIPPED
    assert played(IN_PLACE, fails=plan.BACK)[plan.COPY] == SKIPPED
    assert [s.name for s in IN_PLACE][:3] == [plan.BACK, plan.HOLD, plan.COPY]


def test_writable_on_request() -> None:
    steps = plan.in_place(place(), {"kind": "newest"}, "", {}, hold=False)
    assert [s.name for s in steps] == [plan.COPY, plan.TAKE, plan.SWITCH, plan.TIDY]
    assert set(played(steps).values()) == {PASSED}


def test_names_beside_fit_and_stay_apart() -> None:
    assert beside("shop_production", "before_20261121t163000") == "shop_production_before_20261121t163000"
    long = "a" * 50
    names = {beside(f"{long}{end}", "before_20261121t163000") for end in ("b", "c")}
    assert len(names) == 2
    assert all(len(n) <= 63 and n.endswith("_before_20261121t163000") for n in names)
    found = place()
    assert Place.of(found.document()) == found
    assert (found.fresh, found.side) == ("shop_production_new_0123456789", "restored_20261121t163000")


@pytest.mark.parametrize(
    "target", [Newest(), OfBackup("20261121-030000F"), AtTime(AT), AtPoint("before_r2", "0/16B3748", AT)]
)
def test_targets_are_the_same_after_they_were_sent(target: object) -> None:
    assert target_of(target_document(target)) == target  # type: ignore[arg-type]


def test_losses_are_of_tables_that_differ() -> None:
    found = losses({"a": 3, "b": 5, "gone_then": 1}, {"a": 3, "b": 5, "gone_now": 2}, frozenset({"b"}))
    assert [(k.table, k.now, k.then) for k in found] == [
        ("b", 5, 5),
        ("gone_now", -1, 2),
        ("gone_then", 1, -1),
    ]


def test_rows_that_two_tables_do_not_share() -> None:
    present = [("(1)", 1), ("(10)", 2), ("(2)", 3), ("(é)", 4)]
    past = [("(1)", 1), ("(2)", 9), ("(3)", 5)]
    assert _merge(iter(present), iter(past)) == (2, 1, 1)
    assert _merge(iter([]), iter(past)) == (0, 3, 0)


def test_a_table_beside_has_no_foreign_keys_triggers_or_policies() -> None:
    listed = """;
; Archive created at 2026-11-21
5; 2615 16400 SCHEMA - restored_20261121t163000 shop_production_owner
220; 1259 16401 TABLE restored_20261121t163000 orders shop_production_owner
3333; 0 16401 TABLE DATA restored_20261121t163000 orders shop_production_owner
3000; 2606 16410 CONSTRAINT restored_20261121t163000 orders orders_pkey shop_production_owner
3001; 2606 16411 FK CONSTRAINT restored_20261121t163000 orders orders_fkey shop_production_owner
3002; 2620 16412 TRIGGER restored_20261121t163000 orders refuse shop_production_owner
3003; 3256 16413 POLICY restored_20261121t163000 orders mine shop_production_owner
3004; 0 16401 ROW SECURITY restored_20261121t163000 orders shop_production_owner
3005; 1259 16414 INDEX restored_20261121t163000 orders_note shop_production_owner
"""
    kept = [line.split(";")[0] for line in commands.beside(listed).splitlines()]
    assert kept == ["5", "220", "3333", "3000", "3005"]
