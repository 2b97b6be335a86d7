"""Following, cancelling and ending a change."""

import json

import pytest
from cli_rig import change, ended, environment, record

STREAM = "/v1/changes/c-0123456789/stream"
PRODUCTION = "/v1/apps/shop/environments/production"
REASON = "cannot use shop.production.r2.web.1: not ready within 60.0 s, /health answered 500"


@pytest.fixture
def failed(cli):
    """``restart`` makes a change that fails after a build or without one."""

    def make(*messages, lines=("Traceback: boom",), **more):
        cli.client.answers[PRODUCTION + "/restarts"] = change()
        failure = {"code": "x", "sentence": REASON, "hint": "see its last lines", "lines": list(lines)}
        cli.client.streams[STREAM] = [
            record("change.started", what="deploy", release="r2", before="r1"),
            *messages,
            record("change.failed", code="x", reason=REASON, lines=list(lines)),
            record("change.finished", what="deploy", verdict="rolled back", release="r2", serving="r1"),
            ("done", ended("rolled back", failure=failure, **more)),
        ]

    return make


def test_the_reason_and_the_lines_of_a_failure_are_told_once_right_above_the_verdict(cli, failed):
    failed(record("instance.started", instance="shop.production.r2.web.1", port=20001))
    cli.client.answers[PRODUCTION] = environment()
    lines = cli.run("restart", status=7).output.splitlines()
    assert [n for n, line in enumerate(lines) if "boom" in line] == [len(lines) - 4]
    assert [n for n, line in enumerate(lines) if REASON in line] == [len(lines) - 3]
    assert lines[-2].strip() == "r1 serves production on, untouched (2.5 s)"
    assert lines[-1] == "hint: see its last lines"
    assert sum("✗" in line for line in lines) == 1


def test_a_worker_that_had_to_stop_for_the_new_one_is_told(cli, failed):
    failed()
    stopped = {"name": "packer", "routed": False, "wanted": 1, "serving": 0}
    cli.client.answers[PRODUCTION] = environment() | {"processes": [stopped]}
    assert "r1 serves production on; packer starts again" in cli.run("restart", status=7).output


def test_what_serves_no_more_is_not_said_to_serve_on(cli, failed):
    failed()
    web = {"name": "web", "routed": True, "wanted": 2, "serving": 0}
    cli.client.answers[PRODUCTION] = environment() | {"processes": [web]}
    said = cli.run("restart", status=7).output
    assert "r1 does not serve production either: homeport ps" in said and "serves production on" not in said


def test_what_a_build_printed_is_not_printed_again(cli, failed):
    failed(("output", {"text": "compiling\nboom\n"}), record("build.failed", release="r2", reason=REASON),
           lines=("compiling", "boom"))  # fmt: skip
    output = cli.run("restart", status=7).output
    assert output.count("boom") == 1 and output.count(REASON) == 1
    assert [line for line in output.splitlines() if "✗" in line] == ["  ✗ build    r2 failed"]


def test_what_nobody_saw_of_a_build_is_printed_with_its_failure(cli, failed):
    failed(record("build.failed", release="r2", reason=REASON), lines=("boom",))
    assert cli.run("restart", status=7).output.count("boom") == 1


def test_an_instance_that_is_waited_for_is_told_of(cli, failed):
    answer = "GET /health answers 500"
    failed(record("instance.waiting", instance="shop.production.r2.web.1", answer=answer, at_most=60.0))
    assert f"waiting  for r2.web.1: {answer} (60 s at most)" in cli.run("restart", status=7).output


@pytest.mark.parametrize(
    ("options", "command"),
    [((), "homeport cancel takes"), (("--env", "staging"), "homeport cancel --app shop --env staging takes")],
)
def test_ctrl_c_says_that_it_goes_on_and_how_to_take_it_back(cli, options, command):
    if not options:
        cli.session.directory.joinpath("homeport.toml").write_text(
            '[app]\nname="shop"\n[processes.web]\ncommand="x"\n'
        )
        cli.session.app_option = None
    name = options[1] if options else "production"
    cli.client.answers[f"/v1/apps/shop/environments/{name}/restarts"] = change(environment=name)
    cli.client.streams[STREAM] = [KeyboardInterrupt()]
    output = cli.run("restart", *options, status=130).output
    assert "goes on without this terminal" in output and command in output


