"""Recoveries rehearsed beside an app that serves: real pgBackRest, restic and PostgreSQL."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_databases import AFTER, DATABASE, EXTRA

from homeport.backup.physical.model import BackupLayout

PASSPHRASE = "tulip-anvil-seventeen-harbour"
TABLE = """-- migrate:up
create table orders (id bigint generated always as identity primary key, note text not null default '');
insert into orders (note) select 'order ' || g from generate_series(1, 500) g;
-- migrate:down
drop table orders;
"""
PROOF = """
[backup.proof.orders]
query = "select count(*) from orders"
expect = "500"
"""


@pytest.fixture(scope="module")
def shop(homeport):
    """An app with a database that is backed up."""
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "202611201200_orders.sql").write_text(TABLE)
    app.write("1", replicas=1, keep_warm="0s", extra=EXTRA, after=AFTER, more=DATABASE + PROOF)
    homeport.deploy(app)
    (homeport.work / "local").mkdir()
    homeport.run("backup", "repository", "add", "local", str(homeport.work / "local"), stdin=PASSPHRASE)
    # Where the clock was first, its run is waited for.
    homeport.run("backup", "run", "--no-proof", status=None)
    homeport.wait(lambda: backed_up(homeport), seconds=150)
    return app


def backed_up(homeport):
    return any(r["state"] == "passed" for r in homeport.ask("/v1/backups/runs?kind=backup"))


def begun(homeport, *arguments, stdin=""):
    return homeport.run("drill", *arguments, "--no-wait", stdin=stdin).stdout.split()[0]


def ended(homeport, id, seconds=150):
    def over():
        run = homeport.ask(f"/v1/backups/runs/{id}")
        return run if run["state"] != "running" else None

    return homeport.wait(over, seconds=seconds, what=f"the end of {id}")


def left_behind(homeport):
    """Servers and files of a drill, and what it kept in memory."""
    place = homeport.data / "scratch" / "_drill"
    servers = [name for name in homeport.pids().values() if name == "drill"]
    scratch = homeport.data / "scratch"
    memory = BackupLayout(place, "main").secrets
    return [*servers, *scratch.glob("_*"), *([memory] if memory.exists() else [])]


def test_a_dropped_table_comes_back_though_the_control_plane_is_killed(homeport, shop):
    id = begun(homeport, "table-dropped")

    def restoring():
        steps = homeport.ask(f"/v1/backups/runs/{id}")["steps"]
        return next(s for s in steps if s["name"] == "restore")["state"] != "waiting"

    homeport.wait(restoring, seconds=120)
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    run = ended(homeport, id)
    assert run["state"] == "passed", run
    assert left_behind(homeport) == []

    report = homeport.json("drill", "show", id)
    assert report["passed"] and report["rpo"] == 0 and report["rto"] > 0
    told = {line["phase"]: " ".join(line["told"]) for line in report["timeline"]}
    assert "public.orders with 500 rows is dropped" in told["break it"]
    assert "public.orders is missing" in told["detect"]
    assert "to the row" in told["verify"]
    assert "1 questions of apps" in told["smoke test"]

    paper = homeport.run("drill", "show", id, "--pdf", "drill.pdf", "--markdown")
    assert "# Drill table-dropped: passed" in paper.stdout
    assert (homeport.work / "drill.pdf").read_bytes().startswith(b"%PDF-")
    assert id in homeport.run("drill", "history").stdout
    events = homeport.json("events", "-n", "100")
    assert [e["data"]["passed"] for e in events if e["kind"] == "backup.drilled"] == [True]
    # Production is as it was.
    assert homeport.get("/health", host=shop.host)[1] == "500"


def test_a_passphrase_that_nobody_has_is_found_and_named(homeport, shop):
    done = homeport.run(
        "drill", "passphrase-wrong", "--passphrase", status=7, stdin="not-the-right-one-at-all"
    )
    assert "cannot open the backups with the passphrase that was given" in done.stdout
    assert left_behind(homeport) == []
    [report] = homeport.json("drill", "history", "-n", "1")
    assert not report["passed"] and report["rto"] is None
    assert any("Find the right passphrase" in t for t in report["todo"])


def test_what_cannot_be_rehearsed_is_refused(homeport, shop, refused):
    refused("drill", "table-dropped", "--cluster", "nowhere", status=4, says="there is no cluster 'nowhere'")
    refused("drill", "show", "b-0000000000", status=4, says="cannot find the report")
    refused("drill", "schedule", "every day", status=3, says="cannot make drills at 'every day'")
    said = homeport.run("drill", "schedule", "0 5 * * 0")
    assert "by the clock: 0 5 * * 0 (UTC)" in said.stdout
    assert "by hand only" in homeport.run("drill", "schedule", "off").stdout
