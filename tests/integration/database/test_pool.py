"""The pooler: clients that are held, kept and moved to other credentials, with queries under way."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from database_home import MAIN, DatabaseHome, connect

from homeport.database import roles
from homeport.database.urls import user_and_password
from homeport.kernel.errors import HomeportError
from homeport.spec.model_database import Database


@pytest.fixture(scope="module")
def shared() -> Iterator[DatabaseHome]:
    home = DatabaseHome()
    try:
        home.ensure()
        home.as_owner("CREATE TABLE seen (id bigint)")
        yield home
    finally:
        home.end()


@pytest.fixture
def pooler(shared: DatabaseHome) -> Any:
    return shared.databases.pooler(shared.databases.state.cluster("main"))


class Load:
    """Clients that write all the time, each over one connection; ``failures`` tells what they met."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.failures: list[str] = []
        self.written = 0
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url, n)) for n in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def goes_on(self) -> None:
        """Wait until some more was written."""
        wanted = self.written + 20
        end = time.monotonic() + 20
        while self.written < wanted and not self.failures:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.01)

    def _run(self, url: str, n: int) -> None:
        try:
            with connect(url) as c:
                while not self._closing.is_set():
                    c.execute("INSERT INTO seen VALUES (%s)", (n,))
                    self.written += 1
                    time.sleep(0.002)
        except psycopg.Error as e:
            self.failures.append(str(e))

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.failures


def test_clients_that_are_held_go_on_afterwards(shared, pooler):
    url = shared.ensure()
    with Load(url) as load:
        shared.databases.pause("shop", "production", "main")
        shared.databases.pause("shop", "production", "main")
        assert pooler.paused() == ("shop_production",)
        before = load.written
        with shared.databases.connect_as_admin("shop", "production", "main") as c:
            (connected,) = c.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_production_a'"
            ).fetchone()
        assert connected == 0 and load.written <= before + 4
        shared.databases.resume("shop", "production", "main")
        shared.databases.resume("shop", "production", "main")
        assert pooler.paused() == ()
        load.goes_on()


def test_a_transaction_that_does_not_end_is_told_and_nobody_is_held(shared, pooler):
    url = shared.ensure()
    with connect(url) as c, Load(url) as load:
        with c.transaction():
            c.execute("INSERT INTO seen VALUES (0)")
            with pytest.raises(HomeportError) as e:
                shared.databases.pause("shop", "production", "main", timeout=0.3)
            assert e.value.code == "database.busy" and pooler.paused() == ()
            load.goes_on()


def test_the_server_restarts_while_clients_wait(shared):
    url = shared.ensure()
    before = shared.pid("postgresql.main")
    with Load(url) as load:
        shared.databases.restart(shared.databases.state.cluster("main"))
        load.goes_on()
    assert shared.pid("postgresql.main") != before


def test_a_new_pooler_takes_the_clients_over(shared, pooler):
    url = shared.ensure()
    before = shared.pid("pgbouncer.main")
    with Load(url) as load:
        pooler.replace()
        load.goes_on()
    assert shared.pid("pgbouncer.main") != before
    connect(url).close()


def retire(shared):
    """The rotation that is under way, if any."""
    row = shared.databases.get("shop", "production", "main")
    return shared.databases.retire("shop", "production", "main", row.rotated_at)


def test_both_logins_are_valid_until_the_old_one_is_retired(shared):
    old = shared.ensure()
    with Load(old) as before:
        new = shared.databases.rotate("shop", "production", MAIN).url.reveal()
        assert user_and_password(old)[0] == "shop_production_a"
        assert user_and_password(new)[0] == "shop_production_b"
        assert shared.databases.rotate("shop", "production", MAIN).url.reveal() == new
        assert shared.ensure() == new == shared.secrets.get("shop", "production", "DATABASE_URL")
        before.goes_on()
        connect(old).close()
        after = Load(new)
        with after:
            before.goes_on()
            before.__exit__()
            assert retire(shared)
            after.goes_on()
    assert not retire(shared)
    with pytest.raises(psycopg.OperationalError):
        connect(old)
    direct = old.replace(
        str(shared.databases.state.cluster("main").pooler_port),
        str(shared.databases.state.cluster("main").port),
    )
    with pytest.raises(psycopg.OperationalError):
        connect(direct)
    third = shared.databases.rotate("shop", "production", MAIN).url.reveal()
    assert user_and_password(third)[0] == "shop_production_a" and third != old
    assert retire(shared)
    connect(third).close()


def test_a_decision_about_a_former_rotation_retires_nothing_of_the_next(shared):
    shared.ensure()
    shared.databases.rotate("shop", "production", MAIN)
    former = shared.databases.get("shop", "production", "main").rotated_at
    assert retire(shared)
    serving = shared.ensure()
    shared.databases.rotate("shop", "production", MAIN)
    assert not shared.databases.retire("shop", "production", "main", former)
    connect(serving).close()
    assert retire(shared)


@pytest.mark.parametrize("step", ["set_password", "verifiers"])
def test_a_rotation_that_was_cut_off_goes_on(shared, monkeypatch, step):
    old = shared.ensure()

    class Cut(BaseException):
        pass

    def cut(*_: object, **__: object) -> None:
        raise Cut

    monkeypatch.setattr(roles, step, cut)
    with pytest.raises(Cut):
        shared.databases.rotate("shop", "production", MAIN)
    monkeypatch.undo()
    connect(old).close()
    shared.again()
    new = shared.databases.rotate("shop", "production", MAIN).url.reveal()
    assert user_and_password(new)[0] != user_and_password(old)[0]
    connect(old).close()
    connect(new).close()
    assert retire(shared)
    connect(new).close()


def test_an_app_has_as_many_connections_as_it_asked_for(shared):
    url = shared.ensure("few", Database("main", connections=2))
    try:
        held = [connect(url) for _ in range(6)]
        for c in held:
            c.execute("SELECT 1")
        with shared.databases.connect_as_admin("few", "production", "main") as admin:
            count = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'few_production_a'"
            ).fetchone()
        assert count is not None and count[0] <= 2
        for c in held:
            c.close()
        with pytest.raises(HomeportError) as e:
            shared.ensure("few", Database("main", connections=100_000))
        assert e.value.code == "database.too_many_connections"
    finally:
        shared.databases.drop("few", "production", MAIN, confirm="few_production")


def test_without_a_pooler_the_app_connects_directly(shared):
    direct = Database("bare", pool="none", connections=3)
    url = shared.ensure("shop", direct)
    cluster = shared.databases.state.cluster("main")
    assert f":{cluster.port}/" in url
    held = []
    with pytest.raises(psycopg.OperationalError):
        for _ in range(10):
            held.append(connect(url))
    assert len(held) >= 3
    for c in held:
        c.close()
    with pytest.raises(HomeportError) as e:
        shared.databases.pause("shop", "production", "bare")
    assert e.value.code == "database.no_pooler"
    pooled = shared.ensure("shop", Database("bare", connections=3))
    assert f":{cluster.pooler_port}/" in pooled
    connect(pooled).close()
    shared.databases.drop("shop", "production", direct, confirm="shop_production_bare")


def test_too_many_that_are_asked_for_break_nothing(shared):
    with pytest.raises(HomeportError):
        shared.ensure("greedy", Database("main", connections=100_000))
    connect(shared.ensure()).close()
