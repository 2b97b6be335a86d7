"""A release on trial, and what people say to it."""

import pytest
from cli_rig import change, ended, environment, record

ROLLOUT = "/v1/apps/shop/environments/production/rollout"
CHANGE = "/v1/changes/c-0123456789"


def trial(**more):
    return {
        "change": "c-0123456789", "release": "r2", "before": "r1", "phase": "canary", "step": 0,
        "shares": [0.2, 0.5, 1.0], "share": 0.2, "until": None, "paused_by": None, "asks": False,
        "outcome": "forming", "reasons": ["30 more requests"], "figures": {}, "state": "running",
    } | more  # fmt: skip


def test_the_step_shows_without_colour(cli):
    cli.client.answers[ROLLOUT] = trial(step=1)
    assert "steps    20 % → [50 %] → 100 %" in cli.run("rollout", "show").output


@pytest.mark.parametrize(("verdict", "status"), [("promoted", 0), ("rolled back", 7)])
def test_promote_tells_what_became_of_the_canary(cli, verdict, status):
    over = trial(step=2, share=1.0, outcome=verdict, state=verdict, reasons=["kept by ada"])
    cli.client.answers |= {ROLLOUT + "/promote": trial(), CHANGE: change(), ROLLOUT: over}
    cli.client.streams[CHANGE + "/stream"] = [("done", ended(verdict))]
    output = cli.run("rollout", "promote", status=status).output
    assert f"r2 canary, {verdict}" in output and "forming" not in output


def test_promoting_what_is_watched_is_done_at_once(cli):
    cli.client.answers[ROLLOUT + "/promote"] = trial(phase="watch", outcome="promoted", state="promoted")
    assert "r2 watched, promoted" in cli.run("rollout", "promote").output


def test_abort_neither_replays_the_deploy_nor_calls_what_was_wanted_an_error(cli):
    cli.client.answers[ROLLOUT + "/abort"] = change()
    cli.client.streams[CHANGE + "/stream"] = [
        ("output", {"text": "compiling\n"}),
        record("build.finished", release="r2", seconds=1.0, size=5),
        ("done", ended("rolled back")),
    ]
    output = cli.run("rollout", "abort").output
    assert output.splitlines() == [
        "taking back r2 of shop",
        "✓ deploy c-0123456789 is taken back, r1 serves production (2.5 s after it began)",
    ]
    cli.client.streams[CHANGE + "/stream"] = [("done", ended("promoted", "r2"))]
    assert "cannot abort deploy c-0123456789: r2 serves" in cli.run("rollout", "abort", status=5).output


def test_a_steps_figures_follow_its_beginning_and_are_told_at_once(cli):
    """They are read later than events: those of a step that was not told yet would stand above it."""

    def step(number):
        return record("canary.step", release="r2", step=number, of=3, share=0.25 * number)

    cli.client.answers[CHANGE] = change()
    cli.client.streams[CHANGE + "/stream"] = [
        ("trial", trial(step=0, share=0.25)),
        step(1),
        ("trial", trial(step=0, share=0.25)),
        ("trial", trial(step=1, share=0.5)),
        step(2),
        ("trial", trial(step=1, share=0.5)),
        ("done", ended("promoted", "r2")),
    ]
    cli.client.answers["/v1/apps/shop/environments/production/restarts"] = change()
    cli.client.answers["/v1/apps/shop/environments/production"] = environment()
    lines = [line.split(" · ")[0].strip() for line in cli.run("restart").output.splitlines()]
    assert lines[:4] == [
        "✓ canary   r2 gets 25 % of the requests (step 1 of 3)",
        "r2 at 25 % no requests yet",
        "✓ canary   r2 gets 50 % of the requests (step 2 of 3)",
        "r2 at 50 % no requests yet",
    ]
