"""The steps of a restore, from every prefix; names, losses, and which lines of a dump are wanted beside."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from played_steps import AT, played

from homeport.backup.model import CANCELLED, PASSED, SKIPPED, Step
from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup
from homeport.backup.restores import commands, plan
from homeport.backup.restores.contents import _merge
from homeport.backup.restores.model import Place, beside, losses, target_document, target_of


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


WHOLE = plan.whole("main", "b-0123456789", {"kind": "newest"}, "", synchronous=False, hold=True)
IN_PLACE = plan.in_place(place(), {"kind": "newest"}, "", {}, hold=True, rollback="r1")


FILES = plan.files({"paths": []}, hold=True, restart=True)


@pytest.mark.parametrize("steps", [IN_PLACE, WHOLE, FILES])
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


def test_to_find_out_what_a_cluster_would_lose_nothing_is_touched_and_no_copy_is_left() -> None:
    steps = plan.looking_at_all("main", "b-0123456789", {"kind": "newest"}, "")
    works = {s.work for s in steps}
    assert works == {"restore-copy", "restore-compare-cluster", "restore-tidy-look"}
    for s in steps[:-1]:
        assert played(steps, fails=s.name)[plan.TIDY] == PASSED
        assert played(steps, cancel_at=s.name)[plan.TIDY] == PASSED


def test_writable_on_request() -> None:
    steps = plan.in_place(place(), {"kind": "newest"}, "", {}, hold=False)
    assert [s.name for s in steps] == [plan.COPY, plan.TAKE, plan.SWITCH, plan.SCHEMA, plan.TIDY]
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
    assert target_of(target_document(target)) == target


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
