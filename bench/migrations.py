"""Migrations: what others wait for behind a blocked one, and histories by chance with a failure at every statement.

script/bench migrations [--histories 200]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "bench")]

import psycopg  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from migrating import files, migrator  # noqa: E402
from migration_histories import HOWS, Failure, check, count, histories  # noqa: E402
from postgres import PROGRAMS, Postgres  # noqa: E402
from ship import figure  # noqa: E402

from homeport.database.migrations.model import Goal, Migration  # noqa: E402

Say = Callable[[str], None]
READERS = 20
PER_SECOND = 200
HOLD = 4.0
"""Seconds for which a transaction that began before the migration goes on reading."""
LOCK_TIMEOUT = 0.5
SQL = "alter table orders add column note text"


class Readers:
    """200 queries a second from 20 connections; ``waits`` has the seconds that each took."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._ended = threading.Event()
        self.waits: list[float] = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(READERS)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _read(self, number: int) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            pause = READERS / PER_SECOND
            due = time.monotonic() + pause * number / READERS
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                began = time.monotonic()
                try:
                    conn.execute("select total from orders where id = %s", (1 + number,)).fetchone()
                except psycopg.Error:
                    self.failed += 1
                self.waits.append(time.monotonic() - began)
                due = max(due + pause, began)


@contextmanager
def orders(server: Postgres, name: str) -> Iterator[str]:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(f"create database {name}".encode())
    dsn = server.dsn(name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table orders (id bigint primary key, total int)")
        conn.execute("insert into orders select g, g from generate_series(1, 10000) g")
    yield dsn


def blocked(server: Postgres, name: str, migrate: Callable[[str], None]) -> tuple[float, float, float, int]:
    """(longest wait, median wait, seconds until the migration was in, failed queries)."""
    with orders(server, name) as dsn, psycopg.connect(dsn) as holder, Readers(dsn) as readers:
        time.sleep(0.5)
        holder.execute("select count(*) from orders")
        release = threading.Timer(HOLD, holder.rollback)
        release.start()
        began = time.monotonic()
        migrate(dsn)
        took = time.monotonic() - began
        release.join()
        time.sleep(0.3)
    with psycopg.connect(dsn) as conn:
        conn.execute("select note from orders limit 1")
    return max(readers.waits), statistics.median(readers.waits), took, readers.failed


def by_homeport(dsn: str) -> None:
    history = files(("1_note.sql", f"-- migrate:up\n{SQL};\n"))
    migrator(dsn, lock_timeout=LOCK_TIMEOUT).run(history, Goal())


def by_psql(dsn: str) -> None:
    argv = [str(PROGRAMS / "psql"), dsn, "-X", "-q", "-c", SQL]
    subprocess.run(argv, check=True, timeout=60, env={"PATH": "/usr/bin:/bin"}, cwd="/")


def by_dbmate(dsn: str) -> None:
    parts = dict(part.split("=", 1) for part in dsn.split())
    url = f"postgres://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}&sslmode=disable"
    with tempfile.TemporaryDirectory(prefix="hp-dbmate-") as directory:
        (Path(directory) / "1_note.sql").write_text(f"-- migrate:up\n{SQL};\n\n-- migrate:down\n")
        argv = [
            str(Path(sys.executable).parent / "dbmate"),
            "--migrations-dir",
            directory,
            "--no-dump-schema",
            "migrate",
        ]
        env = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url}
        subprocess.run(argv, check=True, timeout=60, env=env, stdout=subprocess.DEVNULL)


def lock(say: Say) -> list[dict[str, Any]]:
    found = {}
    with Postgres() as server:
        for name, migrate in (("homeport", by_homeport), ("psql", by_psql), ("dbmate", by_dbmate)):
            found[name] = blocked(server, name, migrate)
            say(f"{name}: longest wait {found[name][0]:.3f} s, in after {found[name][2]:.2f} s")
    longest, median, took, failed = found["homeport"]
    bound = LOCK_TIMEOUT + 0.1
    peers = {name: f"{found[name][0] * 1000:.0f} ms" for name in ("psql", "dbmate")}
    return [
        figure(
            f"longest wait of {PER_SECOND} queries/s behind a blocked ALTER TABLE",
            round(longest * 1000), "ms", f"≤ {bound * 1000:.0f}", longest <= bound and not failed, **peers,
        ),
        figure("median wait meanwhile", round(median * 1000, 2), "ms"),
        figure(
            f"until the migration was in, {HOLD:g} s of them blocked", round(took, 2), "s",
            psql=f"{found['psql'][2]:.2f} s", dbmate=f"{found['dbmate'][2]:.2f} s",
        ),
    ]  # fmt: skip


def interrupted(number: int, chance: int, say: Say) -> list[dict[str, Any]]:
    """Figure 1. Each statement fails once in each history, in a way that goes round; an error ends it."""
    statements = tried = 0
    ways = dict.fromkeys(HOWS, 0)
    began = time.monotonic()
    with Postgres(settings={"fsync": "off"}) as server:

        @seed(chance)
        @settings(
            max_examples=number, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(histories(), st.integers(0, len(HOWS) - 1))
        def holds(history: tuple[Migration, ...], first: int) -> None:
            nonlocal statements, tried
            failures = [Failure(at, HOWS[(first + at) % len(HOWS)]) for at in range(count(history))]
            check(server, history, failures)
            tried += 1
            statements += len(failures)
            for failure in failures:
                ways[failure.how] += 1
            if tried % 5 == 0:
                say(f"{tried} histories, {statements} failures, {time.monotonic() - began:.0f} s")

        holds()
    return [
        figure(
            f"histories of migrations, {statements} failures at their statements: as after a clean run",
            tried, "", f"= {number}", tried == number, **{k.replace(" ", "_"): v for k, v in ways.items()},
        )
    ]  # fmt: skip


def run(number: int = 200, chance: int = 1, say: Say = print) -> list[dict[str, Any]]:
    return [*lock(say), *interrupted(number, chance, say)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "lock", "histories"), default="all")
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.pop("PGOPTIONS", None)
    results = lock(print) if options.what != "histories" else []
    if options.what != "lock":
        results += interrupted(options.histories, options.seed, print)
    for result in results:
        print(result)
    sys.exit(0 if all(r["holds"] is not False for r in results) else 1)
