"""Backups of files with restic: what is in them, what proofs find, what is kept."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from files_home import LIMITS, OWN, PASSPHRASE, FilesHome, orders

from homeport.backup.files import proving, stage
from homeport.backup.files.manifest import Database, Manifest
from homeport.backup.files.model import Limits, LocalPlace, Made, Progress, Repository
from homeport.backup.files.restic import Restic
from homeport.backup.files.sealing import unseal
from homeport.backup.files.service import FileBackups
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import Keep


@pytest.fixture
def home() -> Iterator[FilesHome]:
    it = FilesHome()
    try:
        yield it
    finally:
        it.end()


@pytest.fixture(scope="module")
def shared() -> Iterator[FilesHome]:
    """With one backup of storage, which is not to be damaged."""
    it = FilesHome()
    try:
        it.backups.prepare()
        it.backups.set_passphrase(PASSPHRASE)
        it.backups.backup(it.storage)
        yield it
    finally:
        it.end()


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def newest(home: FilesHome, series: str = "shop.production", repository: str = "r1") -> str:
    found, _ = home.backups.restic(repository).snapshots()
    return [s.id for s in found if s.series == series][-1]


def packs(home: FilesHome, repository: str = "r1") -> list[Path]:
    return [p for p in (home.top / repository / "data").rglob("*") if p.is_file()]


def test_all_of_homeport_is_in_a_backup_and_is_proven(home: FilesHome) -> None:
    assert home.backups.prepare() == ("r1",)
    assert home.backups.prepare() == ()
    with refused("backup.no_passphrase"):
        home.backups.backup(home.own)
    home.backups.set_passphrase(PASSPHRASE)
    seen: list[Progress] = []
    [own] = home.backups.backup(home.own, on_progress=seen.append)
    assert own.series == "homeport" and own.files >= 4 and own.checksum and not own.moving
    assert seen and seen[-1].bytes == own.bytes

    proof = home.backups.prove("r1", own.snapshot)
    assert proof.failures == () and proof.passed and proof.rows > 3
    assert home.backups.records.proof("r1", own.snapshot) == proof
    assert home.left() == []
    everything = b"".join(
        p.read_bytes() for p in home.data.rglob("*") if p.is_file() and p.name != "secrets.key"
    )
    assert PASSPHRASE.reveal().encode() not in everything and OWN.reveal().encode() not in everything
    # The key is in the repository sealed alone.
    manifest, _ = home.backups.restic("r1").manifest(home.backups.restic("r1").snapshot(own.snapshot))
    assert "secrets.key" not in manifest.files and set(manifest.sealed) == {"secrets.key"}


def test_a_key_that_is_rotated_meanwhile_is_kept_with_what_it_opens(
    home: FilesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.backups.prepare()
    home.backups.set_passphrase(PASSPHRASE)
    copy, copied = stage.sqlite_copy.copy, []

    def rotating(source: Path, target: Path) -> None:
        copy(source, target)
        copied.append(target)
        if len(copied) == 1:
            (home.data / "secrets.key").write_text("another-key")

    monkeypatch.setattr(stage.sqlite_copy, "copy", rotating)
    ready = stage.prepare(home.backups.layout, home.own, home.backups.records, home.clock)
    sealed = (home.data / ready.manifest.sealed["secrets.key"]).read_text()
    assert unseal(sealed, PASSPHRASE) == b"another-key" and len(copied) == 2
    assert [p.name for p in copied[1].parent.iterdir()].count(copied[1].name) == 1
    stage.clear(home.backups.layout)


def test_a_journal_that_was_changed_fails_the_proof(home: FilesHome) -> None:
    with closing(sqlite3.connect(home.data / "state.db")) as db:
        db.execute("UPDATE events SET data = '{\"n\":7}' WHERE seq = 2")
        db.commit()
    databases = {"state.db": Database("state.db", 0o600, 0, 0, {})}
    manifest = Manifest("homeport", home.clock.now(), "", {}, databases=databases)
    [failure] = proving.chain_problems(manifest, home.data, home.clock)
    assert "record 2 of the journal" in failure


def test_a_database_is_copied_while_the_app_writes_to_it(home: FilesHome) -> None:
    home.backups.records.prepare()
    with closing(sqlite3.connect(home.uploads / "orders.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO orders (what) VALUES ('not committed')")
        ready = stage.prepare(home.backups.layout, home.storage, home.backups.records, home.clock)
        db.execute("COMMIT")
    [database] = ready.manifest.databases.values()
    assert database.tables == {"orders": 50} == {"orders": orders(home.data / database.copy)}
    names = {Path(p).name for p in ready.manifest.files}
    assert names == {"a [1] $x*.txt", "b.txt", "0.sqlite"}, "neither the database itself nor its WAL"
    # What moves while it is read is known as such, by its new content or because it is gone.
    (home.uploads / "b.txt").write_text("other")
    (home.uploads / "a [1] $x*.txt").unlink()
    settled = ready.settled(home.data)
    assert {Path(p).name for p, f in settled.files.items() if f.moving} == {"b.txt", "a [1] $x*.txt"}
    stage.clear(home.backups.layout)


def test_restored_beside_and_put_back(shared: FilesHome) -> None:
    id = newest(shared)
    (shared.uploads / "b.txt").write_text("overwritten")
    former_mode = (shared.uploads / "orders.db").stat().st_mode
    try:
        restored = shared.backups.restore("r1", id)
        tree = restored.tree / "storage" / "shop" / "production" / "uploads"
        assert sorted(os.listdir(tree)) == ["a [1] $x*.txt", "b.txt", "orders.db"]
        assert orders(tree / "orders.db") == 50
        assert (tree / "orders.db").stat().st_mode == former_mode
        assert os.listdir(restored.tree) == ["storage"]

        former = shared.backups.put_back(restored, "storage/shop/production")
        assert former is not None and (former / "uploads" / "b.txt").read_text() == "overwritten"
        assert (shared.uploads / "b.txt").read_bytes() == b"second" * 1000
        assert shared.backups.put_back(restored, "storage/shop/production") == former, "done again"
        shared.backups.discard(restored)
        assert not restored.tree.exists()
    finally:
        shared.uploads.mkdir(parents=True, exist_ok=True)
        (shared.uploads / "b.txt").write_bytes(b"second" * 1000)


def test_only_a_part_is_restored(shared: FilesHome) -> None:
    uploads = "storage/shop/production/uploads"
    restored = shared.backups.restore(
        "r1", newest(shared), [f"{uploads}/a [1] $x*.txt", f"{uploads}/orders.db"]
    )
    assert sorted(os.listdir(restored.tree / uploads)) == ["a [1] $x*.txt", "orders.db"]
    assert orders(restored.tree / uploads / "orders.db") == 50
    shared.backups.discard(restored)
    with refused("backup.no_such_file"):
        shared.backups.restore("r1", newest(shared), [f"{uploads}/none"])
    with refused("backup.no_snapshot"):
        shared.backups.restore("r1", "0" * 64)


def test_what_is_wrong_with_a_repository_is_named(shared: FilesHome, tmp_path: Path) -> None:
    def backups(path: Path, password: Secret = OWN) -> FileBackups:
        return FileBackups(shared.data, [Repository("r1", LocalPlace(path), password)], shared.clock, LIMITS)

    with refused("backup.repository_not_opened"):
        backups(shared.top / "r1", Secret("hush")).prepare()
    with refused("backup.no_repository"):
        backups(tmp_path).restic("r1").check_opened()
    with refused("backup.no_repository"):
        shared.backups.prove("elsewhere", newest(shared))
    backups(shared.top / "r1", PASSPHRASE).restic("r1").check_opened()


def test_restic_begins_with_our_own_key_and_a_wrong_hint_hinders_nothing(shared: FilesHome) -> None:
    noted = shared.backups.layout.keys / "r1"
    key = noted.read_text()
    restic = shared.backups.restic("r1")
    assert restic.environment("x")["RESTIC_KEY_HINT"] == key
    keys = [p.name for p in (shared.top / "r1" / "keys").iterdir()]
    assert len(keys) == 2
    try:
        for hint in (*(k[:8] for k in keys), "0" * 8, "nonsense", "\xff", ""):
            noted.write_text(hint, "latin-1")
            restic.check_opened()
    finally:
        noted.write_text(key)


def test_two_at_once_are_refused(shared: FilesHome) -> None:
    other = FileBackups(shared.data, shared.repositories, shared.clock, LIMITS)
    with shared.backups.alone("hold it"), refused("backup.files_busy"):
        other.backup(shared.storage)


def test_damage_is_found_and_an_older_backup_is_still_good(home: FilesHome) -> None:
    home.backups.prepare()
    [first] = home.backups.backup(home.storage)
    before = set(packs(home))
    (home.uploads / "new.bin").write_bytes(os.urandom(200_000))
    [second] = home.backups.backup(home.storage)
    largest = max(set(packs(home)) - before, key=lambda p: p.stat().st_size)
    largest.chmod(0o600)
    data = bytearray(largest.read_bytes())
    data[1000] ^= 0xFF
    largest.write_bytes(data)

    proof = home.backups.prove("r1", second.snapshot)
    assert not proof.passed and "new.bin" in proof.failures[0]
    with refused("backup.repository_broken") as caught:
        home.backups.restic("r1").check("all")
    assert any("Pack ID does not match" in line for line in caught.value.details)

    largest.unlink()
    proof = home.backups.prove("r1", second.snapshot)
    assert not proof.passed and largest.name in proof.failures[0]
    assert home.backups.prove("r1", first.snapshot).passed
    assert home.left() == []


def test_a_failure_of_one_repository_is_one_of_the_run_and_the_other_has_it() -> None:
    home = FilesHome(repositories=2)
    try:
        home.backups.prepare()
        shutil.rmtree(home.top / "r1")
        made: list[Made] = []
        with refused("backup.run_failed") as caught:
            home.backups.backup(home.storage, on_made=made.append)
        assert [m.repository for m in made] == ["r2"]
        assert "it is not in r1" in caught.value.sentence
        assert home.backups.prove("r2", newest(home, repository="r2")).passed
    finally:
        home.end()


def test_what_need_not_be_kept_goes_and_what_was_cut_off_too(home: FilesHome) -> None:
    home.backups.prepare()
    made = []
    for n in range(3):
        (home.uploads / "b.txt").write_text(f"version {n}")
        made += home.backups.backup(home.storage)
    # A backup without its manifest: cut off in between.
    restic = home.backups.restic("r1")
    (home.uploads / "exclude").write_text("")
    restic.backup(
        "shop.production", ("storage",), root=home.data, exclude=None, on_progress=lambda _: None, is_gone=lambda _: False
    )  # fmt: skip
    home.backups.prove("r1", made[0].snapshot)
    chosen = home.backups.prune("r1", {}, Keep(1, 0, 0, 0))["shop.production"]
    kept = {k.backup.id: k.reasons for k in chosen.keep}
    assert set(kept) == {made[0].snapshot, made[2].snapshot}
    assert "the newest that is proven" in kept[made[0].snapshot]
    found, orphans = restic.snapshots()
    assert ({s.id for s in found}, orphans) == (set(kept), ())
    assert home.backups.prove("r1", made[2].snapshot).passed


class Cut(Exception):
    pass


def cut_off(backups: FileBackups, home: FilesHome) -> None:
    """restic is killed while it has a lock."""
    (home.uploads / "large.bin").write_bytes(os.urandom(60_000_000))

    def cut(_: Progress) -> None:
        raise Cut

    with pytest.raises(Cut):
        backups.restic("r1").backup(
            "shop.production", ("storage",), root=home.data, exclude=None, on_progress=cut, is_gone=lambda _: False
        )  # fmt: skip
    (home.uploads / "large.bin").unlink()


def test_what_a_killed_one_left_is_taken_away_and_a_lock_of_others_is_not(home: FilesHome) -> None:
    home.backups.prepare()
    for n in range(2):
        (home.uploads / "b.txt").write_text(f"version {n}")
        home.backups.backup(home.storage)
    layout, restic = home.backups.layout, home.backups.restic("r1")
    cut_off(home.backups, home)
    assert len(restic.locks()) == 1
    for half in (layout.stage / "half", layout.scratch / "half"):
        half.mkdir(parents=True)
    home.backups.prune("r1", {}, Keep(1, 0, 0, 0))
    assert (home.left(), restic.locks()) == ([], ())

    home.backups.backup(home.storage)
    # Ours by all but the record that we started it.
    other = FileBackups(home.top / "other", home.repositories, home.clock, LIMITS)
    (home.top / "other").mkdir()
    other.records.prepare()
    cut_off(other, home)
    with refused("backup.repository_locked"):
        home.backups.prune("r1", {}, Keep(1, 0, 0, 0))
    assert len(restic.locks()) == 1
    assert other.restic("r1").unlock_own() is None and restic.locks() == ()


def test_a_lock_that_shuts_all_others_out_is_taken_away_by_a_backup_too(home: FilesHome) -> None:
    """As a prune has it; none is made before the next one."""
    home.backups.prepare()
    (home.uploads / "large.bin").write_bytes(os.urandom(60_000_000))
    home.backups.backup(home.storage)
    restic, locks = home.backups.restic("r1"), home.top / "r1" / "locks"

    def cut() -> str | None:
        if any(locks.iterdir()):
            raise Cut
        return None

    with pytest.raises(Cut):
        restic._stream(
            ("check", "--read-data"), "check", root=home.data, timeout=60.0, output=lambda _: None,
            stopped=cut, said=lambda: "", accepted=(0,),
        )  # fmt: skip
    assert [k.exclusive for k in restic.locks()] == [True]
    home.backups.backup(home.storage)
    assert restic.locks() == ()


def test_limits_are_kept_to(shared: FilesHome) -> None:
    slow = Restic(shared.repositories[0], shared.backups.layout, shared.clock, Limits(short=0.001))
    with refused("backup.store_not_answering"):
        slow.check_opened()
