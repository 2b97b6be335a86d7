"""A cluster as it was at a moment, and back in its place."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physical_home import PhysicalHome, until

from homeport.backup.physical.copy import Copy
from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup, Restored
from homeport.backup.physical.receiver import Receiver
from homeport.kernel.errors import HomeportError


class Past:
    """A table with a row for each thing that happened, and the moments between."""

    def __init__(self) -> None:
        self.home = PhysicalHome()
        home = self.home
        home.sql("CREATE TABLE log (what text, filler text)")
        self.beginning = home.sql("SELECT clock_timestamp()")[0][0]
        home.sql("INSERT INTO log SELECT 'first', repeat('x', 900) FROM generate_series(1, 500)")
        self.full = home.backups.backup()[0].backup
        home.sql("INSERT INTO log VALUES ('second')")
        home.backups.flush()
        self.moment = home.sql("SELECT clock_timestamp()")[0][0]
        home.sql("INSERT INTO log VALUES ('third')")
        self.lsn, self.at = home.sql("SELECT pg_create_restore_point('before_r42')::text, clock_timestamp()")[
            0
        ]
        home.sql("DROP TABLE IF EXISTS nothing; INSERT INTO log VALUES ('fourth')")
        home.backups.flush()
        home.sql("INSERT INTO log VALUES ('fifth')")


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    it = Past()
    try:
        yield it
    finally:
        it.home.end()


def rows(home: PhysicalHome, restored: Restored) -> list[Any]:
    """What is in restored files, by a server on them; and what they have in the way of settings left."""
    copy = Copy(home.backups._program, restored.files.parent, 15, home.clock, throwaway=True)
    copy.start()
    try:
        with copy.connect("postgres") as connection:
            found = connection.execute("SELECT what FROM log WHERE what <> 'first' ORDER BY what").fetchall()
            left = connection.execute(
                "SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'"
            ).fetchall()
            firsts = connection.execute("SELECT count(*) FROM log WHERE what = 'first'").fetchone()
    finally:
        copy.stop()
    assert left == [] and firsts == (500,)
    return [what for (what,) in found]


def restore(past: Past, target: Any, name: str) -> list[Any]:
    restored = past.home.backups.restore(target, name)
    try:
        assert restored.files == past.home.clusters.layout("main").directory / f"restored-{name}" / "data"
        return rows(past.home, restored)
    finally:
        past.home.backups.drop_restored(name)


def test_the_moment_of_a_backup(past: Past) -> None:
    assert restore(past, OfBackup(past.full.label), "backup") == []


def test_a_moment_of_the_clock(past: Past) -> None:
    assert restore(past, AtTime(past.moment), "time") == ["second"]


def test_a_named_restore_point(past: Past) -> None:
    assert restore(past, AtPoint("before_r42", past.lsn, past.at), "point") == ["second", "third"]


def test_just_now(past: Past) -> None:
    # Its commit is archived with a heartbeat after it, so that the moment can be reached.
    now = past.home.sql("SELECT clock_timestamp()")[0][0]
    assert restore(past, AtTime(now), "now") == ["fifth", "fourth", "second", "third"]


def test_moments_that_cannot_be_returned_to(past: Past) -> None:
    future = past.home.clock.now() + timedelta(hours=1)
    wrong = (
        (AtTime(future), "backup.in_future"),
        (AtTime(past.beginning), "backup.nothing_before"),
        (OfBackup("20200101-000000F"), "backup.unknown_backup"),
    )
    for target, code in wrong:
        with pytest.raises(HomeportError) as e:
            past.home.backups.restore(target, "wrong")
        assert e.value.code == code
    assert past.home.left() == []
    assert [p.name for p in past.home.clusters.layout("main").directory.glob("restored-*")] == []


def test_a_hole_in_the_log_is_refused_and_what_lies_before_it_is_not(past: Past) -> None:
    home = past.home
    hole = next(p for p in reversed(home.segments()) if p.name[:24] > str(past.full.stop))
    # The receiver would close it.
    for path in home.backups.layout.received.glob(f"{hole.name[:24]}*"):
        path.unlink()
    home.backups.flush()
    hidden = home.data / hole.name
    hole.rename(hidden)
    try:
        with pytest.raises(HomeportError) as e:
            home.backups.restore(Newest(), "newest")
        assert e.value.code == "backup.wal_gap" and hole.name[:24] in e.value.sentence
        assert restore(past, AtTime(past.moment), "earlier") == ["second"]
    finally:
        hidden.rename(hole)


def test_a_cluster_that_is_killed_and_lost_comes_back_with_its_last_rows(past: Past) -> None:
    home = past.home
    home.sql("INSERT INTO log VALUES ('last')")
    lsn = home.sql("SELECT pg_current_wal_flush_lsn()::text")[0][0]
    until(lambda: home.sql(f"SELECT 1 FROM pg_stat_replication WHERE write_lsn >= '{lsn}'"))
    home.services.kill("postgresql.main")
    layout = home.clusters.layout("main")
    layout.files.rename(layout.directory / "lost")
    restored = home.backups.restore(Newest(), "lost")
    assert restored.from_receiver >= 1
    before = home.backups.take_place("lost")
    assert not before.exists()
    found = [w for (w,) in home.sql("SELECT what FROM log WHERE what <> 'first' ORDER BY what")]
    assert found == ["fifth", "fourth", "last", "second", "third"]
    # The new timeline is archived from its beginning: backups before it lead to moments on it.
    assert home.backups.findings() == ()
    home.sql("INSERT INTO log VALUES ('after')")
    home.backups.flush()
    again = home.backups.restore(Newest(), "again")
    assert again.label == past.full.label and again.timeline == 3
    assert "after" in rows(home, again) and "last" in rows(home, again)
    home.backups.drop_restored("again")
    assert home.left() == []


def test_back_to_a_point_while_it_serves(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    home = past.home
    before_it = home.backups.backup()[0].backup
    home.sql("INSERT INTO log VALUES ('wanted')")
    lsn, at = home.sql("SELECT pg_create_restore_point('before_r43')::text, clock_timestamp()")[0]
    home.sql("INSERT INTO log VALUES ('left')")
    after_it = home.backups.backup()[0].backup
    moment = home.sql("SELECT clock_timestamp()")[0][0]
    home.sql("DROP TABLE log")
    home.backups.restore(AtPoint("before_r43", lsn, at), "table")
    home.backups.restore(AtTime(moment), "other")
    # Cut off while the server is on the new files and the receiver is not.
    monkeypatch.setattr(Receiver, "begin_anew", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        home.backups.take_place("table")
    monkeypatch.undo()
    before = home.backups.take_place("table")
    assert (before / "PG_VERSION").is_file()
    assert ("wanted",) in home.sql("SELECT what FROM log") and ("left",) not in home.sql(
        "SELECT what FROM log"
    )
    assert home.backups.take_place("table") == before
    # Two that were restored from one moment on would both write the same timeline.
    with pytest.raises(HomeportError) as e:
        home.backups.take_place("other")
    assert e.value.code == "backup.other_timeline" and home.sql("SELECT 1") == [(1,)]
    home.backups.drop_restored("other")
    with pytest.raises(HomeportError) as e:
        home.backups.restore(Newest(), "table")
    assert e.value.code == "backup.in_the_way"
    # A moment that the return left is still there, and what was backed up then is still good.
    assert "left" in restore(past, AtTime(moment), "left")
    assert home.backups.prove("r1", after_it.label).passed
    newest = home.backups.restore(Newest(), "newest")
    assert newest.label == before_it.label and "returned to a moment before it" in newest.passed_over[0]
    home.backups.drop_restored("newest")
    home.backups.drop_before("table")
    assert home.backups.findings() == ()
    home.backups.backup()
    assert home.backups.prove("r1").passed and home.left() == []


def test_a_return_that_is_cut_off_and_given_up_leaves_what_served(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = past.home
    home.backups.restore(Newest(), "half")
    home.sql("INSERT INTO log VALUES ('since')")
    monkeypatch.setattr(Receiver, "begin_anew", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        home.backups.take_place("half")
    monkeypatch.undo()
    assert ("since",) not in home.sql("SELECT what FROM log")
    home.backups.give_back("half")
    assert ("since",) in home.sql("SELECT what FROM log")
    home.backups.drop_restored("half")
    home.backups.give_back("half")
    assert [p.name for p in home.clusters.layout("main").directory.glob("*-half")] == []
    assert "since" in restore(past, Newest(), "newest")


def test_a_commit_waits_for_the_receiver_where_that_is_asked_for(past: Past) -> None:
    home = past.home
    both = home.with_passphrase("correct horse battery staple", synchronous=True)
    both.ensure()
    state = home.sql("SELECT application_name, sync_state FROM pg_stat_replication")
    assert state == [("homeport_receiver", "sync")]
    with home.clusters.superuser(home.cluster) as connection:
        (before,) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
        connection.execute("INSERT INTO log VALUES ('synchronous')")
        held = connection.execute(
            "SELECT flush_lsn > %s::pg_lsn FROM pg_stat_replication", (before,)
        ).fetchall()
    assert held == [(True,)]
    home.backups.ensure()
    until(lambda: home.sql("SHOW synchronous_standby_names") == [("",)])
