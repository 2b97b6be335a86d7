"""``homeport restore``: a database taken back in place while requests come, and a release together with its data."""

import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest

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
SPEC = '[database.main]\nmigrations = "migrations"\n'


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_add_orders.sql").write_text(ORDERS)
    app.write(extra=EXTRA, after=AFTER, more=SPEC, replicas=1, keep_warm="10m")
    homeport.deploy(app)
    (homeport.work / "repository").mkdir(mode=0o755)
    homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
    homeport.run("backup", "run", "--full", "--no-proof", cwd=app.directory, status=None)
    homeport.wait(lambda: not running(homeport), seconds=120, what="the first backup")
    return app


def running(homeport):
    return [r for r in homeport.ask("/v1/backups/runs") if r["state"] == "running"]


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
    return copies + [name for name in homeport.pids().values() if name.startswith("backup.")]


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
    refused("restore", "--at", "2020-01-01 10:00", *yes, status=4, says="no backup is from before it", **at)
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
    assert not [r for r in homeport.ask("/v1/backups/runs") if r["kind"] == "restore"]


def test_a_database_goes_back_in_place_while_it_is_asked(homeport, shop):
    time.sleep(0.2)
    before = datetime.now(UTC).isoformat()
    time.sleep(0.2)
    sql(homeport, "delete from orders where id > 40")
    asking = Asking(homeport)
    asking.start()
    try:
        run = json.loads(
            homeport.run("--json", "restore", "--at", before, "--confirm", "shop", cwd=shop.directory).stdout
        )
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
    going = homeport.start(
        "--json", "rollback", "r1", "--with-database", "--confirm", "shop", cwd=shop.directory
    )

    def taking():
        runs = running(homeport)
        return runs and any(
            s["state"] == "running" and s["name"].startswith("take") for s in runs[0]["steps"]
        )

    homeport.wait(taking, seconds=90, what="the copy is there")
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    output, _ = going.communicate(timeout=150)
    assert going.returncode == 0, output
    assert homeport.environment(shop)["serving"] == "r1"
    columns = sql(homeport, "select column_name from information_schema.columns where table_name = 'orders'")
    assert {name for (name,) in columns} == {"id", "note"}
    assert sql(homeport, "select count(*), min(note), max(note) from orders") == [(100, "x", "x")]
    assert homeport.get()[:2] == (200, "100")
    assert homeport.environment(shop)["modes"] == []
    assert left(homeport) == []
