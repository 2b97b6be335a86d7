"""Due times against a plain search minute by minute, over the odd days of odd zones."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homeport.spec.schedule import Schedule

MINUTE = timedelta(minutes=1)
ODD_DAYS = [
    ("Europe/Berlin", date(2024, 3, 31)),
    ("Europe/Berlin", date(2024, 10, 27)),
    ("America/New_York", date(2024, 3, 10)),
    ("America/New_York", date(2024, 11, 3)),
    ("Australia/Lord_Howe", date(2024, 4, 7)),
    ("Australia/Lord_Howe", date(2024, 10, 6)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Asia/Kathmandu", date(2024, 5, 1)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("Africa/Casablanca", date(2024, 3, 10)),
]
"""Of each zone a day that its clocks are moved on; Samoa and Kwajalein left that day out."""

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def numbers(field: str, low: int, high: int) -> set[int]:
    """What a field of the kinds that the tests make stands for, without cronsim."""
    if field.startswith("*"):
        return set(range(low, high + 1, int(field[2:] or 1)))
    if "-" in field:
        first, last = field.split("-")
        return set(range(int(first), int(last) + 1))
    return {int(n) for n in field.split(",")}


def matches(fields: list[str], at: datetime) -> bool:
    minute, hour, day, month, weekday = (
        numbers(field, *bounds) for field, bounds in zip(fields, BOUNDS, strict=True)
    )
    if at.minute not in minute or at.hour not in hour or at.month not in month:
        return False
    by_day, by_weekday = at.day in day, at.isoweekday() % 7 in weekday
    if fields[2].startswith("*") or fields[4].startswith("*"):
        return by_day and by_weekday
    return by_day or by_weekday


def plain_search(line: str, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Debian's rules, written down a second time: every minute is looked at."""
    fields = line.split()
    found = set()
    if fields[0].startswith("*") or fields[1].startswith("*"):
        at = after.replace(second=0, microsecond=0)
        while at <= until:
            if matches(fields, at.astimezone(zone)):
                found.add(at)
            at += MINUTE
    else:
        local = after.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0) - timedelta(days=2)
        while local <= until.astimezone(zone).replace(tzinfo=None) + timedelta(days=2):
            if matches(fields, local):
                end_of_gap = local
                while end_of_gap.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(
                    tzinfo=None
                ) != (end_of_gap):
                    end_of_gap += MINUTE
                found.add(end_of_gap.replace(tzinfo=zone).astimezone(UTC))
            local += MINUTE
    return sorted(at for at in found if after < at <= until)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.integers(2, 20).map(lambda n: f"*/{n}"),
        one.map(str),
        st.lists(one, min_size=1, max_size=4).map(lambda ns: ",".join(map(str, ns))),
        st.tuples(one, one).map(lambda ab: f"{min(ab)}-{max(ab)}"),
    )


LINES = st.builds(
    lambda minute, hour, day, weekday: f"{minute} {hour} {day} * {weekday}",
    field(0, 59),
    field(0, 6),
    st.one_of(st.just("*"), field(1, 31)),
    st.one_of(st.just("*"), field(0, 6)),
)


@settings(deadline=None, max_examples=20)
@given(line=LINES, place=st.sampled_from(ODD_DAYS), seconds=st.integers(0, 3 * 86400))
@example(line="* 5 * * *", place=("Australia/Lord_Howe", date(2024, 4, 7)), seconds=14 * 3600)
@example(line="15 2 * * *", place=("Europe/Berlin", date(2024, 10, 27)), seconds=86400 + 3600)
@example(line="30 2 * * *", place=("Europe/Berlin", date(2024, 3, 31)), seconds=0)
def test_as_a_plain_search_finds(line: str, place: tuple[str, date], seconds: int) -> None:
    name, day = place
    begin = datetime.combine(day - timedelta(days=1), time(), tzinfo=UTC)
    until = begin + timedelta(days=3)
    after = begin + timedelta(seconds=seconds)
    schedule = Schedule(line, name)
    expected = plain_search(line, ZoneInfo(name), after, until)
    found, at = [], after
    while (at := schedule.next(at)) <= until:
        found.append(at)
    assert found == expected
    assert schedule.due(after, until, most=100_000) == tuple(expected)
    assert schedule.due(after, until, most=3) == tuple(expected[-3:])


