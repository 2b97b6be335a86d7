"""When a scheduled command is due: five cron fields in a time zone, or ``@every``. Pure.

The fields, and what a change of the clocks does to them, are those of Debian's cron (library cronsim):

- a line with fixed minutes and hours runs once a day it names: what falls into the hour that is skipped
  in spring runs at the end of that gap, what falls into the hour that comes twice in autumn runs the
  first time only;
- a line whose minutes or hours begin with ``*`` runs by the real clock: not at all in a gap, and twice in
  an hour that comes twice.

``@every 90s`` counts from 1970-01-01T00:00:00Z, so that it does not matter when it was first seen.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from homeport.kernel.text import nearest
from homeport.kernel.units import parse_duration

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST_TEXT = 200
LONGEST_ZONE = 64
LONGEST_EVERY = 366 * 86400.0
FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROBE = datetime(2000, 1, 1, tzinfo=UTC)
_FIELD = re.compile(r"[0-9A-Za-z*,/#-]+")
_NO_ZONE = ("posix", "right", "localtime", "posixrules", "Factory")
"""Names that some machines have beside the zones: without daylight saving's own rules, or not the same everywhere."""
_LONGEST_SHIFT = timedelta(hours=25)
"""No zone ever moved its clocks by more: Samoa and Kwajalein left out a day."""


