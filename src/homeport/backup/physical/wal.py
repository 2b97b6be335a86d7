"""Segments of the server's log: names, numbers, and whether they follow each other without a hole. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SEGMENT = 16 * 1024 * 1024
"""Bytes; what initdb makes when it is not told otherwise."""
PER_LOG = (1 << 32) // SEGMENT
_ARCHIVED = re.compile(r"([^/]+)/[0-9A-F]{16}/([0-9A-F]{24})-[0-9a-f]{40}(?:\.[a-z0-9]+)?")
_HISTORY = re.compile(r"([^/]+)/([0-9A-F]{8})\.history")
_RECEIVED = re.compile(r"([0-9A-F]{24})(\.partial)?")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    timeline: int
    number: int

    def __str__(self) -> str:
        return f"{self.timeline:08X}{self.number // PER_LOG:08X}{self.number % PER_LOG:08X}"


def segment(name: str) -> Segment:
    """Of a name such as "00000001000000000000000A". Raises ValueError."""
    if not re.fullmatch("[0-9A-F]{24}", name):
        raise ValueError(name)
    return Segment(int(name[:8], 16), int(name[8:16], 16) * PER_LOG + int(name[16:], 16))


def archived_until(name: str) -> Segment | None:
    """Of the file that a server archived last. It archives in order; a backup's mark comes after its segment."""
    return segment(name[:24]) if re.fullmatch(r"[0-9A-F]{24}(\..*)?", name) else None


def position(lsn: str) -> int:
    """Bytes from the log's beginning, of a text such as "0/A000028"."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def segment_at(timeline: int, lsn: str) -> Segment:
    """Where the byte before ``lsn`` lies: a record that ends at a boundary is in the segment before it."""
    return Segment(timeline, max(0, position(lsn) - 1) // SEGMENT)


@dataclass(frozen=True, slots=True)
class Archive:
    """What a repository holds of one cluster's log."""

    id: str
    """pgBackRest's name for it, such as "15-1"."""
    segments: frozenset[Segment]
    histories: frozenset[int] = frozenset()
    """Timelines whose history is there."""
    forks: Mapping[int, int] = field(default_factory=dict)
    """By timeline: the number of the segment in which its parent was left."""
    parents: Mapping[int, int] = field(default_factory=dict)
    """By timeline."""

    def newest(self) -> Segment | None:
        return max(self.segments, default=None)

    def timeline(self) -> int:
        """The newest; 1 for an empty archive."""
        return max((*self.histories, *(s.timeline for s in self.segments)), default=1)

    def leads(self, timeline: int, number: int, to: int) -> bool:
        """Whether recovery comes from segment ``number`` of ``timeline`` to the timeline ``to``: whether that
        left this one, by way of others or not, no earlier. True where no history says otherwise."""
        while to > timeline:
            if to not in self.parents:
                return True
            parent = self.parents[to]
            if parent == timeline:
                return number <= self.forks[to]
            to = parent
        return to == timeline


def archives(paths: Iterable[str]) -> dict[str, Archive]:
    """From a listing of a stanza's archive, by id. What is neither a segment nor a history is passed over."""
    segments: dict[str, set[Segment]] = {}
    histories: dict[str, set[int]] = {}
    for path in paths:
        if (found := _ARCHIVED.fullmatch(path)) is not None:
            segments.setdefault(found[1], set()).add(segment(found[2]))
        elif (found := _HISTORY.fullmatch(path)) is not None:
            histories.setdefault(found[1], set()).add(int(found[2], 16))
    return {
        id: Archive(id, frozenset(segments.get(id, ())), frozenset(histories.get(id, ())))
        for id in sorted(segments.keys() | histories.keys())
    }


def fork(history: str, timeline: int) -> tuple[int, int] | None:
    """(parent, number of the segment in which it was left), from the text of a timeline's history."""
    found: tuple[int, int] | None = None
    for line in history.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdigit() and int(words[0]) < timeline:
            found = int(words[0]), position(words[1]) // SEGMENT
    return found


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Segments that are not there, ``first`` to ``last``, both included."""

    first: Segment
    last: Segment

    def __str__(self) -> str:
        count = self.last.number - self.first.number + 1
        return str(self.first) if count == 1 else f"{self.first} to {self.last} ({count} segments)"


def gaps(there: Collection[Segment], first: Segment, last: Segment) -> tuple[Gap, ...]:
    """What is missing of one timeline, ``first`` to ``last``, both included."""
    found: list[Gap] = []
    open_: int | None = None
    for number in range(first.number, last.number + 2):
        missing = number <= last.number and Segment(first.timeline, number) not in there
        if missing and open_ is None:
            open_ = number
        elif not missing and open_ is not None:
            found.append(Gap(Segment(first.timeline, open_), Segment(first.timeline, number - 1)))
            open_ = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a backup needs of the log to be consistent."""

    label: str
    start: Segment
    stop: Segment


