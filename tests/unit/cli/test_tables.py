"""What is printed for people, at the width of their terminals."""

import json

import click
import pytest
from cli_rig import NOW, environment, record

from homeport.cli import screen

RELEASES = "/v1/apps/shop/releases"
PRODUCTION = "/v1/apps/shop/environments/production"
REASON = "cannot use shop.production.r3.web.1: not ready within 60.0 s, /health answered 500"


def release(id, verdict, **more):
    return {
        "id": id, "commit": "0123456789abcdef", "subject": "Sell hats, and gloves too, in every size there is",
        "dirty": False, "state": "ready", "size": 12_300_000, "build_seconds": 12.5,
        "created_at": NOW.isoformat(), "serving": [], "warm": [], "verdict": verdict, "reason": None,
    } | more  # fmt: skip


FOUND = [
    release("r5", "in progress", state="building", size=None, build_seconds=None),
    release("r4", "build failed", state="failed", reason="cannot build r4: the command ended with status 2"),
    release("r3", "never served", reason=REASON),
    release("r2", "serves", serving=["production"]),
    release("r1", "served", state="pruned", warm=["staging"]),
]


@pytest.fixture
def releases(cli):
    cli.client.answers[RELEASES] = FOUND
    return lambda: cli.run("releases").output.splitlines()


def test_releases_tell_what_became_of_each(releases):
    lines = releases()
    assert lines[0].split() == ["RELEASE", "FILES", "VERDICT", "COMMIT", "SIZE", "BUILD", "MADE", "SUBJECT"]
    assert " ".join(lines).count("r1") == 1
    rows = {line.split()[0]: line for line in lines[1:] if not line.startswith(" ")}
    assert "in progress" in rows["r5"] and "build failed" in rows["r4"] and "never served" in rows["r3"]
    assert "ready" in rows["r2"] and "serves production" in rows["r2"]
    assert "pruned" in rows["r1"] and "served, warm in staging" in rows["r1"]
    assert REASON in lines[lines.index(rows["r3"]) + 1]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_releases_fit_and_keep_the_release_the_verdict_and_the_reason(releases, terminal, width):
    terminal(width)
    lines = releases()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for r in FOUND:
        assert r["id"] in text and r["verdict"] in text and (r["reason"] or "") in text
    assert any("Sell" in line for line in lines) == (width > 40)


def test_releases_as_json_have_the_verdict(cli):
    cli.client.answers[RELEASES] = FOUND
    assert [r["verdict"] for r in json.loads(cli.run("releases", "--json").output)] == [
        r["verdict"] for r in FOUND
    ]


def instance(n, **more):
    return {
        "name": f"shop.production.r12.web.{n}", "process": "web", "release": "r12", "port": 20000 + n,
        "state": "running", "pid": 123456, "since": 3661.0, "exit": "", "healthy": True, "weight": 100,
        "share": 0.5, "sessions": 12, "retire_at": None, "memory": 123_000_000,
    } | more  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_instances_fit_and_keep_how_they_are(cli, terminal, width):
    terminal(width)
    note = "killed by SIGKILL (out of memory)"
    cli.client.answers[PRODUCTION] = environment(
        instances=[instance(1), instance(2, state="backoff", exit=note)]
    )
    lines = cli.run("ps").output.splitlines()
    assert max(map(len, lines)) <= width
    assert "r12.web.2" in lines[2] and "backoff" in lines[2] and note in "".join(lines[2:])
    assert ("PID" in lines[0]) == (width == 120)


@pytest.mark.parametrize("width", [60, 80])
def test_apps_fit_and_keep_their_addresses_whole(cli, terminal, width):
    terminal(width)
    url = "http://a-rather-long-name.example.com:18231/"
    found = environment("staging", urls=[url])
    cli.client.answers["/v1/status"] = {"apps": [{"name": "shop", "environments": [found]}]}
    lines = cli.run("apps").output.splitlines()
    assert max(map(len, lines)) <= width and url in "".join(lines)
    assert len(lines) == (3 if width == 60 else 2)


