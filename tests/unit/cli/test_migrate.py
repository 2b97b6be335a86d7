"""``homeport migrate``: files here, what is asked and sent, and how a person reads it."""

import base64

import pytest
from cli_rig import change, ended, record

from homeport.cli import migrate
from homeport.spec import migration_names

BASE = "/v1/apps/shop/environments/production/migrations"
CHANGE = "/v1/changes/c-0123456789/stream"
SPEC = """
[app]
name = "shop"
[processes.web]
command = "true"
[database.main]
migrations = "sql"
"""
STEP = {
    "act": "run", "version": "2", "filename": "2_b.sql", "direction": "down", "contract": False,
    "statements": ["drop table b"],
}  # fmt: skip


@pytest.fixture
def here(cli, monkeypatch):
    """A working tree of the app, with one migration."""
    monkeypatch.setattr(migrate, "Client", lambda *_, **__: cli.client)
    (cli.session.directory / "homeport.toml").write_text(SPEC)
    (cli.session.directory / "sql").mkdir()
    (cli.session.directory / "sql" / "1_a.sql").write_bytes(b"-- migrate:up\n")
    return cli


def status(**more):
    row = {
        "version": "1", "description": "a", "state": "applied", "contract": False, "by": "ada (c-1)", "release": "r1",
        "applied_at": "2026-11-21T05:00:00+00:00", "rolled_back_at": None, "duration": 0.012,
    }  # fmt: skip
    return {"database": "main", "statuses": [row], "problems": [], "waiting": [], "failed": []} | more


def planned(*steps, **more):
    return {"database": "main", "steps": list(steps), "sql": "SELECT 1;\n", "waiting": []} | more


def sent(cli):
    return [body for _, _, body in cli.client.sent]


def test_a_new_migration_is_written_once(here):
    path = here.session.directory / "sql" / "20261121060000_add_orders.sql"
    assert str(path) in here.run("migrate", "new", "Add", "orders!").output
    assert path.read_text() == "-- migrate:up\n\n\n-- migrate:down\n\n"
    path.write_text("mine")
    assert "has its version" in here.run("migrate", "new", "other", status=5).output
    assert path.read_text() == "mine" and here.client.sent == []


def test_a_new_contract_is_marked(here):
    here.run("migrate", "new", "drop", "note", "--contract")
    path = here.session.directory / "sql" / "20261121060000_drop_note.sql"
    assert path.read_text().startswith("-- homeport:contract\n-- migrate:up\n")


def test_a_migration_needs_words_and_a_directory(here):
    assert "cannot name a migration" in here.run("migrate", "new", "…", status=3).output
    (here.session.directory / "homeport.toml").write_text(
        SPEC.replace('[database.main]\nmigrations = "sql"', "")
    )
    assert "cannot write a migration" in here.run("migrate", "new", "x", status=3).output


def test_the_files_here_are_sent(here):
    here.client.answers[BASE + "/status"] = status()
    here.run("migrate", "status")
    content = base64.b64encode(b"-- migrate:up\n").decode()
    assert sent(here) == [{"files": [{"name": "1_a.sql", "content": content}]}]


def test_a_release_or_another_app_is_looked_at_without_them(here):
    here.client.answers[BASE + "/status"] = status()
    here.run("migrate", "status", "--release", "3")
    here.session.app_option = "other"
    here.client.answers[BASE.replace("shop", "other") + "/status"] = status()
    here.run("migrate", "status")
    assert sent(here) == [{"release": "r3"}, {}]


def test_a_file_that_is_data_is_not_sent(here, monkeypatch):
    monkeypatch.setattr(migration_names, "LARGEST", 10)
    assert "1_a.sql: it has more than" in here.run("migrate", "status", status=3).output
    assert here.client.sent == []


def test_status_tells_what_waits_what_failed_and_what_stops(here):
    problem = {
        "code": "x",
        "sentence": "cannot migrate: 1_a.sql was changed",
        "hint": "put it back",
        "details": ["-a"],
    }
    here.client.answers[BASE + "/status"] = status(waiting=["2"], failed=["3"], problems=[problem])
    output = here.run("migrate", "status").output
    assert "✓ applied" in output and "1 h" in output and "12 ms" in output
    assert "2: run when the release that serves has served its watch" in output
    assert "3: failed; homeport migrate up tries again" in output
    assert (
        "cannot migrate: 1_a.sql was changed" in output and "-a" in output and "hint: put it back" in output
    )