def continuity(archive: Archive, promised: Stretch | None, others: Iterable[Stretch]) -> tuple[Gap, ...]:
    """What is missing: all from the start of ``promised`` to the newest segment, along each timeline that comes
    after it, and of each other backup what lies between its start and stop.

    A timeline's first segment is the one in which its parent was left; the parent may lack it, since it was left
    in the middle. What a timeline has beyond where it was left is looked at too: there are moments in it.
    """
    found = {gap for s in others for gap in gaps(archive.segments, s.start, s.stop)}
    if promised is not None:
        found.update(gaps(archive.segments, promised.start, promised.stop))
        found.update(_along(archive, promised.start))
    return tuple(sorted(largest(found)))


def largest(found: set[Gap]) -> set[Gap]:
    """Without those that are part of another."""
    return {
        g
        for g in found
        if not any(
            o != g
            and o.first.timeline == g.first.timeline
            and o.first.number <= g.first.number
            and g.last.number <= o.last.number
            for o in found
        )
    }


def _along(archive: Archive, start: Segment) -> tuple[Gap, ...]:
    timelines = sorted({s.timeline for s in archive.segments if s.timeline >= start.timeline})
    begin = {start.timeline: start.number}
    children: dict[int, list[int]] = {}
    for before, timeline in pairwise(timelines):
        first = min(s.number for s in archive.segments if s.timeline == timeline)
        begin[timeline] = archive.forks.get(timeline, first)
        children.setdefault(archive.parents.get(timeline, before), []).append(timeline)
    found: list[Gap] = []
    for timeline in timelines:
        numbers = [
            s.number for s in archive.segments if s.timeline == timeline and s.number >= begin[timeline]
        ]
        left = [begin[child] - 1 for child in children.get(timeline, ())]
        end = max((*numbers, *left), default=begin[timeline] - 1)
        found += gaps(archive.segments, Segment(timeline, begin[timeline]), Segment(timeline, end))
    return tuple(found)


def way(
    archive: Archive, start: Segment, to: int, until: int | None = None
) -> tuple[tuple[Segment, Segment], ...]:
    """What is replayed from ``start`` to segment ``until`` of the timeline ``to``, its newest for None: first and
    last segment, both included, of each timeline on the way."""
    there = sorted({s.timeline for s in archive.segments} | {start.timeline})
    chain = [to]
    while chain[0] > start.timeline:
        below = max((t for t in there if t < chain[0]), default=start.timeline)
        chain.insert(0, archive.parents.get(chain[0], below))
    found = []
    begin = start.number
    for timeline, child in zip(chain, [*chain[1:], None], strict=True):
        numbers = [s.number for s in archive.segments if s.timeline == timeline and s.number >= begin]
        end = max(numbers, default=begin - 1)
        if child is not None:
            first = min((s.number for s in archive.segments if s.timeline == child), default=end + 1)
            end = archive.forks.get(child, first) - 1
        if until is not None:
            end = until if child is None else min(end, until)
        if end >= begin:
            found.append((Segment(timeline, begin), Segment(timeline, end)))
        begin = max(begin, end + 1)
    return tuple(found)


def received(names: Iterable[str]) -> dict[Segment, str]:
    """Names of files that pg_receivewal wrote, by segment; a whole one before one that is being written."""
    found: dict[Segment, str] = {}
    for name in sorted(names, key=len, reverse=True):
        if (match := _RECEIVED.fullmatch(name)) is not None:
            found[segment(match[1])] = name
    return found


def tail(names: Iterable[str], archived: Archive) -> dict[Segment, str]:
    """What was received and is not archived."""
    return {s: name for s, name in received(names).items() if s not in archived.segments}


def removable(names: Iterable[str], archived: Sequence[Archive], *, keep: int = 2) -> tuple[str, ...]:
    """Received files that every repository has; never the newest ``keep``, from which receiving goes on."""
    by_segment = received(names)
    old = sorted(by_segment)[:-keep] if keep else sorted(by_segment)
    return tuple(by_segment[s] for s in old if archived and all(s in a.segments for a in archived))
