"""A short seed of bench/cron.py: scheduled commands while the control plane, and runners, are killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import cron


def test_each_due_time_has_one_run_that_starts_once_though_the_control_plane_is_killed():
    account = cron.run(6, 10.0, 8, seed=3)
    assert account.is_kept, account.text()
    assert account.kills == 8 and account.due >= 40
    assert account.states == {"succeeded": account.due}, account.text()


def test_a_killed_runner_loses_its_run_and_no_other():
    account = cron.run(4, 8.0, 3, seed=4, runner_kills=4, work=0.4)
    assert account.is_kept, account.text()
    assert account.runners_killed >= 2
    assert account.states.keys() <= {"succeeded", "lost"}, account.text()
    assert 1 <= account.states["lost"] <= account.runners_killed, account.text()