def test_plan_prints_the_sql(here):
    here.client.answers[BASE + "/plan"] = planned(STEP, waiting=["9"])
    output = here.run("migrate", "plan", "--to", "5").output
    assert "SELECT 1;" in output and "not now: 9" in output
    assert sent(here)[0]["to"] == "5"


@pytest.mark.parametrize("version", ["abc", "1.5", "٣", "1" * 41])
def test_what_is_no_version_is_refused_here(here, version):
    assert "cannot read" in here.run("migrate", "plan", "--to", version, status=3).output
    assert here.client.sent == []


def test_up_runs_what_is_pending_and_is_followed(here):
    here.client.answers |= {BASE + "/plan": planned(STEP), BASE: change("migrate")}
    applied = {"name": "main", "filename": "2_b.sql", "seconds": 0.1, "attempts": 2, "direction": "up"}
    here.client.streams[CHANGE] = [
        record("migration.applied", **applied),
        ("done", ended("migrated", kind="migrate")),
    ]
    output = here.run("migrate", "up").output
    assert "migrated main: 2_b.sql in 100 ms, 2 attempts" in output and "production is migrated" in output
    assert sent(here)[-1] == {"database": None, "direction": "up", "to": None, "out_of_order": False}


def test_up_with_nothing_pending_changes_nothing(here):
    here.client.answers[BASE + "/plan"] = planned()
    assert (
        "nothing to do: database main has every migration of what serves" in here.run("migrate", "up").output
    )
    assert [path for _, path, _ in here.client.sent] == [BASE + "/plan"]


def test_down_in_production_says_what_is_lost_and_wants_the_name(here):
    here.client.answers |= {BASE + "/plan": planned(STEP), BASE: change("migrate")}
    here.client.streams[CHANGE] = [("done", ended("migrated", kind="migrate"))]
    asked = here.run("migrate", "down", "2", status=2).output
    assert "2_b.sql" in asked and "drop table b" in asked and "Rows in what is dropped are lost" in asked
    assert [path for _, path, _ in here.client.sent] == [BASE + "/plan"]
    here.run("migrate", "down", "--steps", "1", "--confirm", "production")
    # What was shown is what is taken back, whatever was applied meanwhile.
    assert sent(here)[-1] == {
        "database": "main", "direction": "down", "versions": ["2"], "confirm": "production",
    }  # fmt: skip


def test_down_elsewhere_asks_for_no_name(here):
    here.session.environment_option = "staging"
    base = BASE.replace("production", "staging")
    here.client.answers |= {base + "/plan": planned(STEP), base: change("migrate", environment="staging")}
    here.client.streams[CHANGE] = [("done", ended("migrated", kind="migrate", environment="staging"))]
    assert "in staging" in here.run("migrate", "down", "2").output


@pytest.mark.parametrize("arguments", [(), ("2", "--steps", "1"), ("--to", "1", "--steps", "1")])
def test_down_wants_one_way_to_say_which(here, arguments):
    assert "one of them" in here.run("migrate", "down", *arguments, status=2).output


def finding(**more):
    return {
        "filename": "2_b.sql", "line": 3, "rule": "ban-drop-table", "level": "incompatible", "sentence": "It goes.",
        "hint": "", "allowed": "", "stops": True,
    } | more  # fmt: skip


@pytest.mark.parametrize(("stops", "status"), [(True, 1), (False, 0)])
def test_lint_fails_for_what_a_deploy_would_refuse(here, stops, status):
    found = finding(stops=stops, allowed="" if stops else "it is empty")
    here.client.answers[BASE + "/lint"] = {"database": "main", "files": ["2_b.sql"], "findings": [found]}
    output = here.run("migrate", "lint", status=status).output
    assert "2_b.sql:3: ban-drop-table (incompatible): It goes." in output
    assert ("allowed: it is empty" in output) is not stops
    assert sent(here)[0]["engine"] == "postgresql" and sent(here)[0]["every"] is False


def test_verify_shows_a_diff_and_fails(here):
    difference = {
        "kind": "index", "name": "public.i", "sentence": "index public.i is missing", "diff": ["@@", "-CREATE INDEX i"],
    }  # fmt: skip
    here.client.answers[BASE + "/verify"] = {"database": "main", "differences": [difference]}
    output = here.run("migrate", "verify", status=1).output
    assert "index public.i is missing" in output and "-CREATE INDEX i" in output
    here.client.answers[BASE + "/verify"] = {"database": "main", "differences": []}
    assert "is as its migrations give it" in here.run("migrate", "verify").output


