"""A database taken back in place while an app reads and writes: statements that failed, and the read-only window.

The app's statements go through PgBouncer, as an app's do. Rows are written under known keys, then spoilt; the
database is taken back to the moment before. 0 statements may fail; what is printed besides is how long the
environment was read-only, how long statements waited at the switch, and how long the whole took.
"""

import json
import statistics
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live import Homeport  # noqa: E402
from ship import figure  # noqa: E402

PASSPHRASE = "correct horse battery staple"
MIGRATION = """-- migrate:up
create table orders (id bigint primary key, note text not null);
-- migrate:down
drop table orders;
"""
SPEC = '[database.main]\nmigrations = "migrations"\n'
ROW = 1000
"""Bytes."""


class Client(threading.Thread):
    """Statements on one connection, each of which has to succeed, and how long each took."""

    def __init__(self, url: str, statement: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._statement = statement
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
            while not self._over.wait(0.002):
                began = time.monotonic()
                try:
                    connection.execute(self._statement.encode())
                except psycopg.Error as e:
                    self.failed.append(str(e).strip())
                self.seconds.append(time.monotonic() - began)

    def end(self) -> None:
        self._over.set()
        self.join()


def measure(homeport: Homeport, megabytes: int) -> dict[str, Any]:
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_add_orders.sql").write_text(MIGRATION)
    app.write(more=SPEC, replicas=1)
    homeport.deploy(app)
    url = homeport.run("db", "url", cwd=app.directory).stdout.strip()
    rows = megabytes * 1000 * 1000 // ROW
    fill = "insert into orders select g, repeat(md5(random()::text || g), 30)"
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(f"{fill} from generate_series(1, {rows}) g".encode())
    (homeport.work / "repository").mkdir(mode=0o755)
    homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
    homeport.run("backup", "run", "--full", "--no-proof", status=None)
    while any(r["state"] == "running" for r in homeport.ask("/v1/backups/runs?kind=backup")):
        time.sleep(0.2)
    at = datetime.now(UTC).isoformat()
    time.sleep(0.5)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("delete from orders where id % 2 = 0")
    clients = [Client(url, "select count(*) from orders where id < 100") for _ in range(4)]
    clients += [
        Client(url, f"update orders set note = 'written meanwhile' where id = {n}") for n in (1, 3, 5, 7)
    ]
    for client in clients:
        client.start()
    began = time.monotonic()
    try:
        out = homeport.run("--json", "restore", "--at", at, "--confirm", "shop", cwd=app.directory)
    finally:
        took = time.monotonic() - began
        time.sleep(1)
        for client in clients:
            client.end()
    steps = {s["name"]: s for s in json.loads(out.stdout)["steps"]}
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        found = connection.execute("select count(*) from orders").fetchone()
    seconds = [s for c in clients for s in c.seconds]
    return {
        "rows": rows,
        "rows back": found[0] if found else 0,
        "statements": len(seconds),
        "failed": [f for c in clients for f in c.failed],
        "longest statement": max(seconds),
        "median statement": statistics.median(seconds),
        "read-only": steps["let writers go on"]["result"]["read_only_seconds"],
        "held": steps["switch to it"]["result"]["held"],
        "steps": {name: s["seconds"] for name, s in steps.items()},
        "whole": took,
    }


def figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    failed, missing = len(found["failed"]), found["rows"] - found["rows back"]
    return [
        figure("statements failed during a restore in place", failed, "statements", "0", failed == 0),
        figure("rows not brought back", missing, "rows", "0", missing == 0),
        figure("read-only during a restore in place", round(found["read-only"], 1), "s"),
        figure("statements waited at the switch", found["held"], "s"),
        figure("longest statement during a restore in place", round(found["longest statement"], 3), "s"),
        figure("restore in place, whole", round(found["whole"], 1), "s"),
    ]


def run(megabytes: int = 100, say: Any = lambda text: None) -> list[dict[str, Any]]:
    homeport = Homeport()
    try:
        homeport.up()
        found = measure(homeport, megabytes)
    finally:
        homeport.close()
    say(f"{found['statements']:,} statements of 8 clients, {len(found['failed'])} failed")
    for failure in found["failed"][:20]:
        say(f"failed: {failure}")
    for name, seconds in found["steps"].items():
        say(f"  {seconds:7.1f} s  {name}")
    return figures(found)
