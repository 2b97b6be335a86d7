"""What ``homeport recover`` says before it asks, when it is stopped, and at its end; what Ctrl-C leaves running."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cli_rig import NOW, Cli

from homeport.backup.files.errors import NO_REPOSITORY
from homeport.cli import recover as command
from homeport.main.recovering_up import unknown_migrations

REPORT = {
    "ok": True, "seconds": 12.0, "serving": [], "lost": [], "notes": [], "todo": [],
    "as_of": [
        {"what": "state, releases, config and secrets", "at": "2026-11-20T20:05:00+00:00"},
        {"what": "cluster main", "at": None},
    ],
}  # fmt: skip


@pytest.fixture
def ready(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setattr(command, "asked", lambda *_, **__: "six random words")
    cli.lifecycle.check_recover = lambda *_: None
    cli.lifecycle.recover = lambda *_, **__: REPORT
    return cli


def test_the_end_names_the_moment_of_all_that_came_back(ready: Cli) -> None:
    said = ready.run("recover", "/backups").output
    assert "everything" not in said and "this came back, after 12.0 s:" in said
    assert "state, releases, config and secrets: as of 2026-11-" in said
    assert "cluster main: of a moment that is not known" in said


def test_nobody_is_asked_for_a_passphrase_where_there_is_no_repository(
    ready: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise NO_REPOSITORY.error("cannot recover from /backups: there is none at that place")

    ready.lifecycle.check_recover = none
    monkeypatch.setattr(command, "asked", lambda *_, **__: pytest.fail("it asked"))
    assert "there is none" in ready.run("recover", "/backups", status=4).output


def test_ctrl_c_says_how_it_goes_on(ready: Cli) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    ready.lifecycle.recover = stopped
    assert "homeport recover again, as it was called" in ready.run("recover", "/backups", status=130).output


def test_ctrl_c_leaves_a_run_running_and_says_so(ready: Cli) -> None:
    run = {"id": "b-0123456789", "kind": "backup", "subject": "all", "state": "running", "steps": []}
    ready.client.answers["/v1/backups"] = run
    ready.client.answers["/v1/backups/runs/b-0123456789"] = KeyboardInterrupt()
    ready.session.clock.sleep = lambda _: None
    said = ready.run("backup", "run", status=130).output
    assert (
        "it goes on: homeport backup show b-0123456789; homeport backup cancel b-0123456789 ends it" in said
    )


def test_migrations_of_a_release_that_did_not_come_back_are_named() -> None:
    as_of = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)

    def status(version: str, state: str, minutes: int) -> dict[str, Any]:
        at = (as_of + timedelta(minutes=minutes)).isoformat()
        return {"version": version, "description": "add x", "state": state, "applied_at": at, "release": "r6"}

    # What a rollback left was there before the state was backed up.
    known = [status("1", "applied", -9), status("2", "missing", -5)]
    assert unknown_migrations("shop production", "main", "r4", known, as_of) == ""
    told = unknown_migrations("shop production", "main", "r4", [*known, status("3", "missing", 1)], as_of)
    assert "migrations 3 add x of database main (r6 then)" in told and "r4 serves" in told
    assert "deploy the code of that release again" in told


def test_the_status_says_since_when_files_and_state_would_be_lost(cli: Cli) -> None:
    at = (NOW - timedelta(minutes=40)).isoformat()
    cli.client.answers["/v1/backups/status"] = {
        "ok": True, "recoverable": True, "problems": [], "repositories": [{"name": "local", "place": "/b", "lock": None}],
        "last": None, "proven_at": None, "running": [],
        "looks": [{"cluster": "main", "lost": 50, "rpo": 300.0, "backed_up": True}],
        "files": [{"series": "homeport", "at": at}, {"series": "shop.production", "at": NOW.isoformat()}],
    }  # fmt: skip
    said = cli.run("backup", "status").output
    assert "the last 50.0 s of cluster main" in said
    [state] = [line for line in said.splitlines() if "state since 2026-11-21" in line]
    assert state.endswith("(40 m ago), with the machine")
    [files] = [line for line in said.splitlines() if "files since 2026-11-21" in line]
    assert files.endswith("ago), with the machine") and "40 m" not in files