def test_repair_says_first_what_it_will_do(here):
    act = {"act": "accept", "version": "1", "sentence": "take 1_a.sql as it is now", "details": ["-a", "+b"]}
    here.client.answers[BASE + "/repair"] = {"database": "main", "repairs": [act], "done": False}
    output = here.run("migrate", "repair", "--again", status=2).output
    assert "take 1_a.sql as it is now" in output and "+b" in output and "--yes" in output
    assert len(here.client.sent) == 1 and sent(here)[0]["choice"] == "again"
    here.run("migrate", "repair", "--yes")
    assert sent(here)[-1]["agreed"] == [act]


def report(**more):
    touched = {
        "table": "public.orders", "lock": "AccessExclusiveLock", "waits": "reads and writes", "rewritten": True,
        "rows": 50000, "size": 2_000_000, "reckoned": 1.5,
    }  # fmt: skip
    up = {"version": "2", "filename": "2_b.sql", "direction": "up", "seconds": 0.05, "touched": [touched]}
    return {
        "database": "main", "how": "trial", "note": "", "findings": [finding()], "drift": [], "leavings": [],
        "pending": [{"version": "2", "filename": "2_b.sql", "contract": True, "down": False, "statements": []}],
        "tried": [up], "without_down": ["2_b.sql"], "unstable": [], "failure": None, "problems": [],
    } | more  # fmt: skip


def test_a_trial_tells_locks_waits_and_rewrites_at_the_real_size(here):
    here.client.answers[BASE + "/trial"] = {"report": report()}
    output = here.run("migrate", "trial").output
    assert "1 pending, tried up" in output and "contract: after its watch" in output
    assert "public.orders (50000 rows, 2 MB): AccessExclusiveLock, reads and writes wait" in output
    assert "written anew in about 1.5 s" in output and "2_b.sql cannot be taken back" in output
    assert "a deploy refuses 2_b.sql as it stands" in output


def test_a_trial_that_failed_says_why_and_fails(here):
    failure = {
        "code": "x",
        "sentence": "cannot apply 2_b.sql: line 2: no such table",
        "hint": "",
        "details": [],
    }
    here.client.answers[BASE + "/trial"] = {"report": report(tried=[], failure=failure)}
    output = here.run("migrate", "trial", status=1).output
    assert "1 pending, tried and failed" in output and "no such table" in output


def test_what_could_not_be_tried_is_no_success(here):
    why = {"code": "x", "sentence": "cannot make a copy", "hint": "give it CREATEDB", "details": ["denied"]}
    here.client.answers[BASE + "/trial"] = {
        "report": report(tried=[], note="cannot make a copy", problems=[why])
    }
    output = here.run("migrate", "trial", status=1).output
    assert output.count("cannot make a copy") == 1 and "denied" in output and "give it CREATEDB" in output


def test_a_trial_of_a_tool_tells_how_the_schema_changes(here):
    changes = [
        {
            "kind": "table",
            "name": "public.new",
            "sentence": "table public.new is there, …",
            "diff": ["@@", "+table"],
        },
        {"kind": "index", "name": "public.i", "sentence": "index public.i is missing", "diff": ["@@", "-x"]},
    ]
    found = {
        "database": "main",
        "how": "tool",
        "command": "alembic upgrade head",
        "failure": None,
        "seconds": 1.0,
    }
    here.client.answers[BASE + "/trial"] = {"report": found | {"changes": changes}}
    output = here.run("migrate", "trial").output
    assert (
        "alembic upgrade head" in output and "+ table public.new" in output and "- index public.i" in output
    )


def test_a_gate_shows_the_trial_or_why_there_is_none(here):
    gate = {
        "name": "approve production", "state": "waiting", "people": [], "own": True, "items": [],
        "found": {"what": {"serving": "r1", "migrations": [report(note="cannot make a scratch database")]}},
    }  # fmt: skip
    run = {
        "id": "p-1", "app": "shop", "number": 7, "state": "waiting", "commit": "1f2e3d4c5b", "subject": "s",
        "author": "", "branch": "", "actor": "ada", "cause": "cli", "behind": None, "reason": "", "checklist": [],
        "stages": [gate | {"started_at": None, "finished_at": None, "change": None, "reason": ""}],
    }  # fmt: skip
    here.client.answers["/v1/apps/shop/runs/7"] = run
    output = here.run("pipeline", "show", "7").output
    assert "migrations:" in output and "2_b.sql" in output and "cannot make a scratch database" in output
