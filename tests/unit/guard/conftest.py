from datetime import UTC, datetime, timedelta

import pytest

from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal.store import Store, open_engine, text_time


class FakeClock:
    def __init__(self):
        self.at = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def now(self):
        self.at += timedelta(milliseconds=1)
        return self.at

    def monotonic(self):
        return 0.0

    def sleep(self, seconds):
        pass


def _make_store(path):
    engine = open_engine(path)
    store = Store(engine, FakeClock())
    with store.transaction("ann") as tx:
        for app in ("shop", "blog"):
            tx.execute(schema.apps.insert().values(name=app, created_at=text_time(tx.now)))
    return store


@pytest.fixture(scope="session")
def make_store():
    return _make_store


@pytest.fixture
def store(tmp_path):
    store = _make_store(tmp_path / "state.db")
    yield store
    store.engine.dispose()


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "secrets.key"


@pytest.fixture
def vault(store, key_file):
    return Vault(store, key_file)


@pytest.fixture
def put(store, vault):
    def put(name, value, *, app="shop", environment="production", source="", actor="ann"):
        with store.transaction(actor) as tx:
            return vault.set(tx, app, environment, name, value, source=source)

    return put


@pytest.fixture
def drop(store, vault):
    def drop(name, *, app="shop", environment="production"):
        with store.transaction("bob") as tx:
            return vault.remove(tx, app, environment, name)

    return drop
