"""Files of a whole Homeport from the repository and the passphrase alone."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from files_home import LIMITS, OWN, PASSPHRASE, FilesHome, orders

from homeport.backup.files import carried, commands
from homeport.backup.files.model import LocalPlace, Repository
from homeport.backup.files.recovery import recover
from homeport.backup.files.service import FileBackups
from homeport.journal.store import Store, open_engine
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

RECORDS = (
    "backups/files/proofs/r1.0123.json",
    "backups/main/records/r1.20261121-030000F.manifest.json",
    "backups/main/records/served",
)


@pytest.fixture(scope="module")
def lost() -> Iterator[FilesHome]:
    """Two backups of storage, the newer one damaged, and one of Homeport's own."""
    it = FilesHome()
    try:
        it.backups.prepare()
        it.backups.set_passphrase(PASSPHRASE)
        it.backups.backup(it.own)
        it.backups.backup(it.storage)
        for path in RECORDS:
            (it.data / path).parent.mkdir(parents=True, exist_ok=True)
            (it.data / path).write_text(f"of {path}")
        assert carried.keep(it.backups, ["r1"]) == len(RECORDS)
        it.backups.restic("r1").put(commands.keep_records(), "cut off", "keep records in repository")
        data = it.top / "r1" / "data"
        before = {p for p in data.rglob("*") if p.is_file()}
        (it.uploads / "new.bin").write_bytes(os.urandom(200_000))
        it.backups.backup(it.storage)
        max({p for p in data.rglob("*") if p.is_file()} - before, key=lambda p: p.stat().st_size).unlink()
        yield it
    finally:
        it.end()


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def test_all_is_back_and_serves_as_the_base_of_the_next_backup(lost: FilesHome, tmp_path: Path) -> None:
    data = tmp_path / "new"
    steps: list[str] = []
    found = recover(data, lost.by_passphrase(), lost.clock, limits=LIMITS, on_step=steps.append)

    assert [r.series for r in found.series] == ["homeport", "shop.production"]
    assert (found.former, found.lost, found.dumps) == (str(lost.data), (), ())
    damaged, unread = found.passed_over
    assert damaged.startswith("shop.production of ") and unread.startswith("records of backups: ")
    assert steps == [
        "bring back homeport",
        "bring back shop.production",
        "bring back what is known of backups",
        "put everything into place",
    ]
    assert [(data / path).read_text() for path in RECORDS] == [f"of {path}" for path in RECORDS]
    assert sorted(os.listdir(data)) == sorted(
        ["backups", "homeport.json", "releases", "secrets.key", "state.db", "storage"]
    )
    assert (data / "secrets.key").read_text() == "the-key-of-all-secrets"
    assert (data / "secrets.key").stat().st_mode & 0o777 == 0o600
    assert (data / "releases" / "shop" / "r1" / "latest").read_text() == "print('shop')\n"
    uploads = data / "storage" / "shop" / "production" / "uploads"
    assert orders(uploads / "orders.db") == 50 and (uploads / "orders.db").stat().st_mode & 0o777 == 0o640
    engine = open_engine(data / "state.db")
    try:
        assert (len(Store(engine, lost.clock).records()), Store(engine, lost.clock).first_broken()) == (
            3,
            None,
        )
    finally:
        engine.dispose()
    with refused("backup.directory_not_empty"):
        recover(data, lost.by_passphrase(), lost.clock)
    with_recipient = type(lost.backups)(data, lost.repositories, lost.clock, LIMITS)
    assert with_recipient.backup(lost.own), "the key is sealed for the same passphrase again"


def test_cut_off_anywhere_it_is_begun_again_or_goes_on(lost: FilesHome, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def at(step: str) -> Any:
        def on_step(name: str) -> None:
            if name == step:
                raise Cut

        return on_step

    for step in ("bring back shop.production", "put everything into place"):
        with pytest.raises(Cut):
            recover(tmp_path, lost.by_passphrase(), lost.clock, limits=LIMITS, on_step=at(step))
        assert os.listdir(tmp_path) == [".recovering"]
    os.rename(tmp_path / ".recovering" / "tree" / "releases", tmp_path / "releases")
    recover(tmp_path, lost.by_passphrase(), lost.clock, limits=LIMITS, on_step=at("bring back homeport"))
    assert (tmp_path / "homeport.json").exists() and not (tmp_path / ".recovering").exists()


def test_a_lock_of_a_recovery_that_was_killed_is_taken_away_by_the_next(
    lost: FilesHome, tmp_path: Path
) -> None:
    work = tmp_path / ".recovering" / "work"
    work.mkdir(parents=True)
    killed = FileBackups(work, lost.repositories, lost.clock, LIMITS)
    killed.records.prepare()

    class Cut(Exception):
        pass

    def cut(_: object) -> None:
        raise Cut

    (lost.uploads / "large.bin").write_bytes(os.urandom(60_000_000))
    with pytest.raises(Cut):
        killed.restic("r1").backup(
            "shop.production", ("storage",), root=lost.data, exclude=None, on_progress=cut, is_gone=lambda _: False
        )  # fmt: skip
    (lost.uploads / "large.bin").unlink()
    restic = lost.backups.restic("r1")
    assert len(restic.locks()) == 1
    recover(tmp_path, lost.by_passphrase(), lost.clock, limits=LIMITS)
    assert restic.locks() == ()
    known = {run.pid for run in FileBackups(tmp_path, lost.repositories, lost.clock, LIMITS).records.runs()}
    assert known, "the next backup knows locks of the recovery"


def test_what_cannot_be_recovered_is_refused(lost: FilesHome, tmp_path: Path) -> None:
    place = LocalPlace(lost.top / "r1")
    with refused("backup.repository_not_opened"):
        recover(tmp_path / "a", Repository("given", place, Secret("wrong")), lost.clock, limits=LIMITS)
    with refused("backup.no_repository"):
        recover(tmp_path / "a", Repository("given", LocalPlace(tmp_path / "b"), PASSPHRASE), lost.clock)
    with refused("backup.not_unsealed"):
        recover(tmp_path / "a", Repository("given", place, OWN), lost.clock, limits=LIMITS)
    assert os.listdir(tmp_path / "a") == [".recovering"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "homeport.json").write_text("{}")
    with refused("backup.directory_not_empty"):
        recover(tmp_path / "full", lost.by_passphrase(), lost.clock)
    assert os.listdir(tmp_path / "full") == ["homeport.json"]
    with refused("backup.no_snapshot") as caught:
        early = datetime(2001, 1, 1, tzinfo=UTC)
        recover(tmp_path / "c", lost.by_passphrase(), lost.clock, limits=LIMITS, before=early)
    assert "its oldest backup of a Homeport is of 20" in caught.value.sentence
