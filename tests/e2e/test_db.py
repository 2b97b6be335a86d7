"""``homeport db``: databases as a person works with them, over one Homeport."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

EXTRA = f"""
sys.path[:0] = [p for p in {[p for p in sys.path if "site-packages" in p]!r}]
def count():
    import psycopg
    with psycopg.connect(os.environ["DATABASE_URL"], prepare_threshold=None, connect_timeout=20) as c:
        return str(c.execute("select count(*) from orders").fetchone()[0])
"""
AFTER = """
def health(handler): handler.answer(200, "well")
def get(self):
    if self.path == "/health": return health(self)
    try: self.answer(200, count())
    except Exception as e: self.answer(500, str(e))
Handler.do_GET = get
"""
MIGRATION = """-- migrate:up
create table orders (id bigint generated always as identity primary key, note text not null default '');
insert into orders (note) select 'x' from generate_series(1, 2000);
create materialized view figures as select count(*) as orders, 1 as id from orders;
create unique index figures_id on figures (id);
-- migrate:down
drop materialized view figures;
drop table orders;
"""
SPEC = """
[database.main]
migrations = "migrations"
[database.main.maintenance]
figures = { kind = "refresh", target = "figures", schedule = "@every 2s" }
nothing = { kind = "refresh", target = "not_there", schedule = "@every 2s" }
[database.notes]
engine = "sqlite"
path = "notes/notes.db"
[storage.notes]
path = "notes"
"""


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_add_orders.sql").write_text(MIGRATION)
    app.write(extra=EXTRA, after=AFTER, more=SPEC, replicas=1, keep_warm="10m")
    homeport.deploy(app)
    return app


@pytest.fixture
def db(homeport, shop):
    """Run ``homeport db …`` in the app's repository."""

    def run(*arguments, status=0, stdin=""):
        return homeport.run("db", *arguments, cwd=shop.directory, status=status, stdin=stdin)

    run.json = lambda *a, status=0: homeport.json("db", *a, cwd=shop.directory, status=status)
    run.of = lambda name="main": next(d for d in run.json("list") if d["name"] == name)
    return run


