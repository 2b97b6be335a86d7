"""Figure 1, with a small seed: histories by chance, a failure at every statement. bench/migrations.py runs 200."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from migration_histories import HOWS, Failure, check, count, histories
from postgres import Postgres

from homeport.database.migrations.model import Migration


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Without fsync: what is killed here are processes, never the machine."""
    with Postgres(settings={"fsync": "off"}) as it:
        yield it


def test_after_a_failure_the_next_run_gives_what_a_clean_run_gives(server: Postgres) -> None:
    @settings(
        max_examples=8, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(histories(), st.data())
    def holds(history: tuple[Migration, ...], data: st.DataObject) -> None:
        hows = [data.draw(st.sampled_from(HOWS)) for _ in range(count(history))]
        check(server, history, [Failure(at, how) for at, how in enumerate(hows)])

    holds()
