"""A short seed of script/chaos: the control plane killed at each step, every other part once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from chaos import Chaos, all_problems


@pytest.fixture(scope="module")
def chaos():
    """One Homeport: that nothing is left over of all that was killed is looked at once, by the last test."""
    made = Chaos(11)
    try:
        made.start()
        yield made
    finally:
        made.close()


STEPS = {"deploy": range(9), "configure": range(0, 9, 2), "rollback": range(0, 7, 2), "scale": range(1, 7, 2)}
"""The others share most of their steps with a deploy; ``script/chaos`` kills in all of all."""


@pytest.mark.parametrize("action", STEPS)
def test_the_control_plane_killed_at_each_step(chaos, action):
    plan = [(action, "serve", steps) for steps in STEPS[action]]
    assert all_problems(chaos.play(plan, print)) == []


@pytest.mark.parametrize("action", ["canary", "bad canary"])
def test_the_control_plane_killed_at_each_step_of_a_canary(chaos, action):
    plan = [(action, "serve", steps) for steps in range(1, 13, 2)]
    assert all_problems(chaos.play(plan, print)) == []


def test_every_part_killed_once(chaos):
    plan = [
        ("broken", "serve", 4),
        ("deploy", "haproxy", 3),
        ("deploy", "instance", 5),
        ("restart", "logd", 2),
        ("deploy", "supervisord", 4),
    ]
    assert all_problems(chaos.play(plan, print)) == []


def test_nothing_is_left_over(chaos):
    assert chaos.finish() == []
