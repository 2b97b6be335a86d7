"""A short seed of script/chaos: the control plane killed at each step, every other part once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import chaos


@pytest.mark.parametrize("action", ["deploy", "configure", "rollback", "scale"])
def test_the_control_plane_killed_at_each_step(action):
    plan = [(action, "serve", steps) for steps in range(9 if action in ("deploy", "configure") else 7)]
    assert chaos.run(0, 11, print, plan)["problems"] == []


@pytest.mark.parametrize("action", ["canary", "bad canary"])
def test_the_control_plane_killed_at_each_step_of_a_canary(action):
    plan = [(action, "serve", steps) for steps in range(1, 13, 2)]
    assert chaos.run(0, 13, print, plan)["problems"] == []


def test_every_part_killed_once():
    plan = [
        ("broken", "serve", 4),
        ("deploy", "haproxy", 3),
        ("deploy", "instance", 5),
        ("restart", "logd", 2),
        ("deploy", "supervisord", 4),
    ]
    assert chaos.run(0, 12, print, plan)["problems"] == []
