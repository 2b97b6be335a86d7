"""Object lock against SeaweedFS: whoever has the keys deletes and overwrites all of a repository, and it comes back."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from urllib3 import PoolManager

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from bad_store import BadStore
from files_home import LIMITS, PASSPHRASE, FilesHome
from seaweed import BUCKET, KEY, SECRET_KEY, Seaweed
from tls_front import TlsFront

from homeport.backup import works_lock
from homeport.backup.files.service import FileBackups
from homeport.backup.locks.bucket import Bucket
from homeport.backup.locks.model import COMPLIANCE, GOVERNANCE, Known, Lock
from homeport.backup.locks.plan import problems
from homeport.backup.locks.records import Locks
from homeport.backup.repositories import Place, Repositories
from homeport.backup.toolbox import Toolbox
from homeport.database.port import Services
from homeport.database.state import DatabaseState
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

LOCKED = "locked"
MONTH = Lock(GOVERNANCE, 30)
KEYS = {"key": KEY, "secret_key": SECRET_KEY}


class Later(RealClock):
    """A clock that was set forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Machine:
    home: FilesHome
    box: Toolbox
    clock: Later
    client: Minio
    plain: str
    """The store's address without TLS."""

    def work(self, name: str, **request: Any) -> Any:
        return works_lock.WORKS[name](self.box, request, lambda *_: None)

    def lock(self, repository: str, lock: Lock = MONTH) -> Any:
        return self.work("lock", repository=repository, **lock.to_json())

    def open(self) -> None:
        """The bucket locks nothing by itself; what was locked stays so."""
        self.client.delete_object_lock_config(LOCKED)

    def files(self) -> FileBackups:
        far = [r for r in self.box.repositories.for_files() if r.name == "far"]
        return FileBackups(self.home.data, far, self.clock, LIMITS, yielding=False)

    def undelete(self, since: datetime, *, plan: bool = False) -> Any:
        return self.work("undelete", repository="far", since=text_time(since), plan=plan)

    def versions(self, bucket: str = LOCKED, prefix: str = "one/") -> list[Any]:
        return list(self.client.list_objects(bucket, prefix=prefix, recursive=True, include_version=True))

    def there(self) -> set[str]:
        """Names of what is there for everybody, but for restic's notes of who works."""
        found = {o.object_name for o in self.client.list_objects(LOCKED, prefix="one/", recursive=True)}
        return {name for name in found if name and "/files/locks/" not in name}

    def wait_for_the_next_second(self) -> datetime:
        """The store tells times to the second. When all before is older, and all after newer."""
        now = self.clock.now()
        since = now.replace(microsecond=0) + timedelta(seconds=1)
        self.clock.sleep((since - now).total_seconds() + 1.0)
        return since


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    home = FilesHome()
    http = PoolManager()
    try:
        with Seaweed() as store, TlsFront(store.url, home.top) as front:
            client = Minio(
                store.url.removeprefix("http://"),
                KEY,
                SECRET_KEY,
                secure=False,
                region="us-east-1",
                http_client=http,
            )
            client.make_bucket(LOCKED, object_lock=True)
            clock = Later()
            engine = open_engine(home.data / "state.db")
            state = Store(engine, clock)
            vault = Vault(state, home.top / "secrets.key")
            box = Toolbox(home.data, DatabaseState(state), vault, cast(Services, SimpleNamespace()), clock)
            repositories = Repositories(state, vault)
            far = Place(endpoint=front.url, bucket=LOCKED, prefix="one", ca=str(front.ca))
            for name, place, keys in (
                ("far", far, KEYS),
                ("open", replace(far, bucket=BUCKET), KEYS),
                ("none", replace(far, bucket="none-of-ours"), KEYS),
                ("near", Place(path=str(home.top / "r1")), {}),
            ):
                repositories.add(name, place, keys, actor="me")
            yield Machine(home, box, clock, client, store.url)
            engine.dispose()
    finally:
        http.clear()
        home.end()


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def test_what_cannot_be_locked_is_refused_and_named(machine: Machine) -> None:
    with refused("backup.no_object_lock") as caught:
        machine.lock("open")
    assert "made without object lock" in caught.value.sentence and caught.value.hint
    assert list(machine.client.list_objects(BUCKET, recursive=True)) == []
    with refused("backup.store_refused"):
        machine.lock("none")
    with refused("backup.bad_repository"):
        machine.lock("near")
    with refused("backup.unknown_repository"):
        machine.lock("elsewhere")
    for name, code in (("open", "backup.no_versions"), ("near", "backup.bad_repository")):
        with refused(code):
            machine.work("undelete", repository=name, since=text_time(machine.clock.now()), plan=False)


def test_a_store_that_says_so_and_does_not_is_found_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.open()

    def bypassed(self: Minio, bucket: str, key: str, version_id: str | None = None) -> None:
        errors = [DeleteObject(key, version_id)]
        assert list(self.remove_objects(bucket, errors, bypass_governance_mode=True)) == []

    monkeypatch.setattr(Minio, "remove_object", bypassed)
    with refused("backup.not_locked"):
        machine.lock("far")
    assert machine.client.get_object_lock_config(LOCKED).mode is None, "it is as it was"


