"""PostgreSQL for these tests. ``postgres`` is the DSN of a fresh database; the cluster is shared."""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

NUMBERS = count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A running cluster (support/postgres.py): not to be stopped or reconfigured, others use it too."""
    from postgres import Postgres

    with Postgres(settings={"fsync": "off"}) as it:
        yield it


@pytest.fixture
def postgres(cluster: Any) -> Iterator[str]:
    """The DSN, as superuser, of a database of this test's own."""
    import psycopg

    name = f"test_{next(NUMBERS)}"
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield cluster.dsn(name)
    finally:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_cluster() -> Iterator[Any]:
    """A cluster of this test's own, which it may kill and configure."""
    from postgres import Postgres

    with Postgres(settings={"fsync": "off"}) as it:
        yield it
