"""Disks that are full, or fill up meanwhile: named as that, nothing left lying, nothing held against a backup."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import physical_home
from physical_home import PhysicalHome

from homeport.backup.physical import service
from homeport.backup.physical.model import AtTime, OfBackup
from homeport.backup.physical.pgbackrest import hand_over
from homeport.database import machine
from homeport.kernel.errors import HomeportError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
MB = 1_000_000


def mount(path: Path, size: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)], check=True)
    path.chmod(0o755)


@contextmanager
def full(disk: Path, *, leaving: int = 0) -> Iterator[None]:
    """A file takes all of it but ``leaving`` bytes."""
    try:
        _fill(disk, leaving)
        yield
    finally:
        (disk / "filler").unlink()


def _fill(disk: Path, leaving: int = 0) -> None:
    with open(disk / "filler", "ab", buffering=0) as f, suppress(OSError):
        while (left := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leaving) > 0:
            f.write(bytes(min(32 * MB, left)))


@contextmanager
def filling_up(disk: Path, when: Path) -> Iterator[None]:
    """Somebody else takes all of the disk as soon as ``when`` is there."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set() and not when.exists():
            time.sleep(0.002)
        while not ended.is_set():
            _fill(disk)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        (disk / "filler").unlink(missing_ok=True)


class Disks:
    def __init__(self, home: PhysicalHome, near: Path) -> None:
        self.home = home
        self.near = near
        self.label = ""


@pytest.fixture(scope="module")
def disks() -> Iterator[Disks]:
    """The first repository is on a small disk, the data directory with all else on another one."""
    top = physical_home.directory()
    near = top / "repository1"
    patch = pytest.MonkeyPatch()
    mount(top, 1300)
    near.mkdir()
    mount(near, 150)
    hand_over(near, machine.user())
    patch.setattr(physical_home, "directory", lambda: top)
    home = None
    try:
        home = PhysicalHome(repositories=2)
        found = Disks(home, near)
        home.sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g")
        found.label = home.backups.backup()[0].backup.label
        assert home.backups.prove("r1", found.label).passed
        yield found
    finally:
        patch.undo()
        if home is not None:
            home.services.close()
        for path in (near, top):
            subprocess.run(["umount", "-l", str(path)], check=False)
        if home is not None:
            home.end()
        top.rmdir() if top.exists() else None


def test_a_full_repository_is_named_at_once_and_the_other_one_goes_on(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FLUSHING", 3.0)
    backups = disks.home.backups
    with full(disks.near):
        with pytest.raises(HomeportError) as e:
            backups.backup()
        findings = {f.code: f.sentence for f in backups.findings()}
    assert e.value.code == "backup.no_space"
    assert "into repository r1: its disk is full, 0 B are free" in e.value.sentence
    newest = backups.get("r2").label
    assert f"repository r2 has {newest}" in e.value.details and backups.get("r1").label == disks.label
    assert backups.records.manifest("r2", newest) is not None, "though the first one lacks the log"
    assert "the disk of repository r1 is full" in findings["repository_full"]
    assert [m.backup.repository for m in backups.backup()] == ["r1", "r2"], "once there is room"
    assert backups.prove("r1", disks.label).passed and backups.prove("r2", newest).passed


def test_a_proof_needs_room_and_a_disk_that_fills_up_speaks_against_no_backup(disks: Disks) -> None:
    home, label = disks.home, disks.label
    known = home.backups.records.proof("r1", label)
    with full(home.data, leaving=60 * MB), pytest.raises(HomeportError) as e:
        home.backups.prove("r1", label)
    assert e.value.code == "backup.no_space" and "are free" in e.value.sentence
    copy = home.data / "scratch" / "main" / "proof" / "data"
    with filling_up(home.data, copy), pytest.raises(HomeportError) as e:
        home.backups.prove("r1", label)
    assert e.value.code == "backup.no_space", e.value.sentence
    assert home.left() == []
    assert home.backups.records.proof("r1", label) == known, "it was proven, and nothing else is known of it"
    assert home.backups.prove("r1", label).passed


def test_a_restore_that_runs_out_of_room_leaves_nothing(disks: Disks) -> None:
    home = disks.home
    place = home.clusters.layout("main").directory / "restored-back"
    with full(home.data, leaving=60 * MB), pytest.raises(HomeportError) as e:
        home.backups.restore(OfBackup(disks.label), "back")
    assert e.value.code == "backup.no_space"
    for _ in range(5):  # a restore may be done before the disk is full
        try:
            with filling_up(home.data, place / "data"):
                home.backups.restore(AtTime(home.clock.now()), "back")
        except HomeportError as e:
            assert e.code == "backup.no_space", (e.sentence, e.details)
            break
        home.backups.drop_restored("back")
    else:
        raise AssertionError("it was never full in the middle")
    assert not place.exists()
    assert home.backups.restore(OfBackup(disks.label), "back").label == disks.label
    home.backups.drop_restored("back")


def test_a_manifest_that_was_cut_short_is_named(disks: Disks) -> None:
    records = disks.home.backups.layout.records
    path = records / f"r1.{disks.label}.manifest.json"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    try:
        found = disks.home.backups.prove("r1", disks.label)
    finally:
        path.write_bytes(before)
    assert not found.passed and not found.failures
    assert path.name in found.undecided[0] and "is damaged" in found.undecided[0]
