"""What children do for a restore, against a cluster with a pooler: cut off anywhere, and done again."""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physical_home import PASSPHRASE, PhysicalHome, until

from homeport.backup import works_restore as works
from homeport.backup.physical.model import AtTime, LocalStore, Repository, Settings
from homeport.backup.restores import fresh
from homeport.backup.restores.model import Place, target_document
from homeport.backup.toolbox import Toolbox
from homeport.database.fake import FakeSecrets
from homeport.database.pool import Pooler
from homeport.database.service import Databases
from homeport.database.state import DatabaseState
from homeport.journal.store import Store
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_database import Database

APP = "shop_production"
WHY: dict[str, Any] = {}


class Box(Toolbox):
    """The repositories of the home, without a vault."""

    @property
    def repositories(self) -> Any:
        store = LocalStore(Path(self.data_dir) / "repository1")
        settings = Settings((Repository("r1", store, Secret(PASSPHRASE)),))

        class Known:
            def for_clusters(self, *, synchronous: bool = False) -> Settings:
                return settings

        return Known()


class Shop:
    """A database with orders of customers, backed up; and a moment before they were spoilt."""

    def __init__(self) -> None:
        self.home = PhysicalHome()
        home = self.home
        store = Store(home.engine, home.clock)
        self.databases = Databases(home.data, store, home.services, FakeSecrets(), home.clock)
        ready = self.databases.ensure("shop", "production", (Database("main", extensions=("pg_trgm",)),), 2)
        self.url = ready[0].url.reveal()
        self.box = Box(home.data, DatabaseState(store), None, home.services, home.clock)
        with self.databases.connect_as_owner("shop", "production", "main") as owner:
            owner.execute("CREATE TABLE customers (id int PRIMARY KEY, name text)")
            owner.execute(
                "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                "customer int REFERENCES customers, note jsonb, twice bigint GENERATED ALWAYS AS (customer * 2) STORED)"
            )
            owner.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'"
            )
            owner.execute("INSERT INTO customers SELECT g, 'c' || g FROM generate_series(1, 50) g")
            owner.execute("INSERT INTO orders (customer, note) SELECT g, '{}' FROM generate_series(1, 50) g")
            owner.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        home.sql(f"ALTER DATABASE {APP} SET work_mem = '7MB'")
        home.backups.backup()
        time.sleep(0.1)
        self.moment = datetime.now(UTC)
        time.sleep(0.1)
        self.number = 0

    def place(self) -> Place:
        self.number += 1
        at = datetime.now(UTC).replace(second=self.number)
        run = f"b-{self.number:010x}"
        return Place.for_run(
            run, at, app="shop", environment="production", name="main", cluster="main", database=APP
        )

    def work(self, what: str, place: Place, **more: Any) -> Any:
        request = {
            "cluster": "main",
            "run": place.run,
            "target": target_document(AtTime(self.moment)),
            "place": place.document(),
            "switches": True,
            "why": WHY,
            **more,
        }
        return works.WORKS[f"restore-{what}"](self.box, request, lambda kind, values: None)

    def left(self) -> list[str]:
        """Processes, copies of the cluster and databases that are there besides what is kept."""
        cluster = self.home.data / "postgresql" / "main"
        copies = [p.name for p in cluster.iterdir() if p.name.startswith("restored-")]
        found = self.home.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%new%'")
        return [*self.home.left(), *copies, *(name for (name,) in found)]

    def shape(self, database: str = APP) -> Any:
        """Owner, rights, settings and limit of a database, and of what is in it."""
        outside = self.home.sql(
            "SELECT d.datdba::regrole, d.datconnlimit, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(d.datacl) a), "
            "(SELECT array_agg((setrole::regrole, setconfig)::text ORDER BY 1) FROM pg_db_role_setting WHERE setdatabase = d.oid) "
            f"FROM pg_database d WHERE datname = '{database}'"
        )
        inside = self.home.sql(
            "SELECT n.nspname, n.nspowner::regrole, n.nspacl::text, c.relname, c.relowner::regrole, c.relacl::text "
            "FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'S') "
            "WHERE n.nspname IN ('public', 'homeport') ORDER BY 1, 4",
            database,
        )
        more = self.home.sql(
            "SELECT 'extension', extname, extowner::regrole::text FROM pg_extension UNION ALL "
            "SELECT 'default', defaclrole::regrole::text, defaclacl::text FROM pg_default_acl ORDER BY 1, 2, 3",
            database,
        )
        return outside, inside, more


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    it = Shop()
    try:
        yield it
    finally:
        it.home.end()


