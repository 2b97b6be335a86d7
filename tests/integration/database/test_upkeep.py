"""Upkeep on a real PostgreSQL."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hurried import Hurried

from homeport.database.upkeep.model import Outcome, State
from homeport.database.upkeep.service import run
from homeport.kernel.errors import HomeportError
from homeport.spec.model_database import Upkeep
from homeport.system.clock import RealClock

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 5000) n;
CREATE INDEX orders_note ON orders (note);
CREATE MATERIALIZED VIEW notes AS SELECT id, note FROM orders WITH NO DATA;
"""


def upkeep(kind: str, target: str, timeout: float = 30.0) -> Upkeep:
    return Upkeep("nightly", kind, target, "0 3 * * *", timeout=timeout)


def asked(dsn: str, kind: str, target: str, timeout: float = 30.0) -> Outcome:
    with psycopg.connect(dsn) as connection:
        return run(connection, upkeep(kind, target, timeout), RealClock())


def indexes(dsn: str) -> dict[str, bool]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'orders'::regclass"
        )
        return dict(rows.fetchall())


@pytest.fixture
def shop(postgres: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(ORDERS)
    return postgres


def test_a_view_is_filled_first_and_refreshed_beside_its_readers_then(shop: str) -> None:
    first = asked(shop, "refresh", "notes")
    assert (first.state, first.statement) == (State.DONE, 'REFRESH MATERIALIZED VIEW "public"."notes"')
    assert first.before is not None and first.after is not None and first.after.bytes > first.before.bytes
    refused = asked(shop, "refresh", "notes")
    assert refused.state is State.REFUSED and refused.error is not None
    assert (
        refused.error.code == "database.no_unique_index"
        and "CREATE UNIQUE INDEX ON public.notes" in refused.error.hint
    )
    with psycopg.connect(shop) as connection:
        connection.execute("CREATE UNIQUE INDEX ON notes (id) WHERE id > 1")
    assert asked(shop, "refresh", "notes").state is State.REFUSED
    with psycopg.connect(shop) as connection:
        connection.execute("CREATE UNIQUE INDEX ON notes (id)")
        connection.execute("INSERT INTO orders VALUES (0, 'new')")
    with psycopg.connect(shop) as reader:
        reader.execute("SELECT count(*) FROM notes")
        second = asked(shop, "refresh", "public.notes", timeout=10)
        assert (second.state, second.statement) == (
            State.DONE,
            'REFRESH MATERIALIZED VIEW CONCURRENTLY "public"."notes"',
        )
    with psycopg.connect(shop) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (5001,)


@pytest.mark.parametrize("target", ["orders_note", "orders"])
def test_a_reindex_that_runs_out_of_time_leaves_what_the_next_run_drops(shop: str, target: str) -> None:
    with psycopg.connect(shop) as old, psycopg.connect(shop) as reader:
        old.execute("UPDATE orders SET note = 'held' WHERE id = 1")
        cut_off = asked(shop, "reindex", target, timeout=1.0)
        assert cut_off.state is State.TIMED_OUT and cut_off.error is not None
        assert cut_off.error.code == "database.upkeep_timed_out"
        reader.execute("SELECT 1")
    left = {name for name, valid in indexes(shop).items() if not valid}
    assert {f"public.{name}" for name in left} == set(cut_off.left)
    again = asked(shop, "reindex", target)
    assert again.state is State.DONE and set(again.dropped) == set(cut_off.left) and again.left == ()
    assert indexes(shop) == {"orders_pkey": True, "orders_note": True}


def test_a_reindex_whose_server_was_killed_is_made_good_by_the_next_run(own_cluster: Any) -> None:
    dsn = own_cluster.dsn()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(ORDERS)
        connection.execute("CREATE INDEX orders_note_ccnew_tail ON orders (note)")
    outcomes: list[Outcome] = []
    kept = f"{dsn} options='-c synchronous_commit=on'"
    with closing(psycopg.connect(dsn)) as old:
        old.execute("UPDATE orders SET note = 'held' WHERE id = 1")
        thread = threading.Thread(target=lambda: outcomes.append(asked(kept, "reindex", "orders_note")))
        thread.start()
        deadline = time.monotonic() + 20
        while not any(not valid for valid in indexes(dsn).values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        own_cluster.stop(signal.SIGKILL)
        thread.join(20)
    (lost,) = outcomes
    assert lost.state is State.FAILED and lost.error is not None and lost.error.code == "database.upkeep_lost"
    own_cluster.start()
    assert indexes(dsn)["orders_note_ccnew"] is False
    again = asked(dsn, "reindex", "orders_note")
    assert (again.state, again.dropped) == (State.DONE, ("public.orders_note_ccnew",))
    assert set(indexes(dsn)) == {"orders_pkey", "orders_note", "orders_note_ccnew_tail"}


def test_an_invalid_index_of_another_name_is_nobody_elses_to_drop(shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("CREATE INDEX orders_ccnew ON orders (note)")
        connection.execute("CREATE INDEX orders_note_ccnew ON orders (note)")
        connection.execute("CREATE INDEX half ON orders (note)")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('orders_ccnew'::regclass, 'half'::regclass)"
        )
    assert asked(shop, "reindex", "orders_note").dropped == ()
    assert {"orders_ccnew", "orders_note_ccnew", "half"} <= set(indexes(shop))


def test_statistics_of_a_table_and_of_all(shop: str) -> None:
    one = asked(shop, "analyze", "orders")
    assert (one.state, one.statement) == (State.DONE, 'ANALYZE "public"."orders"')
    assert one.after is not None and one.after.rows == 5000
    every = asked(shop, "analyze", "")
    assert every.state is State.DONE and every.after is not None and every.after.bytes > 1_000_000


@pytest.mark.parametrize(
    ("kind", "target", "code"),
    [
        ("refresh", "nothing", "database.no_upkeep_target"),
        ("refresh", "orders", "database.wrong_upkeep_target"),
        ("reindex", "", "database.wrong_upkeep_target"),
        ("reindex", "pg_catalog.pg_class", "database.wrong_upkeep_target"),
        ("analyze", "orders_note", "database.wrong_upkeep_target"),
        ("reindex", 'orders"; DROP TABLE orders; --', "database.no_upkeep_target"),
    ],
)
def test_what_is_not_fit_is_refused_by_name(shop: str, kind: str, target: str, code: str) -> None:
    outcome = asked(shop, kind, target)
    assert outcome.state is State.REFUSED and outcome.error is not None and outcome.error.code == code
    assert outcome.error.sentence.startswith("cannot ")
    assert outcome.to_json()["error"]["code"] == code


def test_what_the_database_refuses_is_in_the_outcome(shop: str, cluster: Any) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS upkeep_stranger")
        connection.execute("CREATE ROLE upkeep_stranger LOGIN")
    outcome = asked(f"{shop} user=upkeep_stranger", "reindex", "orders_note")
    assert outcome.state is State.FAILED and outcome.error is not None
    assert outcome.error.code == "database.upkeep_failed" and "owner" in outcome.error.sentence


def test_functions_of_the_apps_are_not_taken_for_postgresqls(shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.regexp_replace(name, text, text) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$"
        )
        connection.execute("CREATE INDEX orders_pkey_ccnew ON orders (id)")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_pkey_ccnew'::regclass"
        )
        with pytest.raises(psycopg.Error, match="run as postgres"):
            connection.execute("SELECT regexp_replace(relname, 'a', 'b') FROM pg_class")
    assert asked(shop, "reindex", "orders_pkey").dropped == ("public.orders_pkey_ccnew",)


def test_two_at_a_time_are_one(shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtextextended('homeport upkeep reindex public.orders_note', 0))"
        )
        clock = Hurried()
        with psycopg.connect(shop) as connection:
            outcome = run(connection, upkeep("reindex", "orders_note"), clock)
    assert outcome.state is State.REFUSED and outcome.error is not None
    assert outcome.error.code == "database.upkeep_under_way" and clock.slept >= 10


