"""What a child does for files of an environment that are brought back."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from files_home import FilesHome, orders

from homeport.backup import works_restore_files as works
from homeport.backup.clone import uploads
from homeport.backup.files.model import Layout
from homeport.backup.files.service import FileBackups
from homeport.backup.toolbox import Toolbox
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError

ROOT = "storage/shop/production"


class Box(Toolbox):
    """The repositories of the home, without a vault."""

    @property
    def repositories(self) -> Any:
        names = home_of[self.data_dir].repositories

        class Known:
            def list(self) -> Any:
                return names

        return Known()

    def files(self) -> FileBackups:
        return home_of[self.data_dir].backups


home_of: dict[Path, FilesHome] = {}


@pytest.fixture
def home() -> Iterator[FilesHome]:
    it = FilesHome()
    home_of[it.data] = it
    try:
        yield it
    finally:
        it.end()


def work(home: FilesHome, what: str, **request: Any) -> Any:
    box = Box(home.data, None, None, None, home.clock)
    asked = {"series": "shop.production", "at": None, "label": "", "repository": "", **request}
    return works.WORKS[what](box, asked, lambda kind, values: None)


def test_a_backup_tells_which_files_it_has(home: FilesHome) -> None:
    strange = home.uploads / "2026" / os.fsdecode(b"bad\xff.txt")
    strange.parent.mkdir()
    strange.write_text("x")
    (home.uploads / "here").symlink_to("b.txt")
    home.backups.prepare()
    home.backups.backup(home.storage)
    (home.uploads / "b.txt").unlink()

    def listed(pattern: str = "", **request: Any) -> list[tuple[str, str]]:
        found = work(home, "restore-files-contents", pattern=pattern, **request)
        assert found["found"] == len(found["files"]) and found["of"] == 5
        assert found["bytes"] == sum(f["bytes"] for f in found["files"])
        return [(f["path"], f["kind"]) for f in found["files"]]

    all_ = [
        ("uploads/2026/bad\ufffd.txt", "file"),
        ("uploads/a [1] $x*.txt", "file"),
        ("uploads/b.txt", "file"),
        ("uploads/here", "link"),
        ("uploads/orders.db", "sqlite"),
    ]
    assert listed() == all_
    assert listed("b.t") == [all_[2]]
    assert listed("uploads/?.txt") == [all_[2]]
    assert listed("*.txt") == all_[:3]
    assert listed("[1]") == [all_[1]], "a part of a path is no pattern"
    assert listed("nothing") == []
    (b,) = (f for f in work(home, "restore-files-contents")["files"] if f["path"] == "uploads/b.txt")
    assert b["bytes"] == 6000
    with pytest.raises(HomeportError, match="no backup of them fits"):
        listed(at=text_time(datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(HomeportError, match="no backup of them fits"):
        listed(label="feed")


def test_a_storage_that_was_empty_is_empty_again(home: FilesHome) -> None:
    for path in home.uploads.iterdir():
        path.unlink()
    home.backups.prepare()
    home.backups.backup(home.storage)
    (home.uploads / "later").write_text("x")
    asked = {**work(home, "restore-files-choose", paths=[ROOT]), "paths": [ROOT]}
    assert work(home, "restore-files-look", **asked)["looked_at"]["goes"]["names"] == [
        f"{ROOT}/uploads/later"
    ]
    done = work(home, "restore-files", **asked)
    assert list(home.uploads.iterdir()) == [] and done["files"] == 0
    (former,) = done["kept_in"]
    assert [p.name for p in (Path(former) / "uploads").iterdir()] == ["later"]


class Killed(BaseException):
    pass


def test_files_come_back_and_the_former_ones_stay(home: FilesHome, monkeypatch: pytest.MonkeyPatch) -> None:
    before_all = text_time(datetime.now(UTC))
    home.backups.prepare()
    home.backups.backup(home.storage)
    text, database = home.uploads / "b.txt", home.uploads / "orders.db"
    was = text.read_bytes()
    text.write_text("spoilt")
    (home.uploads / "new").write_text("new")
    database.write_text("no database any more")
    wal = Path(f"{database}-wal")
    wal.write_bytes(b"of the database that served")

    with pytest.raises(HomeportError, match="no backup of them fits"):
        work(home, "restore-files-choose", at=before_all)
    asked = {
        **work(home, "restore-files-choose"),
        "paths": [f"{ROOT}/uploads/b.txt", f"{ROOT}/uploads/orders.db"],
    }
    real = FileBackups.put_back

    def dies(self: FileBackups, restored: Any, which: str) -> Any:
        real(self, restored, which)
        raise Killed

    def is_cut_off() -> None:
        """After the first was put in its place."""
        with monkeypatch.context() as patched:
            patched.setattr(FileBackups, "put_back", dies)
            with pytest.raises(Killed):
                work(home, "restore-files", **asked)
        assert text.read_bytes() == was

    # Given up after that, it is as it was; done again, it is as if it had not been cut off.
    layout = Layout(home.data)
    is_cut_off()
    work(home, "restore-files-tidy", **asked)
    assert text.read_text() == "spoilt" and wal.exists()
    assert [*layout.restored.iterdir(), *layout.replaced.iterdir()] == []
    is_cut_off()
    done = work(home, "restore-files", **asked)
    assert work(home, "restore-files", **asked) == done, "nobody heard of it"
    work(home, "restore-files-tidy", **asked)

    assert text.read_bytes() == was
    assert (home.uploads / "new").read_text() == "new"
    assert not wal.exists()
    assert orders(database) == 50
    assert list(layout.restored.iterdir()) == []
    assert home.left() == []
    box = Box(home.data, None, None, None, home.clock)
    kept = works.kept(box)
    assert {(k["app"], k["environment"], k["kind"]) for k in kept} == {("shop", "production", "files")}
    [name] = [k["name"] for k in kept]
    former = layout.replaced / name / ROOT / "uploads"
    assert done["kept_files"] == name and (former / "b.txt").read_text() == "spoilt"
    assert all(Path(p).exists() for p in done["kept_in"]) and done["kept_in"]
    assert (former / "orders.db-wal").read_bytes() == b"of the database that served"
    works.drop(box, name)
    assert os.listdir(layout.replaced) == []


def test_a_whole_storage_comes_back(home: FilesHome) -> None:
    home.backups.prepare()
    home.backups.backup(home.storage)
    (home.uploads / "b.txt").unlink()
    (home.uploads / "new").write_text("new")
    asked = {**work(home, "restore-files-choose"), "paths": [ROOT], "run": "b-0123456789"}
    before = sorted(p.name for p in home.uploads.iterdir())
    (text,) = [p for p in home.uploads.iterdir() if p.name.startswith("a [1]")]
    was = text.read_bytes()
    text.write_bytes(bytes(len(was)))
    found = work(home, "restore-files-look", **asked)["looked_at"]
    assert {key: found[key]["names"] for key in ("goes", "comes", "changes")} == {
        "goes": [f"{ROOT}/uploads/new"],
        "comes": [f"{ROOT}/uploads/b.txt"],
        "changes": [f"{ROOT}/uploads/{text.name}"],
    }
    assert found["databases"] == [f"{ROOT}/uploads/orders.db"]
    assert sorted(p.name for p in home.uploads.iterdir()) == before and home.left() == []
    done = work(home, "restore-files", **asked)
    work(home, "restore-files-tidy", **asked)
    assert text.read_bytes() == was
    assert sorted(p.name for p in home.uploads.iterdir()) == ["a [1] $x*.txt", "b.txt", "orders.db"]
    assert orders(home.uploads / "orders.db") == 50
    assert (Layout(home.data).replaced / done["kept_files"] / ROOT / "uploads" / "new").exists()
    with pytest.raises(HomeportError, match="no such file"):
        work(home, "restore-files", **(asked | {"paths": [f"{ROOT}/nothing"]}))
    assert list(Layout(home.data).restored.iterdir()) == []


def test_files_come_to_another_environment_though_it_is_cut_off(
    home: FilesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.backups.prepare()
    [made] = home.backups.backup(home.storage)
    assert home.backups.prove("r1", made.snapshot).passed
    staging = home.data / "storage" / "shop" / "staging"
    staging.mkdir()
    (staging / "old").write_text("old")
    real = FileBackups.put_back

    def dies(self: FileBackups, restored: Any, which: str) -> Any:
        real(self, restored, which)
        raise Killed

    def bring(run: str, *, replace: bool) -> Any:
        return uploads.bring(home.backups, ["r1"], "shop", "production", "staging", run=run, replace=replace)

    def is_cut_off() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(FileBackups, "put_back", dies)
            with pytest.raises(Killed):
                bring("b-1", replace=False)
        assert os.listdir(staging) == ["uploads"]

    layout = Layout(home.data)
    is_cut_off()
    uploads.tidy(home.backups, "b-1", "shop", "production", "staging")
    assert os.listdir(staging) == ["old"]
    assert [*layout.restored.iterdir(), *layout.replaced.iterdir()] == []
    is_cut_off()
    done = bring("b-1", replace=False)
    assert bring("b-1", replace=False) == done, "nobody heard of it"
    uploads.tidy(home.backups, "b-1", "shop", "production", "staging")
    assert os.listdir(staging) == ["uploads"] and orders(staging / "uploads" / "orders.db") == 50
    assert [p.name for p in layout.replaced.iterdir()] == ["b-1"] and os.listdir(done["former"]) == ["old"]
    assert bring("b-2", replace=True)["former"] is None
    assert [p.name for p in layout.replaced.iterdir()] == ["b-1"] and os.listdir(layout.restored) == []


def test_a_path_that_no_backup_has_is_refused_with_those_that_are_near(home: FilesHome) -> None:
    home.backups.prepare()
    home.backups.backup(home.storage)
    assert work(home, "restore-files-choose", paths=[ROOT])["repository"] == "r1"
    assert work(home, "restore-files-choose", paths=[f"{ROOT}/uploads/orders.db"])["repository"] == "r1"
    for path, hint in (
        ("orders.db", "paths begin with the storage's name: there are uploads"),
        ("uploads/2026/b.txt", "in uploads there are a [1] $x*.txt, b.txt, orders.db"),
    ):
        with pytest.raises(HomeportError, match=f"cannot bring back {path}: ") as e:
            work(home, "restore-files-choose", paths=[f"{ROOT}/{path}"])
        assert (e.value.code, e.value.hint) == ("backup.no_such_file", hint)


def test_a_repository_that_is_gone_is_named_where_there_is_no_other(home: FilesHome) -> None:
    home.backups.prepare()
    home.backups.backup(home.storage)
    where = home.top / "r1"
    where.rename(home.top / "away")
    with pytest.raises(HomeportError, match=f"files are gone: there is no repository in {where}") as e:
        work(home, "restore-files-choose")
    assert (e.value.code, "mount it" in e.value.hint) == ("backup.no_repository", True)