class Load:
    """GETs one after the other until it ends; ``failed`` are those without a 200."""

    def __init__(self, homeport):
        self._homeport = homeport
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.sent, self.failed = 0, []

    def _ask(self):
        while not self._end.is_set():
            status, body, _ = self._homeport.get(timeout=60)
            self.sent += 1
            if status != 200:
                self.failed.append((status, body))
            time.sleep(0.005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(60)


def refuses(url):
    try:
        psycopg.connect(url, connect_timeout=5, prepare_threshold=None).close()
    except psycopg.OperationalError:
        return True
    return False


def kinds(homeport, kind):
    return [e for e in homeport.json("events", "--app", "shop", "-n", "500") if e["kind"] == kind]


def test_databases_are_listed_with_what_they_take(db):
    main, notes = db.json("list")
    assert (main["kind"], main["state"], main["database"]) == ("provisioned", "ready", "shop_production")
    assert main["bytes"] > 1_000_000 and main["connections_allowed"] > 0 and main["pool"] == "transaction"
    assert (notes["kind"], notes["engine"]) == ("sqlite", "sqlite")
    assert "shop_production" in db("list").stdout
    assert (
        "cannot find database orders of shop production"
        in db("size", "--database", "orders", status=4).stderr
    )


def test_a_sqlite_file_is_brought_back_as_a_file(homeport, shop):
    done = homeport.run("restore", "--database", "notes", "--plan", cwd=shop.directory, status=3)
    assert "it is a file, SQLite's" in done.stderr
    assert "hint: homeport restore --files --path notes/notes.db" in done.stderr


def test_the_url_is_told_and_recorded_but_is_nowhere_else(homeport, db):
    url = db("url").stdout.strip()
    password = urlsplit(url).password
    assert not refuses(url)
    assert [e["data"]["name"] for e in kinds(homeport, "secret.revealed")] == ["DATABASE_URL"]
    told = (
        homeport.run("events", "-n", "500").stdout + homeport.run("db", "list", "--all-apps", "--json").stdout
    )
    assert password not in told
    for log in (homeport.data / "logs").glob("*.log"):
        assert password not in log.read_text("utf-8", "replace")
    assert db("url", "--database", "notes").stdout.startswith("sqlite:///")


def test_a_shell_is_the_owner_and_its_login_ends_with_it(homeport, db, shop):
    done = db("shell", "--", "-At", "-c", "select current_user", "-c", "create table extra (id int)")
    assert done.stdout.splitlines()[0] == "shop_production_owner"
    held = homeport.start("db", "shell", "--", "-c", "select pg_sleep(30)", cwd=shop.directory)
    try:
        environ = homeport.wait(
            lambda: next(
                (e for e in (Path(f"/proc/{held.pid}/environ").read_bytes(),) if b"PGPASSWORD=" in e), None
            )
        )
        password = next(v for v in environ.split(b"\0") if v.startswith(b"PGPASSWORD=")).partition(b"=")[2]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    assert password not in (entry / "cmdline").read_bytes()
                except OSError:
                    pass
    finally:
        held.kill()
        held.communicate()
    may = "select rolcanlogin from pg_roles where rolname = 'shop_production_migrate'"
    homeport.wait(
        lambda: db("shell", "--read-only", "--", "-At", "-c", may).stdout.strip() == "f",
        what="the login of a shell that was killed is taken away",
    )
    assert len(kinds(homeport, "database.shell")) >= 3


@pytest.mark.parametrize(
    "statement",
    [
        "insert into orders (note) values ('x')",
        "begin; set transaction read write; delete from orders",
        "create table mine (id int)",
        "select rolpassword from pg_authid",
    ],
)
def test_a_shell_to_read_with_reads_and_nothing_else(db, statement):
    assert db("shell", "--read-only", "--", "-At", "-c", "select count(*) > 0 from orders").stdout == "t\n"
    done = db("shell", "--read-only", "--", "-c", statement, status=1)
    assert "permission denied" in done.stderr or "read-only" in done.stderr


def test_a_shell_for_sqlite_works_with_and_without_its_program(homeport, db, shop):
    db("shell", "--database", "notes", "--", "create table note (id int); insert into note values (7)")
    assert db("shell", "--database", "notes", "--read-only", "--", "select * from note").stdout == "7\n"
    done = db("shell", "--database", "notes", "--read-only", "--", "delete from note", status=None)
    assert done.returncode != 0 and "readonly" in done.stderr
    assert "note" in db("size", "--database", "notes").stdout


def test_without_psql_that_is_said(homeport, shop, monkeypatch, tmp_path):
    before = homeport.env
    homeport.env = before | {"PATH": str(tmp_path)}
    try:
        done = homeport.run("db", "shell", cwd=shop.directory, status=None)
    finally:
        homeport.env = before
    assert done.returncode != 0
    assert "psql is not on this machine" in done.stderr and "postgresql-client" in done.stderr


def test_sizes_of_tables_and_indexes(db):
    tables = {t["name"]: t for t in db.json("size")["tables"]}
    assert tables["public.orders"]["bytes"] >= 8192
    assert [i["name"] for i in tables["public.orders"]["indexes"]] == ["public.orders_pkey"]
    assert "public.orders_pkey" in db("size").stdout


def test_held_clients_wait_and_are_served_afterwards(homeport, db):
    with Load(homeport) as load:
        homeport.wait(lambda: load.sent > 3)
        db("pause")
        assert db.of()["state"] == "held"
        homeport.wait(lambda: db.of()["waiting"])
        doctor = homeport.run("doctor", status=1).stdout
        assert "its clients are held" in doctor
        db("resume")
        sent = load.sent
        homeport.wait(lambda: load.sent > sent + 3)
    assert load.failed == []
    doctor = homeport.run("doctor", status=1).stdout
    assert "✓ databases" in doctor and "✗ backups" in doctor


def test_a_restart_fails_no_request(homeport, db):
    postmaster = homeport.pid_of("postgresql.main")
    with Load(homeport) as load:
        homeport.wait(lambda: load.sent > 3)
        db("restart")
        sent = load.sent
        homeport.wait(lambda: load.sent > sent + 3)
    assert homeport.pid_of("postgresql.main") != postmaster
    assert load.failed == []


def test_a_rotation_ends_though_the_control_plane_is_killed_and_no_request_fails(homeport, db, shop):
    """Killed as soon as the rotation is recorded, and again while the app is rolled."""
    former = db("url").stdout.strip()
    command = homeport.start("run", "--", "sleep", "600", cwd=shop.directory)
    homeport.wait(lambda: kinds(homeport, "command.run"))
    with Load(homeport) as load:
        homeport.wait(lambda: load.sent > 3)
        before = {kind: len(kinds(homeport, kind)) for kind in ("database.rotated", "instance.started")}
        rotating = homeport.start("db", "rotate", cwd=shop.directory)
        for kind, count in before.items():
            homeport.wait(lambda kind=kind, count=count: len(kinds(homeport, kind)) > count, what=kind)
            os.kill(homeport.pid_of("serve"), signal.SIGKILL)
        output, _ = rotating.communicate(timeout=150)
        homeport.wait(lambda: homeport.environment("shop")["serving"] == "r2", what=output)
        assert not refuses(former), "instances kept for a way back have the former login"
        assert db.of()["rotating_since"]
        assert "kept warm for a way back" in output
        newest = db("url").stdout.strip()
        assert newest != former
        hurried = homeport.start("db", "rotate", "--now", cwd=shop.directory)
        path = "/v1/apps/shop/environments/production/databases/main/rotation"
        homeport.wait(
            lambda: (homeport.ask(path)["warm"], homeport.ask(path)["others"]) == (0, 1), seconds=60
        )
        assert not refuses(former), "a command that was begun before has the former login"
        command.terminate()
        command.communicate(timeout=150)
        done, _ = hurried.communicate(timeout=90)
        homeport.wait(lambda: homeport.ask(path)["since"] is None, what=done)
    assert load.failed == []
    assert "the former login" in done
    assert refuses(former) and not refuses(newest)
    assert db("url").stdout.strip() == newest
    assert len(kinds(homeport, "database.rotated")) == 1
    homeport.run("rollback", "r1", cwd=shop.directory)
    assert homeport.get()[0] == 200, "a way back has the newest URL"


def test_insight_tells_what_is_wrong_and_what_mends_it(db):
    db("shell", "--", "-c", "create index doubled on orders (id)", "-c", "create index again on orders (id)")
    found = db.json("insight", status=None)
    assert {f["rule"] for f in found["findings"]} >= {"duplicate-index"}
    finding = next(f for f in found["findings"] if f["rule"] == "duplicate-index")
    assert finding["mend"]["statement"].startswith("DROP INDEX CONCURRENTLY")
    assert "locks:" in db("insight", "--rule", "duplicate-index").stdout
    assert "did you mean duplicate-index" in db("insight", "--rule", "duplicate-indx", status=4).stderr
    assert db.json("insight", "--rule", "growth")["rules"] == ["growth"]
    assert "it is a SQLite file" in db("insight", "--database", "notes", status=5).stderr


def test_upkeep_runs_by_the_clock_and_its_outcome_is_shown(homeport, db):
    # Tests before this one restart the server, which an upkeep of that moment does not survive.
    before = len(kinds(homeport, "database.upkeep"))

    def ended():
        since = kinds(homeport, "database.upkeep")[before:]
        return {e["data"]["upkeep"]: e["data"]["state"] for e in since[2:]}.keys() == {"figures", "nothing"}

    homeport.wait(ended, seconds=150)
    found = {u["name"]: u for u in db.json("maintenance")}
    assert found["figures"]["last"]["state"] == "done"
    assert "CONCURRENTLY" in found["figures"]["last"]["statement"]
    assert found["nothing"]["last"]["state"] == "refused"
    assert "it is not there" in found["nothing"]["last"]["problem"]
    assert "refresh figures" in db("maintenance").stdout
    states = {e["data"]["state"] for e in kinds(homeport, "database.upkeep")[before + 2 :]}
    assert states == {"done", "refused"}


def test_only_what_nothing_uses_is_dropped_and_only_by_its_name(homeport, db):
    assert "uses it" in db("drop", "shop_production", "--confirm", "shop_production", status=None).stderr
    homeport.run("destroy", "shop", "--yes", "shop")
    (kept,) = homeport.json("db", "list", "--all-apps")
    assert kept["state"] == "kept"
    assert "homeport db drop shop_production" in homeport.run("db", "list", "--all-apps").stdout
    homeport.run("db", "drop", "shop_production", "--confirm", "shop", status=3)
    homeport.run("db", "drop", "shop_production", "--confirm", "shop_production")
    assert homeport.json("db", "list", "--all-apps") == []
    assert (
        "cannot find"
        in homeport.run("db", "drop", "shop_production", "--confirm", "shop_production", status=4).stderr
    )
    homeport.run("doctor")