@pytest.mark.parametrize(
    ("line", "zone", "after", "expected"),
    [
        # The gap runs at its end, once.
        ("30 2 * * *", "Europe/Berlin", "2024-03-30T12:00", ["2024-03-31T01:00", "2024-04-01T00:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2024-03-31T00:59:59", ["2024-03-31T01:00", "2024-04-01T00:00"]),
        # The doubled hour runs once, also seen from its second time.
        ("30 2 * * *", "Europe/Berlin", "2024-10-26T12:00", ["2024-10-27T00:30", "2024-10-28T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2024-10-27T01:00", ["2024-10-28T01:30"]),
        # A wildcard follows the real clock.
        ("30 * * * *", "Europe/Berlin", "2024-10-27T00:00", ["2024-10-27T00:30", "2024-10-27T01:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2024-03-30T12:00", ["2024-04-01T00:00", "2024-04-01T00:30"]),
        # A day that never was.
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00", ["2011-12-30T10:00", "2011-12-30T22:00"]),
        ("0 0 29 2 *", "UTC", "2024-03-01T00:00", ["2028-02-29T00:00"]),
        ("0 0 L * *", "America/New_York", "2024-02-01T00:00", ["2024-02-29T05:00"]),
        ("*/7 * 1 1 *", "Europe/Berlin", "2024-01-02T00:00", ["2024-12-31T23:00", "2024-12-31T23:07"]),
        ("@daily", "Asia/Kathmandu", "2024-01-01T00:00", ["2024-01-01T18:15"]),
    ],
)
def test_days_that_clocks_are_moved(line: str, zone: str, after: str, expected: list[str]) -> None:
    schedule = Schedule(line, zone)
    at, found = utc(after), []
    for _ in expected:
        at = schedule.next(at)
        found.append(at)
    assert found == [utc(e) for e in expected]
    assert all(f.tzinfo is UTC for f in found)


def test_every_counts_from_the_epoch() -> None:
    schedule = Schedule("@every 1h30m", "Europe/Berlin")
    assert schedule.next(utc("1970-01-01T00:00")) == utc("1970-01-01T01:30")
    assert schedule.next(utc("2024-01-01T00:00:01")) == utc("2024-01-01T01:30")
    assert Schedule("@every 1500ms").next(utc("1970-01-01T00:00:02")) == utc("1970-01-01T00:00:03")


@given(st.integers(1, 400_000), st.integers(-(10**9), 10**10), st.integers(1, 50))
def test_every_is_exact(seconds: int, epoch: int, most: int) -> None:
    seconds = min(seconds, 366 * 86400)
    schedule = Schedule(f"@every {seconds}s")
    after = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(epoch, 9 * 10**9))
    first = schedule.next(after)
    assert after < first <= after + timedelta(seconds=seconds)
    assert (first - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(seconds=seconds) == timedelta()
    until = first + timedelta(seconds=seconds) * 99
    assert schedule.due(after, until, most=most) == tuple(
        first + timedelta(seconds=seconds) * n for n in range(100 - most, 100)
    )


def test_due_is_half_open() -> None:
    schedule = Schedule("0 * * * *")
    at = utc("2024-01-01T05:00")
    assert schedule.due(at, at + timedelta(hours=1), most=9) == (utc("2024-01-01T06:00"),)
    assert schedule.due(at - timedelta(microseconds=1), at, most=9) == (at,)
    assert schedule.due(at, at, most=9) == ()
    assert schedule.due(at, at + timedelta(hours=9), most=0) == ()


def test_due_finds_the_newest_of_decades() -> None:
    """Without a look at each of the ten million before."""
    found = Schedule("@every 1s").due(utc("1990-01-01T00:00"), utc("2020-01-01T00:00"), most=2)
    assert found == (utc("2019-12-31T23:59:59"), utc("2020-01-01T00:00"))
    yearly = Schedule("@yearly").due(utc("1990-06-01T00:00"), utc("2020-06-01T00:00"), most=1000)
    assert len(yearly) == 30
    minutely = Schedule("* * * * *", "Europe/Berlin").due(
        utc("1990-01-01T00:00"), utc("2020-01-01T00:00"), most=2
    )
    assert minutely[-1] == utc("2020-01-01T00:00")


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("", "UTC", "must have five fields"),
        (
            "* * * *",
            "UTC",
            "must have five fields (minute, hour, day-of-month, month, day-of-week) and has 4",
        ),
        ("0 * * * * *", "UTC", "and has 6"),
        ("61 * * * *", "UTC", 'must be right in its field minute: cron does not know "61"'),
        ("* 24 * * *", "UTC", "in its field hour: cron"),
        ("* * 0 * *", "UTC", "in its field day-of-month: cron"),
        ("* * * JANUARY *", "UTC", "in its field month: cron"),
        ("* * * * MON#6", "UTC", "in its field day-of-week: cron"),
        ("* * * * \u0663", "UTC", "in its field day-of-week: cron"),
        ("5L/2 * * * *", "UTC", "in its field minute: cron"),
        ("*/0 * * * *", "UTC", "in its field minute: cron"),
        ("*/2; * * * *", "UTC", "in its field minute: cron"),
        ("0 0 30 2 *", "UTC", 'must be a time that comes: "0 0 30 2 *" never does'),
        ("0 0 31 4,6,9,11 *", "Europe/Berlin", "never does"),
        ("0 0 */31 * MON#5", "UTC", "never does"),
        ("@every", "UTC", "must name a duration after @every"),
        ("@every soon", "UTC", 'must name a duration after @every: a duration is written like "250ms"'),
        ("@every 999ms", "UTC", "must be every 1s at most often"),
        ("@every 367d", "UTC", "366d"),
        ("@every " + "9" * 150 + "d", "UTC", "366d"),
        ("@every 5m 5s", "UTC", "must name a duration"),
        ("@dayly", "UTC", 'did you mean "@daily"?'),
        ("@reboot", "UTC", "must be @every 10m, @hourly"),
        ("@daily 5", "UTC", "must be @every 10m, @hourly"),
        ("1," * 5000 + "1 * * * *", "UTC", "must be at most 200 characters"),
        ("* * * * *", "Europe/Berln", 'must be a time zone: did you mean "Europe/Berlin"?'),
        ("* * * * *", "europe/berlin", 'did you mean "Europe/Berlin"?'),
        ("* * * * *", "", "must be a time zone"),
        ("* * * * *", "Europe", "must be a time zone"),
        ("* * * * *", "../../etc/passwd", "must be a time zone"),
        ("* * * * *", "/etc/localtime", "must be a time zone"),
        ("* * * * *", "localtime", "must be a time zone"),
        ("* * * * *", "right/Europe/Berlin", "must be a time zone"),
        ("* * * * *", "UTC\0", "must be a time zone"),
        ("* * * * *", "X" * 100_000, "must be a time zone"),
        ("@every 1h", "Mars", "must be a time zone"),
    ],
)
def test_what_is_refused(text: str, zone: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        Schedule(text, zone)
    assert str(error.value).startswith("must ")
    assert reason in str(error.value)


@settings(deadline=None, max_examples=15)
@given(
    st.text(st.sampled_from("0123456789*/,-#LWMONJAT @everyhd\0\u0663"), max_size=60), st.text(max_size=20)
)
def test_any_text_is_taken_or_refused_with_a_reason(text: str, zone: str) -> None:
    for candidate in (text, f"{text[:8]} * * * *", f"0 0 {text[:8]} 2 *", f"@every {text}"):
        for z in ("Europe/Berlin", zone):
            try:
                schedule = Schedule(candidate, z)
            except ValueError as e:
                assert str(e).startswith("must ")
            else:
                assert schedule.next(utc("2024-01-01T00:00")) > utc("2024-01-01T00:00")


def test_a_line_of_fields_is_what_loads_the_library() -> None:
    program = (
        "import sys; from homeport.spec.schedule import Schedule; "
        "assert 'cronsim' not in sys.modules and 'zoneinfo' not in sys.modules; "
        "Schedule('0 0 * * *'); assert 'cronsim' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
