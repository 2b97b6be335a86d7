"""What comes back of a store that keeps versions, what is locked for longer, and what is wrong with a lock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backup.locks.model import COMPLIANCE, GOVERNANCE, Entry, Known, Lock
from homeport.backup.locks.plan import CopyBack, RemoveMarker, problems, to_renew, undelete

SINCE = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
MONTH = Lock(GOVERNANCE, 30)


def history(key, *entries):
    """(minutes from SINCE, content; None: deleted), the oldest first."""
    return [
        Entry(
            key,
            f"{key}.{n}",
            SINCE + timedelta(minutes=minutes),
            is_marker=content is None,
            is_latest=n == len(entries) - 1,
            size=len(content or ""),
            etag=content or "",
        )
        for n, (minutes, content) in enumerate(entries)
    ]


def ids(steps):
    return [
        ("unmark", s.marker.version) if isinstance(s, RemoveMarker) else ("copy", s.version.version)
        for s in steps
    ]


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([(-5, "a")], []),
        ([(-5, "a"), (3, None)], [("unmark", "k.1")]),
        ([(-5, "a"), (3, None), (4, None)], [("unmark", "k.2"), ("unmark", "k.1")]),
        ([(-5, "a"), (0, None)], []),  # at the moment itself it was deleted already
        ([(-5, "a"), (-4, None), (3, None)], []),
        ([(2, "a"), (3, None)], [("unmark", "k.1")]),  # made since, and deleted
        ([(2, "a")], []),
        ([(-5, "a"), (3, "junk")], [("copy", "k.0")]),
        ([(-6, "z"), (-5, "a"), (3, "junk"), (4, None)], [("copy", "k.1")]),
        ([(-5, "a"), (3, "junk"), (4, "a")], []),  # it came back
        ([(-5, "a"), (-4, None), (3, "b"), (4, None)], [("unmark", "k.3")]),
    ],
)
def test_what_was_deleted_or_overwritten_since_then_comes_back(entries, wanted):
    assert ids(undelete(history("k", *entries), SINCE)) == wanted


def test_notes_of_who_works_stay_away():
    gone = [
        *history("one/files/locks/x", (-1, "x"), (2, None)),
        *history("one/files/data/y", (-1, "y"), (2, None)),
    ]
    assert ids(undelete(gone, SINCE, "one/")) == [("unmark", "one/files/data/y.1")]


def visible(entries):
    return {e.key: e.etag for e in entries if e.is_latest and not e.is_marker}


def applied(entries, steps):
    """As a store does it; the newest of a key is the latest."""
    removed = {s.marker for s in steps if isinstance(s, RemoveMarker)}
    left = [e for e in entries if e not in removed]
    for s in steps:
        if isinstance(s, CopyBack):
            v = s.version
            left.append(Entry(v.key, f"{v.version}+", SINCE + timedelta(days=1), size=v.size, etag=v.etag))
    newest = {e.key: e for e in sorted(left, key=lambda e: e.at)}
    return [Entry(e.key, e.version, e.at, e.is_marker, newest[e.key] is e, e.size, e.etag) for e in left]


CONTENTS = st.lists(st.tuples(st.integers(-9, 9), st.sampled_from([None, "a", "b"])), min_size=1, max_size=5)


@given(st.lists(CONTENTS, max_size=3))
def test_all_that_was_there_then_is_there_again_and_a_second_time_does_nothing(made):
    entries = [
        e for n, contents in enumerate(made) for e in history(f"k{n}", *sorted(dict(contents).items()))
    ]
    then: dict[str, str] = {}
    for e in sorted((e for e in entries if e.at <= SINCE), key=lambda e: e.at):
        then.pop(e.key, None)
        if not e.is_marker:
            then[e.key] = e.etag
    after = applied(entries, undelete(entries, SINCE))
    assert then.items() <= visible(after).items()
    assert undelete(after, SINCE) == ()


def test_locks_of_what_is_in_use_are_extended_before_half_of_their_time_is_over():
    now = SINCE
    entries = [
        *history("old", (-60 * 24 * 10, "a")),
        *history("new", (-60 * 24 * 5, "a")),
        *history("gone", (-60 * 24 * 10, "a"), (-60, None)),
        *history("files/locks/x", (-60 * 24 * 10, "a")),
    ]

    def keys(renewed_at):
        return [e.key for e in to_renew(entries, MONTH, renewed_at, now)]

    assert keys(None) == ["old", "new"]  # what was there before it was locked
    assert keys(now - timedelta(days=7)) == []
    assert keys(now - timedelta(days=8)) == ["old"]

    # Hour by hour over a year, of a file that is never written again.
    locked_until, renewed_at = now + timedelta(days=30), now
    for hour in range(0, 24 * 365):
        at = now + timedelta(hours=hour)
        if to_renew(history("k", (0, "a")), MONTH, renewed_at, at):
            locked_until, renewed_at = at + timedelta(days=30), at
        elif at - renewed_at >= timedelta(days=7.5):
            renewed_at = at
        assert locked_until - at >= timedelta(days=15)


def known(seen, asked=MONTH, problem="", renewed_at=SINCE):
    return Known("far", asked, seen, SINCE, problem, renewed_at)


def test_a_lock_that_is_gone_or_weaker_is_told_of():
    assert problems([known(MONTH)], SINCE) == problems([known(Lock(COMPLIANCE, 90))], SINCE) == ()
    [gone] = problems([known(None)], SINCE)
    assert "not locked any more" in gone and "homeport backup repository lock far 30d" in gone
    assert "for 7 d (governance) only" in problems([known(Lock(GOVERNANCE, 7))], SINCE)[0]
    assert problems([known(Lock(GOVERNANCE, 30), Lock(COMPLIANCE, 30))], SINCE)
    assert "not locked yet" in problems([known(MONTH, renewed_at=None)], SINCE)[0]
    assert "does not answer" in problems([known(MONTH, problem="its store does not answer")], SINCE)[0]
    assert "not extended" in problems([known(MONTH)], SINCE + timedelta(days=16))[0]
