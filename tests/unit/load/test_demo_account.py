"""What the demo makes of the figures it saw."""

from typing import Any

import pytest
from demo_account import OWN_ERROR, Push, account, seconds_of, table

DEPLOY = {
    "what": "new look",
    "release": "r2",
    "verdict": "promoted",
    "serving": "r1",
    "seconds": 9.5,
    "build_seconds": 4.25,
}


def push(state: str, failed_by_canary: int) -> Push:
    return Push(
        what="a push",
        commit="c0ffee",
        release="r4",
        state=state,
        reason="",
        serving="r1",
        seconds=9.0,
        stages={"check": 0.5},
        requests=1000,
        canary_requests=50,
        canary_errors=failed_by_canary,
        failed=failed_by_canary,
        failed_by_canary=failed_by_canary,
    )


def figures(failed: int, *what: str, **more: Any) -> dict[str, Any]:
    failures = [{"time": "10:00:00", "kind": "get", "what": text} for text in what]
    by_kind = {"get": {"failed": failed}}
    return {
        "sent": 1000,
        "failed": failed,
        "failures": failures,
        "by_kind": by_kind,
        "releases": {},
        "acknowledged": ["a", "b"],
        "unacknowledged": [],
    } | more


def test_only_what_the_bad_canary_answers_itself_may_fail() -> None:
    good = account(figures(3, OWN_ERROR), [push("failed", 3), push("passed", 0)], ["a", "b"])
    assert (good["ok"], good["failed_by_bad_canary"], good["failed_otherwise"]) == (True, 3, 0)
    bad = account(figures(3, OWN_ERROR, "status 503"), [push("failed", 3)], ["a", "b"])
    assert (bad["ok"], bad["failed_otherwise"]) == (False, 1)
    kept = account(figures(3), [push("passed", 3)], ["a", "b"])
    assert (kept["ok"], kept["failed_otherwise"]) == (False, 3)


@pytest.mark.parametrize(("stored", "lost", "doubled"), [(["a"], 1, 0), (["a", "b", "b"], 0, 1)])
def test_an_order_that_is_lost_or_doubled_is_no_success(stored: list[str], lost: int, doubled: int) -> None:
    found = account(figures(0), [], stored)
    assert (found["ok"], found["orders_lost"], found["orders_doubled"]) == (False, lost, doubled)


def test_the_table_of_a_demo_that_was_stopped_says_why_and_nothing_that_is_not_known() -> None:
    result = {
        "deploys": [DEPLOY],
        "pushes": [],
        "migrations": [],
        "stopped": "r2 was taken back: 3 of 60 requests failed",
        "requests_sent": 700,
        "requests_failed": 3,
    }
    assert list(table(result))[1:] == [
        "new look  r2       promoted  r1      9.50     4.25",
        "",
        "requests sent   700, failed 3",
        "✗ the demo did not go as it should: r2 was taken back: 3 of 60 requests failed",
    ]


def test_a_stage_takes_from_its_start_to_its_end() -> None:
    stage = {"started_at": "2026-11-21T10:00:00Z", "finished_at": "2026-11-21T10:00:02.504000Z"}
    assert seconds_of(stage) == 2.5
