"""Histories of migrations by chance, and failures at their statements."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import strategies as st
from migrating import files, migrator
from postgres import Postgres

from homeport.database.migrations.catalog import snapshot
from homeport.database.migrations.model import Goal, Migration, Progress
from homeport.kernel.errors import HomeportError

HOWS = ("raise", "cut", "cut in commit", "cut after commit", "kill runner", "kill server")
"""What happens when a statement is reached."""


@dataclass
class Failure:
    at: int
    """Which statement, from 0."""
    how: str


class Injected(Exception):
    pass


@st.composite
def histories(draw: Any) -> tuple[Migration, ...]:
    """Files that all run on an empty database, with tables, columns, indexes, enums, views and rows."""
    tables: dict[str, list[str]] = {}
    indexes: list[str] = []
    enums: dict[str, int] = {}
    named: list[tuple[str, str]] = []

    def statement(number: int) -> str:
        kinds = ["table", "enum"]
        if tables:
            kinds += ["column", "rows", "rows", "index", "update", "not null", "view"]
        if any(len(c) > 1 for c in tables.values()):
            kinds.append("drop column")
        kind = draw(st.sampled_from(kinds))
        if kind == "table":
            name = f"t{number}"
            tables[name] = ["a"]
            return f"create table {name} (id bigint generated always as identity primary key, a int)"
        if kind == "enum":
            enums[f"e{number}"] = 1
            return f"create type e{number} as enum ('v0')"
        name = draw(st.sampled_from(sorted(tables)))
        column = draw(st.sampled_from(tables[name]))
        if kind == "column":
            tables[name].append(f"c{number}")
            type_ = draw(st.sampled_from(["int", "text", "numeric", *sorted(enums)]))
            return f"alter table {name} add column c{number} {type_}"
        if kind == "rows":
            return f"insert into {name} (a) select g from generate_series(1, {draw(st.integers(1, 50))}) g"
        if kind == "index":
            return f"create index i{number} on {name} ({column})"
        if kind == "update":
            return f"update {name} set a = coalesce(a, 0) + {number}"
        if kind == "view":
            return f"create view w{number} as select count(*) from {name}"
        if kind == "not null":
            return f"alter table {name} add column n{number} int not null default {number}"
        dropped = tables[name].pop()
        return f"alter table {name} drop column {dropped}" if dropped != "a" else "select 1"

    def lone(number: int) -> str:
        kinds = ["vacuum"]
        if tables:
            kinds += ["index", "index", "unique"]
        if indexes:
            kinds += ["drop", "reindex"]
        if enums:
            kinds.append("value")
        kind = draw(st.sampled_from(kinds))
        if kind in ("index", "unique"):
            name = draw(st.sampled_from(sorted(tables)))
            column = "id" if kind == "unique" else "id, a"
            indexes.append(f"x{number}")
            exists = draw(st.sampled_from(["", "if not exists "]))
            unique = "unique " if kind == "unique" else ""
            return f"create {unique}index concurrently {exists}x{number} on {name} ({column})"
        if kind == "drop":
            return f"drop index concurrently {indexes.pop()}"
        if kind == "reindex":
            return f"reindex index concurrently {indexes[-1]}"
        if kind == "value":
            name = draw(st.sampled_from(sorted(enums)))
            enums[name] += 1
            return f"alter type {name} add value 'v{number}'"
        return "vacuum"

    number = 0
    for file in range(draw(st.integers(2, 5))):
        number += 1
        if file and draw(st.booleans()):
            body = [lone(number)]
        else:
            body = []
            for _ in range(draw(st.integers(1, 3))):
                number += 1
                # A column in an index goes with it, so columns are dropped before there is one.
                body.append(statement(number))
        named.append((f"{file + 1:04}_f.sql", "-- migrate:up\n" + ";\n".join(body) + ";\n"))
    return files(*named)


def state(dsn: str) -> dict[str, Any]:
    """The schema, every table's rows, and what the table of migrations says.

    Without ``id``: numbers that a sequence gave to what was rolled back do not come again, by PostgreSQL's design.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        schema = snapshot(conn)
        tables = [name for kind, name in schema if kind == "table"]
        rows = {
            t: conn.execute(f"select (to_jsonb(x) - 'id')::text from {t} x order by 1".encode()).fetchall()
            for t in tables
        }
        record = conn.execute(
            "select version, checksum, applied_at is not null, rolled_back_at, running from homeport_migrations "
            "order by 1"
        ).fetchall()
        invalid = conn.execute(
            "select indexrelid::regclass::text from pg_index where not indisvalid"
        ).fetchall()
    return {"schema": schema, "rows": rows, "record": record, "invalid": invalid}


