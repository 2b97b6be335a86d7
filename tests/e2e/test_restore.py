"""``homeport restore``: a database taken back in place while requests come, and a release together with its data."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from postgres import PORT, Postgres
from test_backups import Argvs
from test_secrets import hits

PASSPHRASE = "correct horse battery staple"
EXTRA = f"""
sys.path[:0] = [p for p in {[p for p in sys.path if "site-packages" in p]!r}]
def count():
    import psycopg
    with psycopg.connect(os.environ["DATABASE_URL"], prepare_threshold=None, connect_timeout=20) as c:
        return str(c.execute("select count(*) from orders").fetchone()[0])
"""
AFTER = """
def get(self):
    if self.path == "/health": return health(self)
    try: self.answer(200, count())
    except Exception as e: self.answer(500, str(e))
Handler.do_GET = get
"""
ORDERS = """-- migrate:up
create table orders (id int primary key, note text);
insert into orders select g, 'x' from generate_series(1, 100) g;
-- migrate:down
drop table orders;
"""
NAMES = """-- migrate:up
alter table orders add column name text;
-- migrate:down
alter table orders drop column name;
"""
SPEC = '[database.main]\nmigrations = "migrations"\n[database.reports]\nurl = "secret:REPORTS_URL"\n'
PASSWORD = "marmot-lantern-eleven"
THEIRS = f"""
create role app login createdb password '{PASSWORD}';
create database reports owner app;
"""
REPORTS = """
set role app;
create table reports (id int primary key, text text);
insert into reports select g, 'report ' || g from generate_series(1, 30) g;
"""


class Reports:
    """A database that somebody else runs."""

    def __init__(self, server):
        self._server = server
        for statement in THEIRS.strip().split(";\n"):
            self.sql(statement, "postgres")
        self.sql(REPORTS)
        self.url = f"postgresql://app:{PASSWORD}@/reports?host={server.socket}&port={PORT}"

    def sql(self, statement, database="reports"):
        with psycopg.connect(self._server.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def names(self):
        found = self.sql("select datname from pg_database where not datistemplate", "postgres")
        return {name for (name,) in found}


@pytest.fixture(scope="module")
def reports():
    with Postgres(settings={"fsync": "off"}) as server:
        yield Reports(server)


@pytest.fixture(scope="module")
def shop(homeport, reports):
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_add_orders.sql").write_text(ORDERS)
    app.write(extra=EXTRA, after=AFTER, more=SPEC, replicas=1, keep_warm="10m")
    homeport.run("secrets", "set", "REPORTS_URL", cwd=app.directory, stdin=reports.url)
    homeport.deploy(app)
    (homeport.work / "repository").mkdir(mode=0o755)
    homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
    homeport.run("backup", "run", "--full", "--no-proof", cwd=app.directory, status=None)
    homeport.wait(lambda: not running(homeport), seconds=120, what="the first backup")
    return app


def running(homeport):
    runs = homeport.ask("/v1/backups/runs")
    return [r for r in runs if r["state"] == "running" and r["kind"] != "state"]


def sql(homeport, statement):
    """As the superuser of the cluster, past PgBouncer."""
    directory = homeport.data / "postgresql" / "main"
    port = (directory / "data" / "postmaster.pid").read_text().splitlines()[3]
    parameters = {"host": str(directory / "s"), "port": port, "user": "homeport", "dbname": "shop_production"}
    with psycopg.connect(**parameters, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def databases(homeport):
    return {name for (name,) in sql(homeport, "select datname from pg_database where datname like 'shop%'")}


def left(homeport):
    """What restores have left besides what they keep."""
    cluster = homeport.data / "postgresql" / "main"
    copies = [p.name for p in cluster.iterdir() if p.name.startswith("restored-")]
    running = {name for name in homeport.pids().values() if name.startswith("backup.b-")}
    # Homeport's own state follows what is done here. Asked last: one may begin meanwhile.
    states = {f"backup.{r['id']}" for r in homeport.ask("/v1/backups/runs?kind=state")}
    return copies + sorted(running - states)


class Asking(threading.Thread):
    """Requests, one after another, and what they were answered."""

    def __init__(self, homeport):
        super().__init__(daemon=True)
        self._homeport = homeport
        self._over = threading.Event()
        self.answers = []

    def run(self):
        while not self._over.is_set():
            try:
                status, body, _ = self._homeport.get(timeout=60)
                self.answers.append((status, body))
            except OSError as e:
                self.answers.append((0, str(e)))
            time.sleep(0.02)

    def end(self):
        self._over.set()
        self.join()


def test_restores_that_cannot_be(homeport, shop, refused):
    at = {"cwd": shop.directory}
    yes = ("--confirm", "shop")
    assert "--confirm shop" in homeport.run("restore", cwd=shop.directory, status=2).stderr
    refused("restore", "--confirm", "shpo", status=3, says="was not repeated", hint="--plan", **at)
    refused("restore", "--at", "2036-01-01", *yes, status=3, says="has not come yet", **at)
    refused(
        "restore",
        "--at",
        "2020-01-01 10:00",
        *yes,
        status=4,
        says="no backup is from before it",
        hint="the oldest is of",
        **at,
    )
    refused("restore", "--at", "noon", *yes, status=3, says="cannot read 'noon' as a time", **at)
    refused("restore", "--backup", "20200101-000000F", *yes, status=4, says="cannot find backup", **at)
    refused("restore", "--before-deploy", "r9", *yes, status=4, says="r9", **at)
    refused(
        "restore", "--database", "other", *yes, status=4, says="cannot find database other", hint="main", **at
    )
    refused("restore", "--repository", "nope", *yes, status=4, says="cannot find repository", **at)
    refused(
        "restore",
        "--cluster",
        "main",
        "--confirm",
        "x",
        status=3,
        says="every app",
        hint="--confirm shop",
        **at,
    )
    refused(
        "restore",
        "drop",
        "shop_production",
        "--confirm",
        "shop_production",
        status=4,
        says="no restore has",
        **at,
    )
    refused(
        "rollback", "r1", "--with-database", *yes, status=3, says="no other release was deployed after", **at
    )
    refused("rollback", "r9", "--with-database", *yes, status=4, says="cannot find release r9", **at)
    refused("rollback", "--with-database", *yes, status=5, says="no earlier release served well", **at)
    assert not [r for r in homeport.ask("/v1/backups/runs") if r["kind"] == "restore"]


def test_a_database_goes_back_in_place_while_it_is_asked(homeport, shop, refused):
    time.sleep(0.2)
    before = datetime.now(UTC).isoformat()
    time.sleep(0.2)
    sql(homeport, "delete from orders where id > 40")
    found = homeport.json(
        "restore", "--env", "production", "--cluster", "main", "--at", before, "--plan", cwd=shop.directory
    )
    (of,) = next(s["result"]["databases"] for s in found["steps"] if s["name"] == "compare with what serves")
    loss = next(k for k in of["losses"] if k["table"] == "public.orders")
    assert (loss["now"], loss["then"], loss["lost"], loss["back"]) == (40, 100, 0, 60)
    assert sql(homeport, "select count(*) from orders") == [(40,)]
    assert databases(homeport) == {"shop_production"} and left(homeport) == []
    asking = Asking(homeport)
    asking.start()
    try:
        going = homeport.start("--json", "restore", "--at", before, "--confirm", "shop", cwd=shop.directory)
        homeport.wait(lambda: any(r["kind"] == "restore" for r in running(homeport)), what="it goes back")
        refused("deploy", status=5, says="data are being brought back", hint="wait", cwd=shop.directory)
        output, _ = going.communicate(timeout=150)
        assert going.returncode == 0, output
        run = json.loads(output[output.index("{") :])
        done = {s["name"]: s for s in run["steps"]}
        homeport.wait(lambda: asking.answers[-1] == (200, "100"), what="the rows are back")
    finally:
        asking.end()
    assert {a for a in asking.answers if a[0] != 200} == set()
    assert {body for _, body in asking.answers} == {"40", "100"}
    assert done["let writers go on"]["result"]["read_only_seconds"] > 0
    kept = done["switch to it"]["result"]["kept"]
    assert databases(homeport) == {"shop_production", kept}
    assert homeport.json("restore", "list", cwd=shop.directory)["kept"][0]["name"] == kept
    assert homeport.environment(shop)["modes"] == []
    assert left(homeport) == []
    homeport.run("restore", "drop", kept, "--confirm", "other", cwd=shop.directory, status=3)
    homeport.run("restore", "drop", kept, "--confirm", kept, cwd=shop.directory)
    assert databases(homeport) == {"shop_production"}


def test_a_release_goes_back_with_its_data(homeport, shop):
    """The control plane is killed meanwhile."""
    (shop.directory / "migrations" / "20261121120000_add_name.sql").write_text(NAMES)
    shop.write("2", extra=EXTRA, after=AFTER, more=SPEC, replicas=1, keep_warm="10m")
    homeport.deploy(shop)
    sql(homeport, "update orders set note = 'spoilt', name = 'by r2'")
    before = {r["id"] for r in homeport.ask("/v1/backups/runs?kind=restore")}
    going = homeport.start("--json", "rollback", "--with-database", "--confirm", "shop", cwd=shop.directory)

    def taking():
        mine = [r for r in homeport.ask("/v1/backups/runs?kind=restore") if r["id"] not in before]
        return mine and any(
            s["state"] != "waiting" and s["name"].startswith("take") for s in mine[0]["steps"]
        )

    homeport.wait(taking, seconds=90, what="the copy is there")
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    output, _ = going.communicate(timeout=150)
    assert going.returncode == 0, output
    assert homeport.environment(shop)["serving"] == "r1"
    steps = {s["name"]: s["result"] for s in json.loads(output[output.index("{") :])["steps"]}
    assert steps["take the database out of it"]["migrations"] == ["20261121120000"]
    assert (
        steps["note which migrations it lacks"]["migrations"] == []
    )  # r1 does not have it, and misses nothing
    columns = sql(homeport, "select column_name from information_schema.columns where table_name = 'orders'")
    assert {name for (name,) in columns} == {"id", "note"}
    assert sql(homeport, "select count(*), min(note), max(note) from orders") == [(100, "x", "x")]
    assert homeport.get()[:2] == (200, "100")
    assert homeport.environment(shop)["modes"] == []
    assert left(homeport) == []


def test_a_cluster_whose_files_are_gone_is_said_so_everywhere_and_comes_back(homeport, shop, refused):
    at = {"cwd": shop.directory}
    rows = sql(homeport, "select count(*) from orders")
    directory = homeport.data / "postgresql" / "main" / "data"
    server = int((directory / "postmaster.pid").read_text().split()[0])
    gone = homeport.work / "gone"
    directory.rename(gone)
    os.kill(server, signal.SIGKILL)
    shutil.rmtree(gone, ignore_errors=True)
    back = "homeport restore --cluster main --plan"
    for asked in (("--plan",), ("--confirm", "shop")):
        refused("restore", *asked, status=5, says="does not run (its files are gone)", hint=back, **at)
    refused("deploy", status=1, says="its files", hint=back, **at)
    found = homeport.json("restore", "--cluster", "main", "--confirm", "shop", **at)
    assert found["state"] == "passed" and homeport.environment(shop)["modes"] == []
    assert sql(homeport, "select count(*) from orders") == rows
    # What the clock began meanwhile may have failed.
    runs = [r for r in homeport.ask("/v1/backups/runs?limit=200") if r["actor"] != "homeport"]
    assert [r["kind"] for r in runs if r["state"] == "failed"] == []


def test_a_database_of_others_goes_back_to_its_dump(homeport, shop, reports, refused):
    at, yes, of = {"cwd": shop.directory}, ("--confirm", "shop"), ("--database", "reports")
    refused("restore", *of, "--before-deploy", "r1", *yes, status=3, says="only its dumps", hint="--at", **at)
    refused("restore", *of, "--at", "2020-01-01", *yes, status=4, says="no dump of it fits", **at)
    reports.sql("delete from reports where id > 20")
    reports.sql("update reports set text = 'oops' where id <= 3")

    def kept_of_reports():
        found = homeport.json("restore", "list", **at)
        assert found["problems"] == []
        return [k["name"] for k in found["kept"] if k["database"] == "reports"]

    argvs = Argvs()
    plan = homeport.run("restore", *of, "--plan", **at).stdout
    assert "from the dump of" in plan and "public.reports" in plan and "ROWS THEN" in plan, plan
    run = json.loads(homeport.run("--json", "restore", *of, *yes, **at).stdout)
    kept = next(s["result"]["kept"] for s in run["steps"] if s["name"] == "switch to it")
    assert reports.sql("select count(*), count(*) filter (where text = 'oops') from reports") == [(30, 0)]
    assert homeport.environment(shop)["modes"] == [] and homeport.get()[0] == 200
    assert reports.names() == {"postgres", "reports", kept}
    assert kept_of_reports() == [kept]
    homeport.run("restore", "drop", kept, "--confirm", kept, **at)
    assert reports.names() == {"postgres", "reports"}

    # A login that may make no database: tables come beside.
    reports.sql("alter role app nocreatedb", "postgres")
    reports.sql("delete from reports where id > 20")
    refused("restore", *of, *yes, status=5, says="may not make databases", hint="--table", **at)
    run = json.loads(homeport.run("--json", "restore", *of, "--table", "reports", **at).stdout)
    schema = next(s["result"]["schema"] for s in run["steps"] if s["name"] == "take the tables out of it")
    done = homeport.run("restore", "merge", schema, "--missing", *yes, **at)
    assert "public.reports got 10 row(s)" in done.stdout, done.stdout
    assert reports.sql("select count(*) from reports") == [(30,)]
    homeport.run("restore", "drop", schema, "--confirm", schema, **at)
    assert kept_of_reports() == []
    assert PASSWORD.encode() not in argvs.close() and hits(homeport.data, [PASSWORD]) == []
    assert left(homeport) == []