def test_after_a_rollback_it_says_how_to_go_forward_again(cli):
    cli.client.answers |= {
        PRODUCTION + "/rollbacks": change("rollback", "r1"),
        PRODUCTION: environment(),
    }
    cli.client.streams[STREAM] = [
        record("change.started", what="rollback", release="r1", before="r3"),
        ("done", ended("promoted", kind="rollback", release="r1")),
    ]
    for options in ((), ("--quiet",)):
        output = cli.run("rollback", *options).output
        assert "homeport rollback r3 --app shop goes forward to r3 again" in output


@pytest.mark.parametrize(("now", "said"), [("r2", False), ("r1", True)])
def test_what_serves_by_now_is_told_where_it_is_something_else(cli, now, said):
    cli.client.answers |= {
        PRODUCTION + "/restarts": change("restart", "r2"),
        PRODUCTION: environment(releases=[now]),
    }
    cli.client.streams[STREAM] = [("done", ended("promoted", "r2", kind="restart"))]
    output = cli.run("restart").output
    assert "r2 serves production" in output
    assert ("note: r1 serves production by now" in output) is said


def cancelling(cli, *, verdict="rolled back", serving="r1", **more):
    cli.client.answers |= {
        PRODUCTION: environment(change=change(**more)),
        "/v1/changes/c-0123456789": change(**more),
        "/v1/changes/c-0123456789/abort": change(**more),
    }
    cli.client.streams[STREAM] = [
        record("instance.started", instance="shop.production.r2.web.1", port=20001),
        ("output", {"text": "much output"}),
        ("done", ended(verdict, serving, **more)),
    ]


@pytest.mark.parametrize("arguments", [(), ("c-0123456789",)])
def test_cancel_takes_back_what_runs_and_says_what_serves(cli, arguments):
    cancelling(cli)
    lines = cli.run("cancel", *arguments).output.splitlines()
    assert cli.client.sent == [("POST", "/v1/changes/c-0123456789/abort", None)]
    assert lines[0] == "cancelling deploy c-0123456789 of shop to r2, by ada"
    assert lines[1] == "✓ deploy c-0123456789 is taken back, r1 serves production (2.5 s after it began)"
    assert len(lines) == 2


def test_cancel_of_a_first_deploy_and_as_json(cli):
    cancelling(cli, serving=None)
    assert "nothing serves production" in cli.run("cancel").output
    assert json.loads(cli.run("cancel", "--json").output)["result"]["verdict"] == "rolled back"


def test_a_cancel_that_comes_too_late_is_an_error_and_says_how_to_go_back(cli):
    cancelling(cli, verdict="promoted", serving="r2")
    output = cli.run("cancel", status=5).output
    assert "error: cannot cancel deploy c-0123456789: r2 serves production already" in output
    assert "hint: homeport rollback --app shop goes back" in output
    cancelling(cli, verdict="promoted", kind="scale")
    assert "hint:" not in cli.run("cancel", status=5).output


@pytest.mark.parametrize("last", [None, ended("promoted")])
def test_nothing_to_cancel(cli, last):
    cli.client.answers[PRODUCTION] = environment(change=last)
    output = cli.run("cancel", status=4).output
    assert "error: cannot cancel: no change of shop runs in production" in output
    assert ("the last one: deploy c-0123456789 to r2, promoted" in output) == (last is not None)
    assert cli.client.sent == []


def test_a_change_that_is_over_or_none_cannot_be_cancelled(cli):
    cli.client.answers["/v1/changes/c-0123456789"] = ended("rolled back")
    assert "it is over" in cli.run("cancel", "c-0123456789", status=4).output
    assert "cannot read '../x' as a change" in cli.run("cancel", "../x", status=3).output
    assert cli.client.sent == []


def test_ctrl_c_while_cancelling_leaves_it(cli):
    cancelling(cli)
    cli.client.streams[STREAM] = [KeyboardInterrupt()]
    assert "goes on without this terminal" in cli.run("cancel", status=130).output