class Writing(threading.Thread):
    """An app's statements through the pooler, one after another on connections of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._over = threading.Event()
        self.failed: list[str] = []
        self.done = 0

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
            while not self._over.is_set():
                try:
                    connection.execute("UPDATE customers SET name = name || 'x' WHERE id = 1")
                    self.done += 1
                except psycopg.Error as e:
                    self.failed.append(str(e))

    def end(self) -> None:
        self._over.set()
        self.join()


def test_in_place(shop: Shop) -> None:
    before = shop.shape()
    shop.home.sql("DELETE FROM orders WHERE id > 10; UPDATE customers SET name = 'spoilt' WHERE id = 7", APP)
    place = shop.place()

    shop.work("copy", place)
    found = shop.work("compare", place)
    assert {
        loss["table"]: (loss["now"], loss["then"], loss["lost"], loss["back"], loss["changed"])
        for loss in found["losses"]
    } == {
        "public.orders": (10, 50, 0, 40, 0),
        "public.customers": (50, 50, 0, 0, 1),
    }

    writing = Writing(shop.url)
    writing.start()
    try:
        taken = shop.work("take", place)
        switched = shop.work("switch", place)
        done = writing.done
        until(lambda: writing.done > done or writing.failed)
    finally:
        writing.end()
    assert writing.failed == []
    assert (taken["tables"], taken["rows"]) == (2, 100)
    assert shop.home.sql("SELECT count(*) FROM orders", APP) == [(50,)]
    assert shop.home.sql("SELECT name FROM customers WHERE id = 7", APP) == [("c7",)]
    assert shop.shape() == before

    # Made again, it changes nothing.
    assert shop.work("switch", place)["kept"] == switched["kept"] == place.before
    shop.work("tidy", place)
    assert shop.left() == []
    [kept] = shop.work("kept", place)["kept"]
    assert (kept["name"], kept["app"], kept["kind"]) == (place.before, "shop", "database")
    assert shop.home.sql("SELECT count(*) FROM orders", place.before) == [(10,)]
    of = {"app": "shop", "environment": "production", "name": place.before}
    with pytest.raises(HomeportError, match="was not repeated"):
        shop.work("drop", place, **of, confirm=APP)
    with pytest.raises(HomeportError, match="no restore has kept it"):
        shop.work("drop", place, **(of | {"name": APP}), confirm=APP)
    shop.work("drop", place, **of, confirm=place.before)
    assert shop.work("kept", place)["kept"] == []


class Killed(BaseException):
    pass


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


CUT: list[tuple[Any, str, str]] = [
    (fresh, "give_same_rights", "take"),
    (works.contents, "both", "take"),
    (fresh, "set_limit", "switch"),
    (fresh, "_rename", "switch"),
    (fresh, "_settle", "switch"),
]


def test_cut_off_and_done_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.place()
    shop.work("copy", first)
    for where, what, work in CUT:
        place = replace(first, before=shop.place().before)
        shop.home.sql("DELETE FROM orders WHERE id > 10", APP)
        if work == "switch":
            shop.work("take", place)
        with monkeypatch.context() as patched:
            patched.setattr(where, what, _die)
            # As after kill -9: nobody lets the clients go on.
            patched.setattr(Pooler, "resume", lambda self, database: None)
            patched.setattr(fresh, "_undo_limit", lambda *_: None)
            with pytest.raises(Killed):
                shop.work(work, place)
        for again in ("take", "switch") if work == "take" else ("switch",):
            shop.work(again, place)
        with psycopg.connect(shop.url, prepare_threshold=None) as app:
            row = app.execute("SELECT count(*) FROM orders").fetchone()
            assert row == (50,), what
        shop.work(
            "drop", place, app="shop", environment="production", name=place.before, confirm=place.before
        )
    shop.work("tidy", first)
    assert shop.left() == []


def test_cut_off_and_given_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What served serves on, with its connections, and nothing is left."""
    place = shop.place()
    before = shop.shape()
    shop.work("copy", place)
    shop.work("take", place)
    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "transaction", _die)
        patched.setattr(Pooler, "resume", lambda self, database: None)
        patched.setattr(fresh, "_undo_limit", lambda *_: None)
        with pytest.raises(Killed):
            shop.work("switch", place)
    shop.work("tidy", place)
    assert shop.shape() == before
    with psycopg.connect(shop.url, prepare_threshold=None) as app:
        app.execute("SELECT 1")
    assert shop.left() == []
    assert shop.work("kept", place)["kept"] == []


