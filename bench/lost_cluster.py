"""A cluster killed and its files deleted while an app writes: what is lost of it, and how long until it serves again.

Each round: writers insert rows under known keys through PgBouncer, as an app's do; every process of PostgreSQL is
killed with SIGKILL and the data directory deleted in the same moment; ``homeport restore --cluster`` brings it back.
A row is lost when its commit was confirmed and it is not there afterwards. Serving again: a row is written through
PgBouncer, and the edge takes a POST. Asynchronous and synchronous receiving, so many rounds each.
"""

import http.client
import json
import os
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live import Homeport  # noqa: E402
from ship import figure  # noqa: E402

Say = Callable[[str], object]
PASSPHRASE = "correct horse battery staple"
MIGRATION = """-- migrate:up
create table ballast (id bigint primary key, note text not null);
create table entries (writer int, n bigint, primary key (writer, n));
-- migrate:down
drop table ballast;
drop table entries;
"""
SPEC = """[database.main]
migrations = "migrations"
[backup]
synchronous = {synchronous}
"""
WRITERS = 4
WRITING = 4.0
"""Seconds of writes before each kill."""
LOST_BOUND = 3.0
BACK_BOUND = 30.0


class Writer(threading.Thread):
    """Rows under known keys, one commit each, until the server is gone; and when each was confirmed."""

    def __init__(self, url: str, number: int, first: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._number = number
        self.confirmed: dict[int, float] = {}
        self.next = first
        self.over = False

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
                while not self.over:
                    connection.execute("insert into entries values (%s, %s)", (self._number, self.next))
                    self.confirmed[self.next] = time.monotonic()
                    self.next += 1
        except psycopg.Error:
            self.next += 1


def kill(files: Path) -> float:
    """All of PostgreSQL that works in ``files``, and the files; when it was."""
    postmaster = int((files / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in (postmaster, *map(int, children)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    at = time.monotonic()
    gone = files.with_name("deleted")
    files.rename(gone)
    shutil.rmtree(gone)
    return at


class Back(threading.Thread):
    """When a row could be written again, and when the edge took a POST again."""

    def __init__(self, url: str, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._port = port
        self._number = number
        self.over = False
        self.row: float | None = None
        self.post: float | None = None

    def run(self) -> None:
        while not self.over:
            if self.row is None and self._write():
                self.row = time.monotonic()
            if self.row is not None and self._post():
                self.post = time.monotonic()
                return
            time.sleep(0.05)

    def _write(self) -> bool:
        try:
            with psycopg.connect(self._url, autocommit=True, prepare_threshold=None, connect_timeout=2) as c:
                c.execute("insert into entries values (-1, %s)", (self._number,))
            return True
        except psycopg.Error:
            return False

    def _post(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("POST", "/", body=b"x", headers={"Host": "shop.localhost"})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def measure(rounds: int, megabytes: int, say: Say, *, synchronous: bool) -> list[dict[str, Any]]:
    homeport = Homeport()
    try:
        homeport.up()
        app = homeport.app("shop")
        (app.directory / "migrations").mkdir()
        (app.directory / "migrations" / "20261120120000_add.sql").write_text(MIGRATION)
        app.write(more=SPEC.format(synchronous=str(synchronous).lower()), replicas=1)
        homeport.deploy(app)
        url = homeport.run("db", "url", cwd=app.directory).stdout.strip()
        fill = "insert into ballast select g, repeat(md5(random()::text || g), 30)"
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute(f"{fill} from generate_series(1, {megabytes * 1000}) g".encode())
        (homeport.work / "repository").mkdir(mode=0o755)
        homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
        homeport.run("backup", "run", "--full", "--no-proof", status=None)
        rest(homeport)
        files = next((homeport.data / "databases").glob("*/main/data"), None) or next(
            homeport.data.glob("**/main/data")
        )
        found = []
        first = [0] * WRITERS
        for number in range(rounds):
            found.append(one(homeport, url, files, number, first))
            say(tell(found[-1], synchronous))
        return found
    finally:
        homeport.close()


def rest(homeport: Homeport) -> None:
    while any(r["state"] == "running" for r in homeport.ask("/v1/backups/runs?kind=backup")):
        time.sleep(0.2)


def one(homeport: Homeport, url: str, files: Path, number: int, first: list[int]) -> dict[str, Any]:
    writers = [Writer(url, w, first[w]) for w in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(WRITING)
    killed = kill(files)
    for writer in writers:
        writer.over = True  # one whose statement waited in PgBouncer goes on afterwards
    back = Back(url, homeport.port, number)
    back.start()
    try:
        out = homeport.run(
            "--json", "restore", "--cluster", "main", "--confirm", "shop", cwd=homeport.work / "shop"
        )
        restored = time.monotonic()
        back.join(30)
    finally:
        back.over = True
    assert back.row is not None and back.post is not None, "it does not serve"
    lost: list[float] = []
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        for w, writer in enumerate(writers):
            writer.join(150)
            rows = connection.execute("select n from entries where writer = %s", (w,)).fetchall()
            there = {n for (n,) in rows}
            lost += [at for n, at in writer.confirmed.items() if n not in there]
            first[w] = writer.next
    confirmed = [at for w in writers for at in w.confirmed.values()]
    rest(homeport)
    return {
        "confirmed": len(confirmed),
        "lost": len(lost),
        "seconds lost": round(max(0.0, killed - min(lost)), 3) if lost else 0.0,
        "row after": round(back.row - killed, 2),
        "serving after": round(back.post - killed, 2),
        "command": round(restored - killed, 2),
        "steps": {s["name"]: s["seconds"] for s in json.loads(out.stdout)["steps"]},
    }


def tell(found: dict[str, Any], synchronous: bool) -> str:
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found["steps"].items())
    return (
        f"{'synchronous' if synchronous else 'asynchronous'}: {found['confirmed']:,} rows confirmed, {found['lost']} lost "
        f"({found['seconds lost']:.2f} s), serving after {found['serving after']:.1f} s ({steps})"
    )


def distribution(values: list[float]) -> str:
    ordered = sorted(values)
    return " ".join(f"{v:.2f}" for v in ordered) + f"; median {statistics.median(ordered):.2f}"


def figures(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    lost = sum(f["lost"] for f in found["synchronous"])
    seconds = max(f["seconds lost"] for f in found["asynchronous"])
    back = max(f["serving after"] for runs in found.values() for f in runs)
    rounds = len(found["synchronous"])
    return [
        figure(f"rows lost in {rounds} lost clusters, synchronous", lost, "rows", "0", lost == 0),
        figure(
            f"writes lost in {rounds} lost clusters, asynchronous, worst",
            seconds,
            "s",
            f"≤ {LOST_BOUND:.0f}",
            seconds <= LOST_BOUND,
        ),
        figure("a lost cluster serves again, worst", back, "s", f"≤ {BACK_BOUND:.0f}", back <= BACK_BOUND),
    ]


def run(rounds: int = 20, megabytes: int = 100, say: Say = lambda text: None) -> list[dict[str, Any]]:
    found = {
        "asynchronous": measure(rounds, megabytes, say, synchronous=False),
        "synchronous": measure(rounds, megabytes, say, synchronous=True),
    }
    for kind, runs in found.items():
        say(f"{kind}: rows lost      {' '.join(str(f['lost']) for f in runs)}")
        say(f"{kind}: seconds lost   {distribution([f['seconds lost'] for f in runs])}")
        say(f"{kind}: serving after  {distribution([f['serving after'] for f in runs])} s")
    return figures(found)
