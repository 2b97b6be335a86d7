"""When Homeport's own state is backed up after a change."""

from datetime import UTC, datetime, timedelta

import pytest

from homeport.backup.model import FAILED, PASSED, RUNNING, STATE, Run, Step
from homeport.backup.own_state import AGAIN, APART, LATEST, LONGEST, QUIET, RUNS, due

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LITTLE = timedelta(seconds=1)


def run(began, state=PASSED, *made):
    steps = (Step("files", "files", result={"made": list(made)}),)
    return Run("b-0123456789", STATE, "homeport", STATE, {}, "homeport", state, steps, "", began, None)


def ago(time):
    return NOW - time


@pytest.mark.parametrize(
    ("first", "newest", "kept", "runs", "expected"),
    [
        (ago(QUIET), ago(QUIET), None, (), True),
        (ago(QUIET), ago(QUIET), ago(QUIET) + LITTLE, (), None),
        (ago(QUIET), ago(QUIET), ago(QUIET) - LITTLE, (), True),
        # Others may follow, but not for ever.
        (ago(LITTLE), ago(LITTLE), None, (), False),
        (ago(LONGEST), ago(LITTLE), None, (), True),
        # The last one.
        (ago(QUIET), ago(QUIET), None, [run(ago(APART))], True),
        (ago(QUIET), ago(QUIET), None, [run(ago(APART) + LITTLE)], False),
        (ago(QUIET), ago(QUIET), None, [run(ago(AGAIN), RUNNING)], False),
        (ago(QUIET), ago(QUIET), None, [run(ago(APART), FAILED)], False),
        (ago(QUIET), ago(QUIET), None, [run(ago(AGAIN), FAILED)], True),
        (ago(QUIET), ago(QUIET), None, [run(ago(AGAIN), FAILED)] * 2, False),
        (ago(QUIET), ago(QUIET), None, [run(ago(2 * AGAIN), FAILED)] * 2 + [run(ago(LATEST))], True),
        (ago(QUIET), ago(QUIET), None, [run(ago(LATEST), FAILED)] * RUNS, True),
        # Where another repository has it, what is new need not wait for the one that is away.
        (ago(LITTLE), ago(QUIET), None, [run(ago(AGAIN), FAILED, "r1")] * 3, True),
        (ago(LATEST), ago(AGAIN) - LITTLE, None, [run(ago(AGAIN), FAILED, "r1")] * 3, False),
        # A clock that was ahead, and is right again.
        (ago(QUIET), ago(QUIET), None, [run(NOW + AGAIN, FAILED)], True),
    ],
)
def test_it_is_due_once_somebody_is_done_and_not_too_often(first, newest, kept, runs, expected) -> None:
    assert due((first, newest), kept, runs, NOW) is expected
