"""A repository that is added and cannot be used is as if it had not been asked for; what was there stays."""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from files_home import LIMITS, OWN, FilesHome
from seaweed import BUCKET, KEY, SECRET_KEY, Seaweed

from homeport.backup import histories, works_prepare
from homeport.backup.files.model import LocalPlace, Repository, S3Place
from homeport.backup.files.service import FileBackups
from homeport.backup.locks.bucket import Bucket
from homeport.backup.physical.model import BackupLayout, LocalStore, Settings
from homeport.backup.physical.model import Repository as ClusterRepository
from homeport.backup.physical.pgbackrest import PgBackRest
from homeport.backup.repositories import Place, Recorded
from homeport.backup.stores import CERTIFICATE
from homeport.database.model import Layout
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

FIRST, SECOND = "six random words are good", "seven random words are better"


class Box:
    """One repository, and a cluster that gets into it or not."""

    def __init__(
        self, home: FilesHome, name: str, place: Place, files_place: Any, *, own: Secret = OWN
    ) -> None:
        self.clock = home.clock
        self.broken = False
        self._recorded = Recorded(name, place, ready=False)
        self._repository = Repository(name, files_place, own)
        self._home = home

    @property
    def repositories(self) -> Any:
        box = self

        class Known:
            def list(self) -> Any:
                return (box._recorded,)

            def for_files(self) -> Any:
                return (box._repository,)

        return Known()

    def files(self) -> FileBackups:
        return FileBackups(self._home.data, [self._repository], self.clock, LIMITS, yielding=False)

    def physical(self, name: str, *, synchronous: bool) -> Any:
        box = self

        class Cluster:
            def ensure(self) -> None:
                if box._recorded.place.path:
                    there = Path(box._recorded.place.path) / "postgresql"
                    there.mkdir(exist_ok=True)
                    (there / "begun").write_text("")
                if box.broken:
                    raise CERTIFICATE.error("cannot read repository new: its certificate has expired")

        return Cluster()

    def add(self, passphrase: str = FIRST, *, same: bool = False) -> Any:
        request = {
            "new": self._recorded.name,
            "passphrase": passphrase,
            "same": same,
            "clusters": {"main": False},
        }
        return works_prepare.prepare(self, request)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[FilesHome]:
    it = FilesHome()
    it.top.chmod(0o755)
    monkeypatch.setattr(histories, "archive_again", lambda *_: None)
    try:
        yield it
    finally:
        it.end()


@pytest.fixture
def place(home: FilesHome) -> Path:
    found = home.top / "disk"
    found.mkdir(mode=0o755)
    (found / "lost+found").mkdir()
    return found


def local(home: FilesHome, place: Path, name: str = "new", own: Secret = OWN) -> Box:
    return Box(home, name, Place(path=str(place)), LocalPlace(place / "files"), own=own)


def names(place: Path) -> set[str]:
    return {p.name for p in place.iterdir()}


def test_what_was_made_in_a_directory_goes_again_and_any_passphrase_will_do_next(
    home: FilesHome, place: Path
) -> None:
    box = local(home, place)
    box.broken = True
    with pytest.raises(HomeportError, match="certificate has expired"):
        box.add()
    assert names(place) == {"lost+found"}
    with pytest.raises(HomeportError, match="certificate has expired"):
        box.add(SECOND)
    # By another name it has other passwords.
    again = local(home, place, "other", Secret("another password of Homeport"))
    assert again.add(SECOND) == ("other",)
    assert names(place) == {"lost+found", "files", "postgresql"}
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.other_passphrase"):
        again.add(FIRST, same=True)


def test_what_was_there_before_stays(home: FilesHome, place: Path) -> None:
    assert local(home, place).add() == ("new",)
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*") if p.is_file()}
    box = local(home, place)
    box.broken = True
    with pytest.raises(HomeportError, match="certificate has expired"):
        box.add()
    assert {p for p in before if not p.exists()} == set()

    other = local(home, place, "other", Secret("another password of Homeport"))
    with pytest.raises(HomeportError, match="is one already, of another name") as e:
        other.add()
    assert "--prefix" in e.value.hint and {p for p in before if not p.exists()} == set()


