"""Times that people name."""

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from homeport.cli.restore import moment
from homeport.kernel.errors import HomeportError


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
    assert moment("2026-11-20 14:03:10") == "2026-11-20T14:03:10+01:00"
    assert moment("2026-07-20 14:03") == "2026-07-20T14:03:00+02:00"
    assert moment("2026-11-20T14:03:10Z") == "2026-11-20T14:03:10+00:00"
    assert datetime.fromisoformat(moment("2026-11-20T14:03:10-05:00")).utcoffset() == timedelta(hours=-5)


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "2026-03-29 02:30"])
def test_a_time_that_the_clock_showed_twice_or_never_is_refused(berlin: None, text: str) -> None:
    with pytest.raises(HomeportError, match="the local clock was changed then") as caught:
        moment(text)
    assert "+02:00" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["noon", "", "20:15", "2026-13-01", "1700000000"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(HomeportError, match="as a time"):
        moment(text)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31 23:59", "0001-01-01T00:00+05:00"])
def test_a_time_that_some_zone_does_not_have_is_refused(berlin: None, text: str) -> None:
    with pytest.raises(HomeportError, match="as a time"):
        moment(text)
