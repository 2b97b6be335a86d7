"""The example shop's six migrations on a real server: each way, with orders there, and with both releases at work."""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from migrating import migrator
from postgres import PROGRAMS, Postgres

from homeport.database.migrations.catalog import snapshot
from homeport.database.migrations.differences import differences
from homeport.database.migrations.directory import read
from homeport.database.migrations.lint import beside_python, lint
from homeport.database.migrations.model import Direction, Goal, Lone, Options, Subset
from homeport.database.migrations.rules import refusal
from homeport.database.migrations.session import Target
from homeport.database.migrations.trial import trial
from homeport.system.clock import RealClock

ROOT = Path(__file__).resolve().parents[3]
FILES = read(ROOT / "examples" / "shop" / "migrations")
EXPAND, FILL, CONTRACT = FILES[3:]
OLD_INSERT = "INSERT INTO orders (key, quantity) VALUES (%s, %s)"
"""As the release before the renaming writes; the next one writes ``items``."""
NEW_INSERT = "INSERT INTO orders (key, items) VALUES (%s, %s)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with Postgres(settings={"fsync": "off"}) as it:
        yield it


@pytest.fixture
def dsn(cluster: Any, request: pytest.FixtureRequest) -> str:
    name = "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[-50:]
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return str(cluster.dsn(f"'{name}'"))


def schema(dsn: str) -> Any:
    """As the catalog has it, without Homeport's own table; the order of columns does not matter."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return snapshot(connection)


def up_to(dsn: str, version: str) -> None:
    migrator(dsn).run(FILES, Goal(to=version))


def both(connection: Any) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT key, quantity, items FROM orders ORDER BY id").fetchall()


def test_there_are_six_of_them_and_the_last_one_is_the_contract() -> None:
    assert [m.contract for m in FILES] == [False] * 5 + [True]
    assert all(m.down is not None for m in FILES)
    assert [m.up.lone.lone for m in FILES if m.up.lone] == [Lone.CREATE_INDEX, Lone.BATCHES]


def test_the_linter_lets_them_all_pass() -> None:
    found = lint(FILES, program=beside_python())
    assert refusal(found) is None
    assert {f.filename for f in found} <= {CONTRACT.filename}


def test_up_and_down_file_by_file_gives_back_the_schema_before(dsn: str) -> None:
    before = [schema(dsn)]
    for file in FILES:
        up_to(dsn, file.version)
        before.append(schema(dsn))
    assert [bool(differences(*pair)) for pair in pairwise(before)] == [file is not FILL for file in FILES]
    for n in reversed(range(len(FILES))):
        migrator(dsn).run(FILES, Goal(Direction.DOWN, to=FILES[n - 1].version if n else "0"))
        assert differences(before[n], schema(dsn)) == ()
    migrator(dsn).run(FILES, Goal())
    assert differences(before[-1], schema(dsn)) == ()


def test_orders_keep_their_items_up_and_down_and_up(dsn: str) -> None:
    up_to(dsn, FILES[2].version)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO orders (key, quantity) SELECT 'o' || n, n FROM generate_series(1, 2500) n"
        )
        for goal in (Goal(), Goal(Direction.DOWN, to=FILES[2].version), Goal()):
            migrator(dsn).run(FILES, goal)
            column = "quantity" if goal.direction is Direction.DOWN else "items"
            wrong = connection.execute(f"SELECT count(*) FROM orders WHERE key <> 'o' || {column}").fetchone()
            assert wrong == (0,)
    assert wrong is not None


def test_filling_goes_in_batches_and_begun_anew_it_goes_on(dsn: str) -> None:
    """A row that cannot be written yet stops it half-way; what came before is committed."""
    up_to(dsn, FILES[2].version)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO orders (key, quantity) SELECT 'o' || n, n FROM generate_series(1, 2500) n"
        )
        up_to(dsn, EXPAND.version)
        connection.execute("ALTER TABLE orders ADD CONSTRAINT no_1500 CHECK (items <> 1500) NOT VALID")
        fill = FILL.up.statements[0].text
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(fill)
        assert connection.execute("SELECT count(items) FROM orders").fetchone() == (1000,)
        connection.execute("ALTER TABLE orders DROP CONSTRAINT no_1500")
        connection.execute(fill)
        assert connection.execute("SELECT count(items) FROM orders").fetchone() == (2500,)


def test_both_releases_are_right_between_expand_and_contract(dsn: str) -> None:
    up_to(dsn, FILES[2].version)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_INSERT, ("before", 1))
        migrator(dsn).run(FILES, Goal(subset=Subset.EXPAND))
        connection.execute(OLD_INSERT, ("old", 2))
        connection.execute(NEW_INSERT, ("new", 3))
        assert both(connection) == [("before", 1, 1), ("old", 2, 2), ("new", 3, 3)]
        connection.execute("UPDATE orders SET quantity = 20 WHERE key = 'new'")
        connection.execute("UPDATE orders SET items = 30 WHERE key = 'old'")
        connection.execute("UPDATE orders SET packed_at = now()")
        assert sorted(both(connection)) == [("before", 1, 1), ("new", 20, 20), ("old", 30, 30)]
        migrator(dsn).run(FILES, Goal(subset=Subset.CONTRACT))
        connection.execute(NEW_INSERT, ("after", 4))
        found = connection.execute("SELECT items FROM orders ORDER BY items").fetchall()
        assert found == [(1,), (4,), (20,), (30,)]
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute("INSERT INTO orders (key) VALUES ('without')")


def test_the_index_is_what_the_worker_uses(dsn: str) -> None:
    migrator(dsn).run(FILES, Goal())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO orders (key, items, packed_at) "
            "SELECT 'o' || n, 1, CASE WHEN n % 100 > 0 THEN now() END FROM generate_series(1, 5000) n"
        )
        connection.execute("ANALYZE orders")
        plan = connection.execute(
            "EXPLAIN SELECT id FROM orders WHERE packed_at IS NULL ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED"
        ).fetchall()
    assert "orders_waiting" in str(plan)


def test_the_trial_of_all_six_leaves_nothing_behind(dsn: str) -> None:
    found = trial(Target(dsn), Target(dsn), FILES, Goal(), Options(), RealClock(), programs=PROGRAMS)
    assert (found.failure, found.without_down, found.leavings, found.unstable) == (None, (), (), ())
    assert [t.version for t in found.tried if t.direction is Direction.DOWN] == [
        m.version for m in reversed(FILES)
    ]
    assert not [t for tried in found.tried for t in tried.touched if t.rewritten]
