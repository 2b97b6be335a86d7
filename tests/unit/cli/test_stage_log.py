"""What a stage said, as people read it."""

import pytest
from cli_rig import record

from homeport.cli.run_view import RunPrinter

RUN = "/v1/runs/p-1f2e3d4c5b"


@pytest.fixture
def run(cli):
    def run(kind, text, records=(), found=None):
        stage = {"name": kind, "kind": kind, "started_at": "2026-11-21T06:00:00", "found": found or {}}
        cli.client.answers |= {
            RUN: {"id": "p-1f2e3d4c5b", "stages": [stage, stage | {"name": "later", "started_at": None}]},
            RUN + "/logs": text,
            RUN + "/records": [r for _, r in records],
        }
        return cli.run("pipeline", "logs", "p-1f2e3d4c5b").output.splitlines()

    return run


def test_a_deploy_is_told_with_its_build_and_its_steps(run):
    lines = run(
        "deploy",
        "compiling\n",
        [
            record("change.started", what="deploy", release="r2", before="r1"),
            record("build.finished", release="r2", seconds=1.0, size=5),
            record("instance.started", instance="shop.production.r2.web.1", port=20001),
            record("change.failed", code="x", reason="cannot use r2", lines=["boom"]),
        ],
    )
    assert lines[:2] == ["deploy r2, r1 serves", "compiling"]
    assert "    started  r2.web.1 on port 20001" in lines
    assert lines[-2:] == ["  │ boom", "  cannot use r2"]


def test_the_lines_of_a_check_that_failed_stand_above_the_others(run):
    checks = [{"name": "lint", "ok": True}, {"name": "tests", "ok": False}, {"name": "types", "ok": False}]
    text = "types │ a\nlint │ b\ntests │ c\ntypes │ d\nlint │ e\n"
    lines = run("check", text, found={"details": {"checks": checks}})
    assert lines == ["tests │ c", "types │ a", "types │ d", "lint │ b", "lint │ e"]


def test_one_check_is_told_as_it_was(run):
    text = "[the control plane was restarted]\ntests │ c\n"
    lines = run("check", text, found={"details": {"checks": [{"name": "tests", "ok": False}]}})
    assert lines == text.splitlines()


@pytest.mark.parametrize(("since", "times"), [(0, 1), (40, 2)])
def test_a_failure_far_above_is_told_again_at_the_end(capsys, since, times):
    printer = RunPrinter(show=True)
    printer.tell(*record("stage.started", stage="check", position=0, attempt=1))
    printer.tell("output", {"text": "tests │ boom\n" + "lint │ well\n" * since})
    failed = record(
        "stage.finished", stage="check", outcome="failed", reason="x", seconds=1.0, lines=["tests │ boom"]
    )
    printer.tell(*failed)
    told = capsys.readouterr()
    assert (told.out + told.err).count("boom") == times
