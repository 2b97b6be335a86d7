"""Segments of the log, and holes in it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backup.physical.wal import (
    PER_LOG,
    Archive,
    Gap,
    Segment,
    Stretch,
    archived_until,
    archives,
    continuity,
    fork,
    gaps,
    removable,
    segment,
    segment_at,
    tail,
)

HASH = "a" * 40


def one(timeline: int, *numbers: int) -> list[Segment]:
    return [Segment(timeline, n) for n in numbers]


def archive(*segments: Segment, forks: dict[int, int] | None = None) -> Archive:
    return Archive("15-1", frozenset(segments), frozenset(forks or {}), forks or {})


@given(st.integers(1, 0xFFFF), st.integers(0, PER_LOG * 0xFFFF))
def test_names_are_read_as_they_are_written(timeline: int, number: int) -> None:
    name = str(Segment(timeline, number))
    assert len(name) == 24 and segment(name) == Segment(timeline, number)
    assert str(Segment(timeline, number + 1)) > name


def test_names_as_postgresql_gives_them() -> None:
    assert str(segment_at(1, "0/A000028")) == "00000001000000000000000A"
    assert str(segment_at(1, "0/A000000")) == "000000010000000000000009"
    assert str(segment_at(2, "1/0")) == "0000000200000000000000FF"
    for wrong in ("", "000000010000000000000G09", "00000002.history", "0000000100000000000000A0.partial"):
        with pytest.raises(ValueError):
            segment(wrong)
    assert archived_until("000000010000000000000003.00000028.backup") == Segment(1, 3)
    assert archived_until("00000002.history") is None and archived_until("") is None


def test_a_listing() -> None:
    found = archives(
        [
            f"15-1/0000000100000000/000000010000000000000003-{HASH}.zst",
            "15-1/0000000100000000/000000010000000000000003.00000028.backup",
            "15-1/00000002.history",
            f"16-2/0000000100000000/000000010000000000000001-{HASH}",
            f"15-1/0000000100000000/000000010000000000000004.partial-{HASH}.zst",
            "archive.info",
            "archive.info.copy",
        ]
    )
    assert found == {
        "15-1": Archive("15-1", frozenset(one(1, 3)), frozenset({2})),
        "16-2": Archive("16-2", frozenset(one(1, 1))),
    }
    assert fork("1\t0/5000100\tno recovery target specified\n", 2) == (1, 5)
    assert fork("1\t0/5000100\tx\n2\t0/7000000\ty\n", 3) == (2, 7)
    assert fork("", 2) is None


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.integers(0, 60))
def test_gaps_are_just_what_is_missing(numbers: set[int], first: int, length: int) -> None:
    last = first + length
    found = gaps(set(one(1, *numbers)), Segment(1, first), Segment(1, last))
    missing = [n for g in found for n in range(g.first.number, g.last.number + 1)]
    assert missing == [n for n in range(first, last + 1) if n not in numbers]
    assert all(a.last.number + 1 < b.first.number for a, b in pairwise(found))


def test_a_gap_says_which_and_how_many() -> None:
    assert str(Gap(Segment(1, 4), Segment(1, 4))) == "000000010000000000000004"
    assert str(Gap(Segment(1, 4), Segment(1, 6))).endswith("000000010000000000000006 (3 segments)")


def test_all_from_the_promised_backup_on_and_of_older_ones_what_they_need() -> None:
    older, promised = Stretch("a", Segment(1, 2), Segment(1, 3)), Stretch("b", Segment(1, 10), Segment(1, 11))
    whole = archive(*one(1, 2, 3, 10, 11, 12, 13))
    assert continuity(whole, promised, [older]) == ()
    assert continuity(archive(*one(1, 2, 10, 11, 13)), promised, [older]) == (
        Gap(Segment(1, 3), Segment(1, 3)),
        Gap(Segment(1, 12), Segment(1, 12)),
    )
    # Its own segments are needed though none came after them.
    assert continuity(archive(*one(1, 10)), promised, []) == (Gap(Segment(1, 11), Segment(1, 11)),)


def test_along_a_timeline_and_the_one_after_it() -> None:
    promised = Stretch("b", Segment(1, 10), Segment(1, 11))
    # Left within segment 13, which is on the new timeline whole and on the old one not.
    there = [*one(1, 10, 11, 12), *one(2, 13, 14)]
    assert continuity(archive(*there, forks={2: 13}), promised, []) == ()
    assert continuity(archive(*there), promised, []) == ()
    # What came on the old one after it was left is of no use and does no harm.
    assert continuity(archive(*there, *one(1, 13, 14), forks={2: 13}), promised, []) == ()
    lost = [*one(1, 10, 11), *one(2, 13, 15)]
    assert continuity(archive(*lost, forks={2: 13}), promised, []) == (
        Gap(Segment(1, 12), Segment(1, 12)),
        Gap(Segment(2, 14), Segment(2, 14)),
    )
    # Only the history tells that the new one's first segment is missing.
    assert continuity(archive(*one(1, 10, 11, 12), *one(2, 14), forks={2: 13}), promised, []) == (
        Gap(Segment(2, 13), Segment(2, 13)),
    )


def test_what_only_the_receiver_has() -> None:
    names = ["000000010000000000000004.partial", "000000010000000000000003", "000000010000000000000002", "x"]
    assert tail(names, archive(*one(1, 2))) == {
        Segment(1, 3): "000000010000000000000003",
        Segment(1, 4): "000000010000000000000004.partial",
    }


def test_what_every_repository_has_goes_but_for_the_newest_two() -> None:
    names = [str(Segment(1, n)) for n in range(1, 6)] + [f"{Segment(1, 6)}.partial"]
    everything, half = archive(*one(1, 1, 2, 3, 4, 5, 6)), archive(*one(1, 1, 3))
    assert removable(names, [everything]) == tuple(names[:4])
    assert removable(names, [everything, half]) == (names[0], names[2])
    assert removable(names, []) == ()
