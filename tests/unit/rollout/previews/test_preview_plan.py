"""What previews are called, when they end and sleep, and what is told of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.kernel.ids import AppName, is_name
from homeport.rollout.previews import plan
from homeport.rollout.previews.model import Preview, PreviewState, environment_of
from homeport.spec.parse import parse

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PREVIEW = Preview(
    AppName("shop"),
    environment_of("hats"),
    "hats",
    "hats",
    "1f2e3d4c",
    "ann",
    NOW - timedelta(days=1),
    NOW + timedelta(days=1),
    NOW - timedelta(minutes=30),
    False,
)


@pytest.mark.parametrize(
    ("branch", "name"),
    [
        ("hats", "hats"),
        ("feature/Hats_and.Caps", "feature-hats-and-caps"),
        ("--x--", "x"),
        ("2026-fix", "2026-fix"),
        ("preview-hats", "hats"),
        ("a" * 25, "a" * 25),
    ],
)
def test_a_branch_gives_its_preview_the_name(branch, name):
    assert plan.name_of(branch, {}) == name


def test_a_long_name_is_shortened_and_tells_branches_apart():
    one, two = (plan.name_of("feature/a-very-long-name-of-a-branch-" + x, {}) for x in "12")
    assert one != two
    assert one.startswith("feature-a-very-lon") and len(one) <= 25


def test_another_branch_of_the_same_name_gets_a_hash_and_the_same_one_does_not():
    taken = {"fix-x": "fix/x"}
    assert plan.name_of("fix/x", taken) == "fix-x"
    other = plan.name_of("fix-x", taken)
    assert other.startswith("fix-x-") and other == plan.name_of("fix-x", taken)


def test_a_branch_without_a_letter_has_a_name_too():
    assert plan.name_problem(plan.name_of("ветка", {})) is None
    assert plan.name_of("ветка", {}) != plan.name_of("друга", {})


@given(st.text(min_size=1, max_size=200), st.sets(st.text(max_size=10)))
def test_every_branch_gets_the_name_of_an_environment(branch, others):
    taken = {plan.name_of(other, {}): other for other in others if other}
    name = plan.name_of(branch, taken)
    assert plan.name_problem(name) is None
    assert is_name(environment_of(name))
    assert taken.get(name, branch) == branch


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a.b", "a/b", "a b", "x" * 26, "preview-x", "é", "a\n"]
)
def test_what_is_no_name_is_refused(name):
    assert plan.name_problem(name) is not None


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 1e12, float("nan"), float("inf")])
def test_what_is_no_time_to_live_is_refused(seconds):
    assert plan.ttl_problem(seconds) is not None


def test_a_preview_is_over_at_its_time():
    assert plan.expired([PREVIEW], NOW) == ()
    assert plan.expired([PREVIEW], PREVIEW.expires_at) == (PREVIEW,)


def test_only_what_nobody_used_for_long_enough_sleeps():
    def is_idle(minutes, **changed):
        used_at = NOW - timedelta(minutes=minutes)
        return plan.is_idle(replace(PREVIEW, **changed), used_at, 1800.0, NOW)

    assert is_idle(30) and not is_idle(29)
    assert not is_idle(30, asleep=True)
    assert not is_idle(30, expires_at=NOW)
    assert not plan.is_idle(PREVIEW, NOW - timedelta(days=1), None, NOW)


@pytest.mark.parametrize(
    ("expected", "told", "changed"),
    [
        ("serving", {}, {}),
        ("serving", {"health": "degraded"}, {}),
        ("starting", {"health": "empty", "moving": True}, {}),
        ("failed", {"health": "empty"}, {}),
        ("failed", {"health": "down"}, {}),
        ("asleep", {"health": "asleep"}, {"asleep": True}),
        ("waking", {"health": "asleep", "waking": True}, {"asleep": True}),
        ("failed", {"health": "asleep", "problem": "it crashed"}, {"asleep": True}),
        ("waking", {"health": "asleep", "problem": "it crashed", "waking": True}, {"asleep": True}),
        ("starting", {"health": "asleep", "moving": True}, {"asleep": True}),
        ("removing", {}, {"expires_at": NOW}),
    ],
)
def test_what_is_told_of_it(expected, told, changed):
    given = {"health": "up", "moving": False, "waking": False, "problem": None, "now": NOW} | told
    assert plan.standing(replace(PREVIEW, **changed), **given) is PreviewState(expected)


def test_a_preview_is_no_canary_as_nobody_is_there_to_judge_it_by():
    text = """
    [app]
    name = "shop"
    [processes.web]
    command = "serve"
    [routes]
    "shop.example.com" = "web"
    [rollout]
    strategy = "canary"
    [previews]
    domain = "preview.example.com"
    """
    spec = parse(text)
    assert spec.for_environment("preview-hats").rollout.strategy == "blue-green"
    assert spec.for_environment("production").rollout.strategy == "canary"