def test_tables_beside_and_merged(shop: Shop) -> None:
    """A dropped table, and one with rows missing, changed and new."""
    sequence = "SELECT last_value FROM orders_id_seq"
    keys = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    foreign = shop.home.sql(keys, APP)
    shop.home.sql(
        "ALTER TABLE orders DISABLE TRIGGER refuse; DELETE FROM orders WHERE id > 40; "
        "UPDATE orders SET note = '{\"a\": 1}' WHERE id <= 5; INSERT INTO orders (customer) VALUES (1); "
        "ALTER TABLE orders ENABLE TRIGGER refuse; DROP TABLE customers CASCADE; SELECT setval('orders_id_seq', 3)",
        APP,
    )
    place = shop.place()
    shop.work("copy", place)
    with pytest.raises(HomeportError, match="there was no such table"):
        shop.work("tables", place, tables=["nothing"])
    found = shop.work("tables", place, tables=["customers", "public.orders"])
    shop.work("tidy", place, switches=False)
    assert shop.left() == []
    differences = {
        d["table"]: (d["now"], d["then"], d["missing"], d["changed"], d["extra"])
        for d in found["differences"]
    }
    assert differences == {"public.customers": (None, 50, 50, 0, 0), "public.orders": (41, 50, 10, 5, 1)}
    of = {"app": "shop", "environment": "production", "database": "main", "schema": found["schema"]}
    shop.home.sql("CREATE UNIQUE INDEX once ON orders ((id % 5)) WHERE id BETWEEN 41 AND 50", APP)
    with pytest.raises(HomeportError, match='unique constraint "once"') as caught:
        shop.work("merge", place, **of, missing=True, changed=True)
    assert "table public.orders" in caught.value.sentence
    assert "Key (" not in caught.value.sentence and not caught.value.details  # DETAIL has values of rows
    shop.home.sql("DROP INDEX once", APP)
    merged = shop.work("merge", place, **of, missing=True, changed=True)["merged"]
    assert [(m["table"], m["inserted"], m["updated"], m["created"], m["problems"]) for m in merged] == [
        ("public.customers", 50, 0, True, []),
        ("public.orders", 10, 5, False, []),
    ]
    assert shop.home.sql(keys, APP) == foreign
    assert shop.home.sql("SELECT count(*), count(*) FILTER (WHERE note = '{}') FROM orders", APP) == [
        (51, 50)
    ]
    assert shop.home.sql(sequence, APP)[0][0] >= 51
    with psycopg.connect(shop.url, prepare_threshold=None) as app:
        assert app.execute("SELECT count(*) FROM customers").fetchone() == (50,)
    shop.work("drop", place, app="shop", environment="production", name=place.side, confirm=place.side)
    assert shop.work("kept", place)["kept"] == []


def test_a_table_whose_rows_cannot_be_told_apart_keeps_no_other_back(shop: Shop) -> None:
    shop.home.sql(
        "DELETE FROM orders; DELETE FROM customers WHERE id > 40; ALTER TABLE orders DROP CONSTRAINT orders_pkey",
        APP,
    )
    place = shop.place()
    shop.work("copy", place)
    compared = shop.work("compare", place)["losses"]
    found = shop.work("tables", place, tables=["customers", "orders"])
    shop.work("tidy", place, switches=False)
    why = "it has no primary key"
    told = {d["table"]: (d["missing"], d.get("why", "")) for d in found["differences"]}
    assert told == {"public.customers": (10, ""), "public.orders": (None, why)}
    assert {k["table"]: (k["back"], k["why"]) for k in compared} == {
        "public.customers": (10, ""),
        "public.orders": (None, why),
    }
    of = {"app": "shop", "environment": "production", "database": "main", "schema": found["schema"]}
    merged = shop.work("merge", place, **of, missing=True, changed=True)["merged"]
    assert [(m["table"], m["inserted"], m["left"]) for m in merged] == [
        ("public.customers", 10, ""),
        ("public.orders", 0, why),
    ]
    shop.home.sql("ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE", APP)
    with pytest.raises(HomeportError, match="cannot tell which rows of public") as e:
        shop.work("merge", place, **of, missing=True, changed=False)
    assert place.side in (e.value.hint or "")


def test_kept_databases_go_with_what_they_were_of(shop: Shop) -> None:
    place = shop.place()
    shop.work("copy", place)
    shop.work("take", place)
    shop.work("switch", place)
    shop.work("tidy", place)
    shop.databases.drop("shop", "production", Database("main"), confirm=APP)
    assert shop.home.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%'") == []
    assert shop.home.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'shop%'") == []
