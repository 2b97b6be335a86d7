"""What a look at a rotation decides, and that it comes to its end from wherever it was cut off."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from homeport.kernel.errors import HomeportError
from homeport.rollout.data import rotation
from homeport.rollout.data.rotation import PAUSES, Rotations, Seen, next_move
from homeport.rollout.errors import BUSY

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEGUN = Seen(
    is_set=False,
    serves=True,
    serves_new=False,
    moving=False,
    warm=0,
    others=2,
    hurried=False,
    tries=0,
    last_try=None,
)
SET = replace(BEGUN, is_set=True)
SWITCHED = replace(SET, serves_new=True, warm=2, others=0, tries=1, last_try=NOW)


def test_the_new_url_is_set_before_anything_else():
    assert next_move(BEGUN, NOW) == "set"
    assert next_move(replace(BEGUN, serves=False, others=0), NOW) == "set"


def test_the_app_is_rolled_at_once_and_once():
    assert next_move(SET, NOW) == "roll"
    assert next_move(replace(SET, moving=True, tries=1), NOW) == "wait"


def test_what_serves_nothing_is_retired_at_once():
    assert next_move(replace(SET, serves=False, others=0), NOW) == "retire"


@pytest.mark.parametrize("change", [{"others": 1}, {"moving": True}, {"serves_new": False, "tries": 9}])
def test_a_login_that_somebody_may_have_is_never_retired(change):
    for hurried in (False, True):
        seen = replace(SWITCHED, warm=0, hurried=hurried, **change)
        assert next_move(seen, NOW) == "wait"


def test_instances_kept_for_a_way_back_are_waited_for_unless_that_is_not_wanted():
    assert next_move(SWITCHED, NOW) == "wait"
    assert next_move(replace(SWITCHED, hurried=True), NOW) == "hurry"
    assert next_move(replace(SWITCHED, warm=0), NOW) == "retire"


def test_a_rollout_that_failed_is_tried_again_with_growing_pauses_and_then_no_more():
    failed = replace(SET, tries=1, last_try=NOW)
    assert next_move(failed, NOW) == "wait"
    assert next_move(failed, NOW + PAUSES[1] - timedelta(seconds=1)) == "wait"
    assert next_move(failed, NOW + PAUSES[1]) == "roll"
    assert next_move(replace(failed, tries=len(PAUSES)), NOW + timedelta(days=9)) == "wait"


def test_a_person_who_asks_does_not_wait_for_the_next_try_but_for_what_moves():
    failed = replace(SET, tries=len(PAUSES), last_try=NOW)
    assert next_move(failed, NOW, asked=True) == "roll"
    assert next_move(replace(failed, moving=True), NOW, asked=True) == "wait"
    assert next_move(SWITCHED, NOW, asked=True) == "wait"


@pytest.mark.parametrize("hurried", [False, True])
@pytest.mark.parametrize("failures", [0, 2])
def test_every_rotation_ends_whatever_it_is_cut_off_at(hurried, failures):
    """The world answers each move, half of them lost: the next look goes on from what there is."""
    seen, now, lost, left = replace(BEGUN, hurried=hurried), NOW, set(), failures
    moves = []
    while len(moves) < 60:
        move = next_move(seen, now)
        moves.append(move)
        if move == "retire":
            break
        if move not in lost and move != "wait":
            lost.add(move)  # killed before it did anything
            continue
        match move:
            case "set":
                seen = replace(seen, is_set=True)
            case "roll":
                seen = replace(seen, moving=True, tries=seen.tries + 1)
            case "hurry":
                seen = replace(seen, warm=0)
            case "wait" if seen.moving and left:
                left -= 1
                seen = replace(seen, moving=False, last_try=now)
            case "wait" if seen.moving:
                seen = replace(seen, moving=False, last_try=now, serves_new=True, warm=2, others=0)
            case "wait":
                now += timedelta(minutes=10)
                if seen.serves_new:
                    seen = replace(seen, warm=0)
    assert moves[-1] == "retire"
    assert seen.is_set and seen.serves_new and not seen.warm and not seen.others and not seen.moving


def test_what_is_retired_is_the_rotation_that_was_looked_at():
    retired = []
    stores = SimpleNamespace(databases=SimpleNamespace(retire=lambda *given: retired.append(given)))
    rotations = Rotations(SimpleNamespace(stores=stores, clock=SimpleNamespace(now=lambda: NOW)), None)
    rotations.look = lambda row: replace(SWITCHED, warm=0)
    row = SimpleNamespace(app="shop", environment="production", name="main", rotated_at=NOW)
    rotations._take(row, "homeport")
    assert retired == [("shop", "production", "main", NOW)]


class Refusing:
    """The other one was first."""

    def configure(self, *_, **__):
        raise BUSY.error("cannot start: configure c-1 of shop to r1 runs in production")


@pytest.mark.parametrize("first", [True, False])
def test_a_rollout_that_another_began_at_the_same_moment_is_the_same_one(monkeypatch, first):
    monkeypatch.setattr(rotation, "rolling", lambda row, attempt: "c-1")
    rotations = Rotations(SimpleNamespace(clock=SimpleNamespace(now=lambda: NOW)), Refusing())
    rotations.look = lambda row: SET
    rotations._change = lambda id: id if first else None
    row = SimpleNamespace(app="shop", environment="production")
    if first:
        rotations._take(row, "ada", asked=True)
        return
    with pytest.raises(HomeportError, match="cannot start"):
        rotations._take(row, "ada", asked=True)
