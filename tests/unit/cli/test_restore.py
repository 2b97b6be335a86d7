"""Times that people name."""

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from homeport.cli.times import moment
from homeport.kernel.errors import HomeportError

NOW = datetime.fromisoformat("2026-11-22T06:30:15.5+00:00")


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    assert os.environ.get("TZ") == before
    time.tzset()


def test_a_time_is_local_unless_it_names_a_zone(berlin: None) -> None:
    assert moment("2026-11-20 14:03:10", NOW) == "2026-11-20T14:03:10+01:00"
    assert moment("2026-07-20 14:03", NOW) == "2026-07-20T14:03:00+02:00"
    assert moment("2026-11-20T14:03:10Z", NOW) == "2026-11-20T14:03:10+00:00"
    assert datetime.fromisoformat(moment("2026-11-20T14:03:10-05:00", NOW)).utcoffset() == timedelta(hours=-5)


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "2026-03-29 02:30"])
def test_a_time_that_the_clock_showed_twice_or_never_is_refused(berlin: None, text: str) -> None:
    with pytest.raises(HomeportError, match="the local clock was changed then") as caught:
        moment(text, NOW)
    assert "+02:00" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "noon",
        "",
        "25:15",
        "12:60",
        "tomorrow 12:00",
        "3 ago",
        "ago",
        "5 parsecs ago",
        "2026-13-01",
        "1700000000",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(HomeportError, match="as a time"):
        moment(text, NOW)


@pytest.mark.parametrize(
    "text", ["0001-01-01", "9999-12-31 23:59", "0001-01-01T00:00+05:00", "100000 days ago"]
)
def test_a_time_that_some_zone_does_not_have_is_refused(berlin: None, text: str) -> None:
    with pytest.raises(HomeportError, match="as a time"):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("07:30", "2026-11-22T07:30:00+01:00"),
        ("7:30:15", "2026-11-22T07:30:15+01:00"),
        ("07:31", "2026-11-21T07:31:00+01:00"),
        ("23:50", "2026-11-21T23:50:00+01:00"),
        ("today 23:50", "2026-11-22T23:50:00+01:00"),
        ("yesterday 01:00", "2026-11-21T01:00:00+01:00"),
        ("10 minutes ago", "2026-11-22T06:20:15+00:00"),
        ("an hour ago", "2026-11-22T05:30:15+00:00"),
        ("2 days 3 hours ago", "2026-11-20T03:30:15+00:00"),
        ("1h30m ago", "2026-11-22T05:00:15+00:00"),
        ("a week ago", "2026-11-15T06:30:15+00:00"),
    ],
)
def test_short_times_are_the_newest_that_were(berlin: None, text: str, meant: str) -> None:
    assert moment(text, NOW) == meant


def test_a_time_of_day_that_the_clock_showed_twice_is_refused(berlin: None) -> None:
    with pytest.raises(HomeportError, match="the local clock was changed then"):
        moment("02:30", datetime.fromisoformat("2026-10-25T20:00:00+00:00"))