class Schedule:
    """Due times, whole seconds but for an ``@every`` with a fraction; aware and in UTC."""

    def __init__(self, text: str, timezone: str = "UTC") -> None:
        """Raises ValueError with a reason that begins with "must"."""
        self.text = text
        self.timezone = timezone
        zone = _zone(timezone)
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"must be at most {LONGEST_TEXT} characters")
        words = text.split()
        self._next: Callable[[datetime], datetime]
        self._step = timedelta(minutes=1)
        if words and words[0] == "@every":
            self._step = timedelta(seconds=_every(words[1:]))
            self._next = self._next_of_steps
        else:
            self._next = _Line(_fields(text, words), zone).next
        self._known: tuple[datetime, datetime] | None = None
        try:
            self._next(_PROBE)
        except StopIteration:
            raise ValueError(f'must be a time that comes: "{text.strip()}" never does') from None

    def next(self, after: datetime) -> datetime:
        """The first due time later than ``after`` (aware)."""
        known = self._known
        if known is None or known[0] != after:
            known = self._known = (after, self._next(after.astimezone(UTC)))
        return known[1]

    def due(self, after: datetime, until: datetime, *, most: int) -> tuple[datetime, ...]:
        """Due times later than ``after`` and not later than ``until``, oldest first; the newest ``most``.

        Its cost grows with ``most``, not with the time between.
        """
        if most < 1 or self.next(after) > until:
            return ()
        window = most * self._step
        while True:
            begin = until - window if window < until - after else after
            found = tuple(deque(self._between(begin, until), maxlen=most))
            if begin == after or len(found) == most:
                return found
            window *= 2

    def _next_of_steps(self, after: datetime) -> datetime:
        return _EPOCH + ((after - _EPOCH) // self._step + 1) * self._step

    def _between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        at = self._next(after.astimezone(UTC))
        while at <= until:
            yield at
            at = self._next(at)


class _Line:
    """Five fields in a zone. cronsim is asked in local time without a zone; the zone is seen to here."""

    def __init__(self, fields: str, zone: ZoneInfo) -> None:
        self._fields = fields
        self._zone = zone
        minute, hour, *_ = fields.split()
        self._by_clock = minute.startswith("*") or hour.startswith("*")
        _simulation(fields, _PROBE)

    def next(self, after: datetime) -> datetime:
        if self._zone.key == "UTC":
            return next(_simulation(self._fields, after))
        if not self._by_clock:
            # cronsim gives the first of a local time that comes twice, also when that has passed.
            times = _simulation(self._fields, after.astimezone(self._zone))
            return next(at for at in (t.astimezone(UTC) for t in times) if at > after)
        return self._next_by_clock(after)

    def _next_by_clock(self, after: datetime) -> datetime:
        """Stretches of one offset are searched one after the other: in each, local time is plain.

        cronsim's own way for these lines goes by whole hours, which misses the times after a shift of
        half an hour (Lord Howe).
        """
        offset = self._offset(after)
        while True:
            local = (after + offset).replace(tzinfo=None)
            at = next(_simulation(self._fields, local)).replace(tzinfo=UTC) - offset
            if at - after > _LONGEST_SHIFT and self._offset(after + _LONGEST_SHIFT) == offset:
                # Nothing until shortly before, whatever shifts there were: each local time was looked at.
                after = at - _LONGEST_SHIFT
                offset = self._offset(after)
                local_again = (after + offset).replace(tzinfo=None)
                at = next(_simulation(self._fields, local_again)).replace(tzinfo=UTC) - offset
            horizon = min(at, after + _LONGEST_SHIFT)
            shifted = self._shift(after, horizon, offset)
            if shifted is None:
                if at <= horizon:
                    return at
                after = horizon
            else:
                after = shifted - timedelta(seconds=1)
                offset = self._offset(shifted)

    def _offset(self, at: datetime) -> timedelta:
        offset = at.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset

    def _shift(self, after: datetime, until: datetime, offset: timedelta) -> datetime | None:
        """The first second in (after, until] with another offset than ``offset``; None when there is none."""
        if self._offset(until) == offset:
            return None
        same, other = after.replace(microsecond=0), until
        while other - same > timedelta(seconds=1):
            middle = (same + (other - same) / 2).replace(microsecond=0)
            if self._offset(middle) == offset:
                same = middle
            else:
                other = middle
        return other


def _simulation(fields: str, start: datetime) -> CronSim:
    # Imported only for a schedule of this kind: a deploy without one does without it.
    from cronsim import CronSim

    return CronSim(fields, start)


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    if 0 < len(name) <= LONGEST_ZONE and name.isascii() and name.partition("/")[0] not in _NO_ZONE:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
    known = _known_zones()
    by_lower = {z.lower(): z for z in known}
    guess = by_lower.get(name.lower()) or (nearest(name, known) if len(name) <= LONGEST_ZONE else None)
    hint = f'did you mean "{guess}"?' if guess else 'such as "Europe/Berlin"'
    raise ValueError(f"must be a time zone: {hint}")


@cache
def _known_zones() -> tuple[str, ...]:
    from zoneinfo import available_timezones

    return tuple(sorted(z for z in available_timezones() if z.partition("/")[0] not in _NO_ZONE))


def _every(words: list[str]) -> float:
    if len(words) != 1:
        raise ValueError('must name a duration after @every, such as "@every 10m"')
    try:
        seconds = parse_duration(words[0])
    except ValueError as e:
        raise ValueError(f"must name a duration after @every: {e}") from None
    if not 1.0 <= seconds <= LONGEST_EVERY:
        raise ValueError("must be every 1s at most often and every 366d at least")
    return seconds


def _fields(text: str, words: list[str]) -> str:
    """The five fields that ``text`` stands for, each one checked. Raises ValueError."""
    if words and words[0].startswith("@"):
        if len(words) == 1 and words[0] in NAMED:
            return NAMED[words[0]]
        guess = nearest(words[0], [*NAMED, "@every"]) if len(words) == 1 else None
        known = ", ".join(("@every 10m", *NAMED))
        raise ValueError(
            f'must be one that is known: did you mean "{guess}"?' if guess else f"must be {known}"
        )
    if len(words) != len(FIELDS):
        raise ValueError(
            f"must have five fields ({', '.join(FIELDS)}) and has {len(words)}"
            if words
            else 'must have five fields, such as "0 3 * * *"'
        )
    for position, (name, word) in enumerate(zip(FIELDS, words, strict=True)):
        _check_field(name, word, position)
    fields = " ".join(words)
    try:
        _simulation(fields, _PROBE)
    except Exception as e:
        if type(e).__name__ != "CronSimError":
            raise
        raise ValueError(f'must be a time that comes: "{text.strip()}" never does') from None
    return fields


def _check_field(name: str, word: str, position: int) -> None:
    from cronsim import CronSimError

    try:
        if not _FIELD.fullmatch(word):
            raise CronSimError
        line = ["*"] * len(FIELDS)
        line[position] = word
        _simulation(" ".join(line), _PROBE)
    except (CronSimError, AssertionError):
        raise ValueError(f'must be right in its field {name}: cron does not know "{word}"') from None