def test_only_what_is_new_goes(home: FilesHome, place: Path) -> None:
    (place / "postgresql" / "archive").mkdir(parents=True)
    (place / "postgresql" / "archive" / "kept").write_text("the log")
    box = local(home, place)
    box.broken = True
    with pytest.raises(HomeportError, match="certificate has expired"):
        box.add()
    assert names(place) == {"lost+found", "postgresql"}
    assert (place / "postgresql" / "archive" / "kept").read_text() == "the log"


@pytest.mark.parametrize("thing", ["my.txt", "files/my.txt", "postgresql/data/base"])
def test_a_directory_of_somebody_s_is_none(home: FilesHome, place: Path, thing: str) -> None:
    (place / thing).parent.mkdir(parents=True, exist_ok=True)
    (place / thing).write_text("mine")
    with pytest.raises(HomeportError, match="is not empty, and no repository") as e:
        local(home, place).add()
    assert f"mkdir {place}/homeport" in e.value.hint and thing.split("/")[0] in e.value.details[0]
    assert names(place) == {"lost+found", thing.split("/")[0]} and (place / thing).read_text() == "mine"


def test_an_interrupted_try_is_no_stranger(home: FilesHome, place: Path) -> None:
    for part in works_prepare.PARTS:
        (place / part).mkdir()
    assert local(home, place).add() == ("new",)


def test_what_was_made_in_a_store_goes_again_and_nothing_else(home: FilesHome) -> None:
    with Seaweed() as store:
        secrets = {"key": Secret(KEY), "secret_key": Secret(SECRET_KEY)}
        inside = S3Place(store.url, BUCKET, prefix="mine/files", **secrets)
        box = Box(home, "far", Place(endpoint=store.url, bucket=BUCKET, prefix="mine"), inside)
        with Bucket("far", inside) as bucket:
            bucket._client.put_object(BUCKET, "mine/notes", BytesIO(b"x"), 1)
            box.broken = True
            with pytest.raises(HomeportError, match="certificate has expired"):
                box.add()
            assert [e.object_name for e in bucket._client.list_objects(BUCKET, recursive=True)] == [
                "mine/notes"
            ]
            box.broken = False
            assert box.add(SECOND) == ("far",)
            assert bucket.has("mine/files/keys/")
            box.broken = True
            with pytest.raises(HomeportError, match="certificate has expired"):
                box.add(SECOND)
            assert bucket.has("mine/files/config")


def test_a_disk_that_is_not_mounted_is_told_and_nothing_is_made_there(home: FilesHome, place: Path) -> None:
    data = home.data
    store = LocalStore(place / "postgresql", beside=place / "files" / "config")
    settings = Settings((ClusterRepository("local", store, Secret("hush")),))
    program = PgBackRest(data, "main", settings, home.clock)
    for there in (place, home.top / "gone"):
        moved = PgBackRest(
            data,
            "main",
            Settings(
                (ClusterRepository("local", LocalStore(there / "postgresql", store.beside), Secret("hush")),)
            ),
            home.clock,
        )
        moved.prepare(Layout(data, "main"), 5432)
        for call in (moved.look, moved.read, moved.archive):
            with pytest.raises(HomeportError, match=f"files are gone: {there}/postgresql") as e:
                call("local")
            assert e.value.code == "backup.missing_files" and "mount it" in e.value.hint
        assert not (there / "postgresql").exists()
    # With what is beside it, it is that disk.
    (place / "files").mkdir()
    (place / "files" / "config").write_text("")
    program.prepare(Layout(data, "main"), 5432)
    assert program.look("local").problem == "" and (place / "postgresql").is_dir()
    program.forget()
    assert BackupLayout(data, "main").conf.exists() is False
