"""Times as people read them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from homeport.cli.times import moment
from homeport.kernel.units import format_moment


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_moment_is_told_by_the_local_clock_with_its_zone_and_can_be_given_back(berlin: None) -> None:
    at = datetime(2026, 11, 20, 13, 3, 10, 250_000, tzinfo=UTC)
    assert format_moment(at) == "2026-11-20 14:03:10+01:00"
    assert datetime.fromisoformat(moment(format_moment(at), at)) == at.replace(microsecond=0)


def test_a_time_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        format_moment(datetime(2026, 11, 20))