def test_a_store_that_fails_is_named_without_its_keys(machine: Machine) -> None:
    places = machine.box.repositories.for_files()
    place = next(r.place for r in places if r.name == "far")
    with BadStore(machine.plain) as bad:
        bad.mode = "500"
        with (
            Bucket("far", replace(cast(Any, place), endpoint=bad.url)) as bucket,
            pytest.raises(HomeportError) as e,
        ):
            bucket.lock()
    assert e.value.code in ("backup.store_failed", "backup.store_not_answering")
    assert SECRET_KEY not in f"{e.value.sentence}{e.value.hint}{e.value.details}"
    with Bucket("far", replace(cast(Any, place), endpoint=bad.url)) as bucket:
        with refused("backup.store_not_answering"):
            bucket.lock()


def test_what_was_deleted_and_overwritten_by_somebody_with_the_keys_comes_back(machine: Machine) -> None:
    client = machine.client
    machine.open()
    found = machine.lock("far")
    assert found["former"] is None and Lock.of(found["seen"]) == MONTH
    assert Lock.of(machine.lock("far", Lock(GOVERNANCE, 7))["seen"]) == MONTH, "never shorter"

    backups = machine.files()
    backups.prepare()
    backups.set_passphrase(PASSPHRASE)
    [first] = backups.backup(machine.home.storage)
    before = machine.there()
    since = machine.wait_for_the_next_second()

    # With the keys, and without a right of its own for that, versions stay.
    a_pack = next(o for o in machine.versions() if "/files/data/" in str(o.object_name))
    with pytest.raises(S3Error, match="AccessDenied"):
        client.remove_object(LOCKED, str(a_pack.object_name), version_id=a_pack.version_id)
    for name in before:
        client.remove_object(LOCKED, name)
    client.put_object(LOCKED, "one/files/config", BytesIO(b"junk"), 4)
    assert machine.there() == {"one/files/config"}
    with pytest.raises(HomeportError):
        backups.restic("far").check_opened()

    planned = machine.undelete(since, plan=True)
    assert (planned["deleted"], planned["overwritten"], planned["done"]) == (len(before) - 1, 1, False)
    assert machine.there() == {"one/files/config"}, "a plan changes nothing"
    done = machine.undelete(since)
    assert (done["deleted"], done["overwritten"], done["done"]) == (len(before) - 1, 1, True)
    assert machine.there() == before
    assert machine.undelete(since)["deleted"] == machine.undelete(since)["overwritten"] == 0
    assert backups.prove("far", first.snapshot).failures == ()

    # Pruning goes on: what it removes is behind a delete marker.
    backups.restic("far").forget([first.snapshot])
    snapshot = f"one/files/snapshots/{first.snapshot}"
    assert snapshot not in machine.there()
    assert snapshot in {o.object_name for o in machine.versions() if not o.is_delete_marker}

    with refused("backup.in_future"):
        machine.undelete(machine.clock.now() + timedelta(hours=1))


def test_locks_of_what_is_in_use_are_extended_and_one_that_is_gone_is_told_of(machine: Machine) -> None:
    client, locks = machine.client, Locks(machine.box.state.store)
    machine.open()
    machine.lock("far")
    key = "one/files/data/of-its-own"
    client.put_object(LOCKED, key, BytesIO(b"x"), 1)
    assert machine.work("locks", extend=True) == {"locks": {}, "extended": 0}
    now = machine.clock.now()
    locks.ask(Known("far", MONTH, MONTH, now, "", now), actor="me")
    machine.box.repositories.made("far", actor="me")
    assert machine.work("locks", extend=True) == {"locks": {"far": str(MONTH)}, "extended": 0}

    machine.clock.ahead = timedelta(days=8)
    try:
        assert machine.work("locks", extend=True)["extended"] == len(machine.there())
        held = client.get_object_retention(LOCKED, key)
        assert held is not None and held.retain_until_date > now + timedelta(days=37)
        assert problems(locks.list(), machine.clock.now()) == ()
    finally:
        machine.clock.ahead = timedelta()
    # Locked for longer already: nothing is wrong.
    locks.ask(Known("far", MONTH, MONTH, now, "", None), actor="me")
    assert machine.work("locks", extend=True)["extended"] == len(machine.there())
    assert problems(locks.list(), now) == ()

    machine.open()
    machine.work("locks", extend=False)
    [gone] = problems(locks.list(), now)
    assert "not locked any more" in gone
    assert machine.lock("far", Lock(COMPLIANCE, 1))["seen"] == Lock(COMPLIANCE, 1).to_json()
    assert machine.work("unlock", repository="far", former=None) == {}
    assert client.get_object_lock_config(LOCKED).mode is None
