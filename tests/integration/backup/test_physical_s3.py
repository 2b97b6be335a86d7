"""A local repository and one in an S3-compatible store, at once."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physical_home import PASSPHRASE, PhysicalHome, directory
from physical_store import KEY_SECRET, SeaweedStore, ports

from homeport.backup.physical import commands, service
from homeport.backup.physical.model import LocalStore, Newest, Repository, Settings
from homeport.backup.physical.service import PhysicalBackups
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret


def test_a_store_elsewhere_beside_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    where = directory()
    where.chmod(0o755)
    home: PhysicalHome | None = None
    store = SeaweedStore(where / "s3")
    try:
        home = PhysicalHome()
        local = Repository("r1", LocalStore(home.repository()), Secret(PASSPHRASE))
        far = Repository("far", store.store(), Secret("another passphrase"))

        def with_(*repositories: Repository) -> PhysicalBackups:
            assert home is not None
            settings = Settings(repositories)
            return PhysicalBackups(
                home.data, home.cluster, home.clusters, home.services, settings, home.clock
            )

        both = with_(local, far)
        with pytest.raises(HomeportError) as e:
            both.ensure()
        assert e.value.code == "backup.no_bucket"
        store.make_bucket()
        both.ensure()
        home.sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g")
        made = both.backup()
        assert [m.backup.repository for m in made] == ["r1", "far"]
        assert both.prove("far").passed and both.findings() == ()

        # The local one is lost with the machine's disk.
        lost = home.repository().rename(home.data / "lost")
        restored = both.restore(Newest(), "far")
        lost.rename(home.repository())
        assert restored.repository == "far"

        monkeypatch.setattr(commands, "ANSWER", 1)
        monkeypatch.setattr(commands, "LOOKING", 1)
        monkeypatch.setattr(service, "FLUSHING", 2.0)
        monkeypatch.setattr(commands, "_LOOK", ("--io-timeout=1",))
        # It does not answer any more: named, while the other one goes on.
        gone = with_(local, replace(far, store=replace(store.store(), port=ports(1)[0])))
        with pytest.raises(HomeportError) as e:
            gone.ensure()
        assert e.value.code == "backup.repository_unreachable"
        assert KEY_SECRET not in f"{e.value.sentence} {e.value.hint} {e.value.details}"
        found = {f.code: f for f in gone.findings()}
        assert found.keys() == {"repository"} and "far" in found["repository"].sentence
        # pgBackRest's number of an error is that of what cannot be decrypted.
        by_ip = with_(local, replace(far, store=replace(store.store(), endpoint="127.0.0.1")))
        with pytest.raises(HomeportError, match=r"is not for host 127\.0\.0\.1") as e:
            by_ip.ensure()
        assert e.value.code == "backup.store_certificate" and "takes no IP address" in e.value.hint
        both.prepare()
    finally:
        # The server archives what is left before it ends.
        if home is not None:
            home.end()
        store.close()
        shutil.rmtree(where, ignore_errors=True)