def count(history: tuple[Migration, ...]) -> int:
    return sum(len(m.up.statements) for m in history)


def kill_server(server: Postgres) -> None:
    """kill -9 of every process of PostgreSQL; the next start waits until the kernel has taken them all away.

    While one of them is still ending, its shared memory is in use and PostgreSQL refuses to start.
    """
    os.kill(server.pid, signal.SIGSTOP)  # it starts no further one meanwhile
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    pids = (server.pid, *map(int, children))
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
        except ProcessLookupError:
            pass
    server.stop(signal.SIGKILL)
    for handle in handles:
        select.select([handle], [], [], 30)
        os.close(handle)
    server.start()


class Blocker:
    """Keeps CREATE INDEX CONCURRENTLY waiting half-way, then ends its backend or calls ``strike``."""

    def __init__(self, dsn: str, index: str, strike: Callable[[], None]) -> None:
        self._dsn, self._index, self._strike = dsn, index, strike
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def join(self) -> None:
        self._thread.join(30)

    def _run(self) -> None:
        with psycopg.connect(self._dsn) as holder, psycopg.connect(self._dsn, autocommit=True) as looker:
            holder.execute("set transaction isolation level repeatable read")
            holder.execute("select pg_current_xact_id(), count(*) from pg_class")
            self._ready.set()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                found = looker.execute(
                    "select 1 from pg_index i join pg_class c on c.oid = i.indexrelid "
                    "where c.relname = %s and not i.indisvalid",
                    (self._index,),
                ).fetchone()
                if found:
                    break
                time.sleep(0.002)
            try:
                self._strike()
            finally:
                try:
                    holder.rollback()
                except psycopg.Error:
                    pass


def terminate(dsn: str) -> None:
    """Ends the backend of the migration, as a cut network does."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where application_name = 'homeport migrate' and datname = current_database()"
        )


def run_with(server: Postgres, dsn: str, history: tuple[Migration, ...], failure: Failure) -> None:
    """One run, in which ``failure`` strikes."""
    if failure.how == "kill runner":
        child = os.fork()
        if child == 0:
            try:
                _run(server, dsn, history, failure, lambda: os.kill(os.getpid(), signal.SIGKILL))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        return
    strikes: dict[str, Callable[[], None]] = {
        "cut": lambda: terminate(dsn),
        "kill server": lambda: kill_server(server),
    }

    def raises() -> None:
        raise Injected

    try:
        _run(server, dsn, history, failure, strikes.get(failure.how, raises))
    except Injected:
        pass
    except HomeportError as e:
        assert e.type.retry, e


def _run(
    server: Postgres, dsn: str, history: tuple[Migration, ...], failure: Failure, strike: Callable[[], None]
) -> None:
    seen = 0
    due = False
    blockers: list[Blocker] = []
    lone = {s.summary: s for m in history for s in m.up.statements if s.lone is not None}

    def note(progress: Progress) -> None:
        nonlocal seen, due
        if progress.kind != "statement":
            return
        if seen == failure.at:
            statement = lone.get(progress.text)
            half = (
                statement is not None and statement.lone is not None and statement.lone.name == "CREATE_INDEX"
            )
            if failure.how.startswith("cut ") and statement is None:
                due = True
            elif half and statement is not None and failure.how != "raise":
                what = strike if failure.how in ("kill runner", "kill server") else (lambda: terminate(dsn))
                blockers.append(Blocker(dsn, statement.name[1], what))
                blockers[-1].start()
            elif failure.how.startswith("cut "):
                terminate(dsn)
            else:
                strike()
        seen += 1

    def before_commit(conn: Any, *_: Any) -> None:
        if due:
            if failure.how == "cut after commit":
                conn.execute("commit")
            terminate(dsn)

    runner = migrator(dsn)
    runner._before_commit = before_commit
    try:
        runner.run(history, Goal(), note=note)
    finally:
        for blocker in blockers:
            blocker.join()


def fresh(server: Postgres, name: str) -> str:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(f"drop database if exists {name} with (force)".encode())
        conn.execute(f"create database {name}".encode())
    return server.dsn(name)


def check(server: Postgres, history: tuple[Migration, ...], failures: list[Failure]) -> None:
    """Every failure by itself on an empty database; after the next run all is as after a clean one."""
    clean = fresh(server, "clean")
    migrator(clean).run(history, Goal())
    expected = state(clean)
    assert [r[2:] for r in expected["record"]] == [(True, None, None)] * len(history)
    for failure in failures:
        broken = fresh(server, "broken")
        run_with(server, broken, history, failure)
        migrator(broken, wait_for_other=20.0).run(history, Goal())
        assert state(broken) == expected, (failure, [m.source for m in history])