EVENTS = [
    record("change.failed", code="rollout.not_ready", reason=REASON, lines=["starting", "Traceback: boom"])[1],
    record("traffic.shifted", weights={"shop.production.r2.web.1": 100, "shop.production.r1.web.1": 0},
           method="runtime", milliseconds=4.2)[1],
    record("instance.ready", instance="shop.production.r2.web.1", seconds=1.23456)[1],
]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_events_fit_and_keep_the_reason(cli, terminal, width):
    terminal(width)
    cli.client.answers["/v1/events"] = EVENTS
    output = cli.run("events").output
    assert max(map(len, output.splitlines())) <= width
    text = " ".join(output.split())
    for wanted in (f"reason={REASON}", "last line=Traceback: boom", "weights=r2.web.1:100,r1.web.1:0",
                   "instance=r2.web.1", "seconds=1.23", "change.failed shop/production by ada"):  # fmt: skip
        assert wanted in text


def test_figures_of_events_have_three_digits_that_matter(cli):
    cli.client.answers["/v1/events"] = [
        record("x.y", share=0.333333333, figures={"p95": 0.123456789, "of": [1234.5678]}, n=123456789)[1]
    ]
    output = cli.run("events").output
    assert 'share=0.333  figures={"p95": 0.123, "of": [1235]}  n=123456789' in output


def test_previews_say_when_they_expire(cli):
    preview = {
        "name": "hats", "state": "serving", "branch": "hats", "commit": "1f2e3d4c5b6a", "created_at":
        NOW.isoformat(), "expires_at": "2026-11-27T06:00:00+00:00", "memory": 0, "urls": [],
    }  # fmt: skip
    cli.client.answers["/v1/apps/shop/previews"] = [preview]
    assert "in 6 d, 2026-11-27" in cli.run("preview", "list").output


def test_events_are_a_line_each_where_there_is_no_terminal(cli):
    cli.client.answers["/v1/events"] = EVENTS
    assert len(cli.run("events").output.splitlines()) == len(EVENTS)


def test_columns_keep_what_need_not_give_way(capsys, terminal):
    terminal(20)
    screen.columns(
        ["A", "B", "C"], [["a" * 15, "b" * 15, "c" * 15]], shorten={"B": 4}, drop=["C"], under=["why " * 9]
    )
    head, row, *under = capsys.readouterr().out.splitlines()
    assert head.split() == ["A", "B"]
    assert row == "a" * 15 + "  bbb…"
    assert " ".join(" ".join(under).split()) == ("why " * 9).strip()
    assert all(line.startswith(" ") and len(line) <= 28 for line in under)


def test_columns_are_whole_where_there_is_room_and_measured_without_style(capsys, terminal):
    terminal(12)
    screen.columns(
        ["A", "B"], [[click.style("aaaa", fg="red"), "bbbbbb"], ["a", ""]], shorten={"B": 1}, drop=["B"]
    )
    assert click.unstyle(capsys.readouterr().out).splitlines() == ["A     B", "aaaa  bbbbbb", "a"]
    terminal(None)
    screen.columns(["A", "B"], [["a" * 500, ""]], shorten={"A": 1}, drop=["A"])
    assert click.unstyle(capsys.readouterr().out).splitlines() == ["A", "a" * 500]


def test_logs_without_lines_say_where_requests_are_logged(cli):
    cli.client.answers[PRODUCTION + "/logs"] = []
    assert "/data/edge/access.log" in cli.run("logs").output
    assert "no lines since 10m" in cli.run("logs", "--since", "10m").output
    assert cli.run("logs", "--json").output == ""


def test_logs_that_are_followed_go_on_until_ctrl_c(cli):
    line = {"at": "2026-11-20T14:03:10.123Z", "instance": "shop.production.r1.web.1", "text": "hello"}
    cli.client.streams[PRODUCTION + "/logs/stream"] = [("line", line), KeyboardInterrupt()]
    assert cli.run("logs", "-f", status=130).output.rstrip().endswith("hello")


def test_logs_of_a_build_by_its_number(cli):
    cli.client.answers["/v1/apps/shop/releases/r3/log"] = "compiled\n"
    assert cli.run("logs", "--build", "3").output == "compiled\n"
    assert "cannot read '../x' as a release" in cli.run("logs", "--build", "../x", status=3).output