def test_a_run_whose_client_was_killed_makes_way_for_the_next(shop: str) -> None:
    """The server sees by itself that nobody waits for what it does: it is told only when it answers."""
    with psycopg.connect(shop, autocommit=True) as other:
        other.execute("CREATE TABLE pace AS SELECT 600 AS seconds")
        other.execute(
            "CREATE MATERIALIZED VIEW slow AS SELECT count(pg_sleep(seconds)) FROM pace WITH NO DATA"
        )
        with psycopg.connect(shop) as connection, ThreadPoolExecutor(1) as pool:
            first = pool.submit(run, connection, upkeep("refresh", "slow"), RealClock())
            deadline = time.monotonic() + 20
            query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while not other.execute(query, [connection.info.backend_pid]).fetchone():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with socket.socket(fileno=os.dup(connection.fileno())) as way:
                way.shutdown(socket.SHUT_RDWR)
            assert first.result().state is State.FAILED
        other.execute("UPDATE pace SET seconds = 0")
        second = asked(shop, "refresh", "slow")
    assert second.state is State.DONE, second.error


def test_the_connection_is_as_it_was_and_one_in_a_transaction_is_refused(shop: str) -> None:
    with psycopg.connect(shop) as connection:
        connection.execute("SET statement_timeout = '7s'")
        connection.execute("SET client_connection_check_interval = '3s'")
        connection.commit()
        assert run(connection, upkeep("analyze", "orders"), RealClock()).state is State.DONE
        assert not connection.autocommit
        assert connection.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert connection.execute("SHOW client_connection_check_interval").fetchone() == ("3s",)
        with pytest.raises(HomeportError, match="in a transaction"):
            run(connection, upkeep("analyze", "orders"), RealClock())


class SlowUnlock(psycopg.Connection[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if "advisory_unlock" in str(query):
            query = f"{query}, pg_catalog.pg_sleep(0.2)"
        return super().execute(query, *args, **kwargs)


def test_an_end_has_time_though_none_is_left_for_cleaning(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cleaning left of its time was the limit of the unlocking after it: a millisecond."""
    monkeypatch.setattr("homeport.database.upkeep.service.CLEANING", 0.0)
    with psycopg.connect(shop) as old, SlowUnlock.connect(shop) as connection:
        old.execute("UPDATE orders SET note = 'held' WHERE id = 1")
        cut_off = run(connection, upkeep("reindex", "orders", 1.0), RealClock())
        limits = connection.execute("SHOW statement_timeout").fetchone()
    assert cut_off.state is State.TIMED_OUT and limits == ("0",)
