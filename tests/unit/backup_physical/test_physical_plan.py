"""Which backup leads to a moment; what is wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeport.backup.physical.manifest import Manifest, Snapshot, Table, share, uncertain
from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup, PhysicalBackup
from homeport.backup.physical.plan import (
    Served,
    ServerLook,
    candidates,
    findings,
    holes,
    promised,
    recovery,
    since,
    timeline,
)
from homeport.backup.physical.wal import Archive, Gap, Segment

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COMMAND = "pgbackrest archive-push"


def backup(label: str, hour: int, repository: str = "local", second: int = 0) -> PhysicalBackup:
    at = NOW.replace(hour=hour, second=second)
    segment = Segment(1, hour * 10)
    lsn = f"0/{hour * 10:X}000028"
    return PhysicalBackup(
        repository, label, "full", at, at, lsn, lsn, segment, segment, 10**9, 10**8, "15-1"
    )  # fmt: skip


ONE, TWO = backup("one", 1), backup("two", 2)
FAR = backup("far-two", 2, "far", 30)
ORDER = ("local", "far")


def labels(target: object) -> list[str]:
    return [b.label for b in candidates((ONE, TWO, FAR), target, ORDER)]


def test_the_newest_before_the_moment_comes_first() -> None:
    assert labels(Newest()) == ["two", "far-two", "one"]
    assert labels(OfBackup("one")) == ["one"]
    assert labels(AtTime(NOW.replace(hour=1, minute=30))) == ["one"]
    assert labels(AtTime(NOW.replace(hour=2, second=10))) == ["two", "one"]
    assert labels(AtTime(NOW.replace(hour=0))) == []
    assert labels(AtPoint("p", "0/B000000", NOW)) == ["one"]
    assert labels(AtPoint("p", "0/14000028", NOW)) == ["two", "far-two", "one"]


def test_moments_as_postgresql_reads_them() -> None:
    at = NOW.replace(microsecond=5)
    assert recovery(AtTime(at)) == ("time", "2026-11-21 12:00:00.000005+0000")
    assert recovery(AtPoint("p", "0/1", NOW)) == ("name", "p")
    assert recovery(Newest()) == ("default", "") and recovery(OfBackup("x")) == ("immediate", "")


def archive(*numbers: int) -> Archive:
    return Archive("15-1", frozenset(Segment(1, n) for n in numbers))


def test_holes_before_the_moment() -> None:
    there = archive(10, 11, 13)
    gap = (Gap(Segment(1, 12), Segment(1, 12)),)
    assert holes(ONE, Newest(), there, (), 1) == gap
    assert holes(ONE, Newest(), there, [Segment(1, 12)], 1) == ()
    assert holes(ONE, AtPoint("p", "0/C000100", NOW), there, (), 1) == gap
    assert holes(ONE, AtPoint("p", "0/B000100", NOW), there, (), 1) == ()
    # The segment of the point itself.
    assert holes(ONE, AtPoint("p", "0/E000100", NOW), there, [Segment(1, 12)], 1) == (
        Gap(Segment(1, 14), Segment(1, 14)),
    )
    assert holes(ONE, OfBackup("one"), there, (), 1) == ()
    assert holes(ONE, OfBackup("one"), archive(11), (), 1) == (Gap(Segment(1, 10), Segment(1, 10)),)


BRANCHES = Archive(
    "15-1",
    frozenset(
        [*(Segment(1, n) for n in range(10, 21)), *(Segment(2, n) for n in (13, 14, 16)), Segment(3, 18)]
    ),
    frozenset({2, 3}),
    {2: 13, 3: 18},
    {2: 1, 3: 1},
)
"""Timeline 1 was left in 13 for 2, and then in 18 for 3: somebody thought better of it. 2 lacks a segment."""


def test_holes_of_what_was_left_are_none_of_the_way() -> None:
    assert holes(ONE, Newest(), BRANCHES, (), 3) == ()
    assert holes(ONE, Newest(), BRANCHES, (), 2) == (Gap(Segment(2, 15), Segment(2, 15)),)
    assert holes(ONE, AtPoint("p", "0/E000100", NOW), BRANCHES, (), 2) == ()
    assert holes(ONE, AtPoint("p", "0/B000100", NOW), BRANCHES, (), 2) == ()
    # But it is told that there are moments which nothing leads to.
    assert promised((ONE,), BRANCHES, None) == (Gap(Segment(2, 15), Segment(2, 15)),)


def test_a_backup_of_what_was_left_leads_nowhere_else() -> None:
    assert BRANCHES.timeline() == 3
    assert BRANCHES.leads(1, 12, 2) and BRANCHES.leads(1, 17, 3) and BRANCHES.leads(2, 14, 2)
    assert not BRANCHES.leads(1, 15, 2) and not BRANCHES.leads(2, 13, 3) and not BRANCHES.leads(3, 18, 1)
    # Where histories are gone nothing is known, and it is tried.
    assert archive(10).leads(1, 15, 4)


def test_a_moment_is_on_the_timeline_that_served_then() -> None:
    served = (Served(2, NOW.replace(hour=5), 1), Served(3, NOW.replace(hour=8), 2))
    for hour, expected in ((4, 1), (5, 2), (7, 2), (8, 3), (11, 3)):
        at = NOW.replace(hour=hour)
        assert timeline(AtTime(at), ONE, BRANCHES, served) == expected
        assert timeline(AtPoint("p", "0/1", at), ONE, BRANCHES, served) == expected
    assert timeline(Newest(), ONE, BRANCHES, served) == 3
    assert timeline(OfBackup("one"), ONE, BRANCHES, served) == 1
    assert timeline(AtTime(NOW), ONE, archive(10), ()) == 1


def test_what_was_promised() -> None:
    there = archive(10, 20, 21, 23)
    gap = Gap(Segment(1, 22), Segment(1, 22))
    assert promised((ONE, TWO), there, "two") == (gap,)
    assert promised((ONE, TWO), there, None) == (Gap(Segment(1, 11), Segment(1, 19)), gap)
    # After a base that is gone: from the oldest there is.
    assert promised((TWO,), there, "one") == (gap,)
    assert promised((), there, None) == () and promised((replace(ONE, archive="14-1"),), there, None) == ()
    assert since((ONE, TWO), "two") == 1 and since((ONE, TWO), "one") == 2 and since((ONE, TWO), "x") == 2


LOOK = ServerLook(
    now=NOW,
    archive_command=COMMAND,
    last_archived=str(Segment(1, 9)),
    last_archived_at=NOW,
    last_failed="",
    last_failed_at=None,
    current=Segment(1, 10),
    ready=0,
    oldest_ready_at=None,
    slot=True,
    slot_active=True,
    slot_status="reserved",
    slot_behind=0,
    log_bytes=10**8,
    free_bytes=10**10,
    heartbeat_at=NOW - timedelta(seconds=50),
)


def codes(look: ServerLook = LOOK, numbers: tuple[int, ...] = (8, 9), runs: bool = True) -> list[str]:
    found = findings(look, COMMAND, {"r": archive(*numbers)}, {"r": ()}, {}, receiver_runs=runs)
    assert all(f.sentence and f.hint for f in found)
    return [f.code for f in found]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"archive_command": "/bin/true"}, "archive_command"),
        ({"last_archived": str(Segment(1, 10))}, "archive_lies"),
        ({"ready": 4, "oldest_ready_at": NOW - timedelta(minutes=10)}, "archive_lag"),
        ({"slot": False, "slot_active": False, "slot_status": ""}, "no_slot"),
        ({"slot_active": False}, "receiver_down"),
        ({"slot_status": "lost", "slot_active": False}, "slot_lost"),
        ({"slot_behind": 2 << 30}, "slot_behind"),
        ({"log_bytes": 10**10, "free_bytes": 10**9}, "log_fills_disk"),
        ({"heartbeat_at": None}, "heartbeat"),
        ({"heartbeat_at": NOW - timedelta(minutes=4)}, "heartbeat"),
    ],
)
def test_each_thing_that_endangers_a_recovery(change: dict[str, object], code: str) -> None:
    assert codes() == []
    assert codes(replace(LOOK, **change)) == [code]


def test_what_is_no_danger() -> None:
    waits = replace(LOOK, ready=1, oldest_ready_at=NOW - timedelta(seconds=20))
    assert codes(waits) == []
    assert codes(replace(LOOK, last_archived="00000002.history")) == []
    assert codes(runs=False) == ["receiver_down"]


def test_transactions_that_a_snapshot_may_have_missed() -> None:
    quiet = Snapshot.of("750:750:")
    assert uncertain([quiet, quiet]) == ()
    assert uncertain([quiet, Snapshot.of("750:752:751")]) == (750, 751)
    assert uncertain([Snapshot.of("748:750:748,749"), Snapshot.of("748:750:748")]) == (748, 749)


def test_a_manifest_is_read_as_it_was_kept() -> None:
    kept = Manifest("p", "0/1", 1, NOW, (7,), (Table("shop", "public", "orders", 3, "9", 12.5),), ("x",))
    assert Manifest.of(kept.document()) == kept and kept.rows == 3
    assert share(10, 20) == 100 and share(80, 20) == 25


def test_a_repository_that_is_full_or_was_emptied_is_named() -> None:
    def of(numbers: tuple[int, ...], free: int) -> list[str]:
        there = {"r": archive(*numbers)}
        found = findings(LOOK, COMMAND, there, {"r": ()}, {}, receiver_runs=True, free={"r": free})
        return [f.code for f in found]

    assert of((8, 9), 32 << 20) == []
    assert of((8, 9), (32 << 20) - 1) == ["repository_full"]
    assert of((), 1 << 40) == ["repository_empty"]
