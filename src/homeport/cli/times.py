"""Moments that people name."""

import re
from datetime import UTC, datetime, timedelta

from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.units import parse_duration

BAD_TIME = declare("cli.bad_time", Kind.INVALID, "A time cannot be read, or the local clock showed it twice.")
FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Of times that every zone has."""
_AGO = re.compile(r"(.*\S)\s+ago")
_WORDS = re.compile(
    r"\s*(\d+(?:\.\d+)?|an?)\s*(weeks?|w|days?|d|hours?|h|minutes?|mins?|min|m|seconds?|secs?|sec|s)\b\s*"
)
_CLOCK = re.compile(r"(?:(today|yesterday)\s+)?(\d{1,2}):(\d{2})(?::(\d{2}))?")


def moment(text: str, now: datetime) -> str:
    """An ISO 8601 time with its zone, of the same, of "14:03" and "yesterday 14:03", or of "10 minutes ago".

    What names no zone is by the local clock. A time of day alone is the newest that was; ``now`` has its zone. Raises
    ``cli.bad_time``.
    """
    told = text.strip()
    found = _ago(told, now) or _time_of_day(told, now)
    if found is None:
        try:
            found = datetime.fromisoformat(told)
        except ValueError:
            raise _unreadable(text) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise _unreadable(text)
    if found.tzinfo is not None:
        return found.isoformat()
    first, second = (found.replace(fold=fold).astimezone() for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise BAD_TIME.error(
            f"cannot tell which {text} is meant: the local clock was changed then",
            hint=f"name the zone: {first.isoformat()} or {second.isoformat()}",
        )
    return first.isoformat()


def instant(text: str, now: datetime) -> datetime:
    """The same as :func:`moment`, in UTC."""
    return datetime.fromisoformat(moment(text, now)).astimezone(UTC)


def _unreadable(text: str) -> HomeportError:
    return BAD_TIME.error(
        f"cannot read {text[:60]!r} as a time",
        hint='such as "2026-11-20 14:03:10", 2026-11-20T14:03:10+01:00, 14:03 or "10 minutes ago"',
    )


def _ago(text: str, now: datetime) -> datetime | None:
    said = _AGO.fullmatch(text)
    if said is None:
        return None
    short = _WORDS.sub(lambda m: f"{'1' if m[1] in ('a', 'an') else m[1]}{m[2][0]}", said[1])
    short = re.sub(r"(\d+(?:\.\d+)?)w", lambda m: f"{float(m[1]) * 7:g}d", short)
    try:
        return (now - timedelta(seconds=parse_duration(short))).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def _time_of_day(text: str, now: datetime) -> datetime | None:
    """By the local clock, without a zone."""
    said = _CLOCK.fullmatch(text)
    if said is None:
        return None
    today = now.astimezone().replace(tzinfo=None)
    try:
        found = today.replace(
            hour=int(said[2]), minute=int(said[3]), second=int(said[4] or 0), microsecond=0, fold=0
        )
    except ValueError:
        return None
    before = said[1] == "yesterday" or (said[1] is None and found > today)
    return found - timedelta(days=1) if before else found
