"""What children do to bring back a database that somebody else runs: in place, beside, and where rights are missing."""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from files_home import FilesHome
from postgres import PORT, PROGRAMS, Postgres

from homeport.backup import works_restore_dumps as works
from homeport.backup.files.dumps import Dumps
from homeport.backup.files.service import FileBackups
from homeport.backup.restores import fresh
from homeport.backup.restores.model import Place
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

SERVER = """
CREATE ROLE app LOGIN CREATEDB PASSWORD 'hush-hush';
CREATE ROLE weak LOGIN PASSWORD 'hush-hush';
CREATE ROLE reader;
CREATE DATABASE theirs OWNER app;
ALTER DATABASE theirs SET work_mem = '7MB';
REVOKE CONNECT ON DATABASE theirs FROM PUBLIC;
GRANT CONNECT ON DATABASE theirs TO reader, weak;
GRANT CREATE ON DATABASE theirs TO weak;
"""
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text);
INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, 50) n;
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customers, note text);
INSERT INTO orders (customer, note) SELECT n, 'x' FROM generate_series(1, 50) n;
GRANT SELECT ON customers TO reader;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO weak;
CREATE TABLE homeport_migrations (version text);
"""
NOTED = """
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted();
"""
WHY: dict[str, Any] = {}


class Vault:
    """The URLs, by the name of the secret."""

    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = urls

    def reveal(self, app: str, environment: str, name: str) -> str:
        return self._urls[name]


@dataclass
class Box:
    vault: Vault
    home: FilesHome

    @property
    def clock(self) -> Clock:
        return self.home.clock

    @property
    def repositories(self) -> Any:
        class Known:
            def list(self) -> list[SimpleNamespace]:
                return [SimpleNamespace(name="r1")]

            def get(self, name: str) -> SimpleNamespace:
                return SimpleNamespace(name=name)

        return Known()

    def files(self, rate: int | None = None) -> FileBackups:
        return self.home.backups


class Reports:
    """A database of others with a dump, and what was done to it since."""

    def __init__(self, server: Postgres) -> None:
        self.server, self.home = server, FilesHome()
        host = quote(str(server.socket), safe="")
        urls = {
            f"{role.upper()}_URL": f"postgresql://{role}:hush-hush@/theirs?host={host}&port={PORT}"
            for role in ("app", "weak")
        }
        self.box: Any = Box(Vault(urls), self.home)
        for statement in SERVER.split(";\n"):
            self.sql(statement, "postgres")
        self.sql(f"SET ROLE app; {TABLES}")
        self.sql(NOTED)
        self.home.backups.prepare()
        dumps = Dumps(self.home.backups, self.home.clock)
        [self.made] = dumps.backup("shop", "production", "reports", Secret(urls["APP_URL"]), PROGRAMS)
        time.sleep(0.01)
        self.number = 0

    def sql(self, statement: str, database: str = "theirs") -> list[Any]:
        with psycopg.connect(self.server.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def spoil(self) -> None:
        self.sql("INSERT INTO homeport_migrations SELECT 'after the dump'")
        self.sql("DELETE FROM orders WHERE id > 40")
        self.sql("UPDATE customers SET name = 'oops' WHERE id <= 5")

    def rows(self) -> tuple[int, int]:
        return self.sql("SELECT (SELECT count(*) FROM orders), count(*) FROM customers WHERE name = 'oops'")[
            0
        ]

    def names(self) -> set[str]:
        return {n for (n,) in self.sql("SELECT datname FROM pg_database WHERE NOT datistemplate", "postgres")}

    def request(self, role: str = "app", **more: Any) -> dict[str, Any]:
        named = {"app": "shop", "environment": "production", "database": "reports"}
        return {**named, "secret": f"{role.upper()}_URL", "problems": [], **more}

    def chosen(self, role: str = "app", way: str = "in place", at: str | None = None) -> dict[str, Any]:
        asked = self.request(role, at=at, label="", repository="r1", way=way)
        found: dict[str, Any] = works.choose(self.box, asked, silent)
        return found

    def run(self, role: str = "app") -> dict[str, Any]:
        """The request of a run's steps."""
        self.number += 1
        at = datetime.now(UTC).replace(second=self.number)
        place = Place.for_run(
            f"b-{self.number:010x}", at, app="shop", environment="production", name="reports", cluster="",
            database="theirs",
        )  # fmt: skip
        dump = {"repository": "r1", "snapshot": self.made.snapshot, "at": "", "served": "theirs"}
        return self.request(role, place=place.document(), switches=True, why=WHY, **dump)


def silent(kind: str, values: Any) -> None:
    return None


@pytest.fixture(scope="module")
def reports() -> Iterator[Reports]:
    with Postgres(settings={"fsync": "off"}) as server, pytest.MonkeyPatch.context() as patch:
        # A server of ours to unpack dumps in.
        patch.setattr(works, "_cluster", lambda box: server.dsn())
        patch.setattr(
            "homeport.system.clock.RealClock.sleep", lambda self, seconds: time.sleep(min(seconds, 0.05))
        )
        found = Reports(server)
        # What somebody without the right to look, in a server with others, must not stumble over.
        found.sql("CREATE DATABASE other_before_20260101t000000", "postgres")
        found.sql("REVOKE ALL ON DATABASE other_before_20260101t000000 FROM PUBLIC", "postgres")
        found.before = found.names()
        try:
            yield found
        finally:
            found.home.end()


def refused(code: str, *words: str) -> Any:
    def fits(e: HomeportError) -> bool:
        text = " ".join((e.sentence, e.hint or "", *e.details))
        return e.code == code and e.sentence.startswith("cannot ") and all(w in text for w in words)

    return pytest.raises(HomeportError, check=fits)


def test_what_cannot_be_is_named_with_the_right_that_is_missing(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused("restore.attached_database", 'ALTER ROLE "weak" CREATEDB', 'belongs to "app"', "--table"):
        reports.chosen("weak")
    assert reports.chosen("weak", "beside")["database"] == "theirs"
    assert 'ALTER ROLE "weak" CREATEDB' in str(reports.chosen("weak", "look")["in_place"])
    assert reports.chosen()["in_place"] == []
    with refused("restore.no_dump", "shop.production.reports"):
        reports.chosen(at="2020-01-01T00:00:00.000000Z")
    monkeypatch.setattr(works, "_version", lambda: 14)
    with refused("restore.server_newer", "PostgreSQL 15", "pg_restore here is 14"):
        reports.chosen()


def test_without_a_server_of_ours_rows_are_counted_and_tables_cannot_come_beside(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "_cluster", lambda box: None)
    with refused("backup.no_scratch_database", "without --table"):
        reports.chosen("weak", "beside")
    reports.sql("INSERT INTO customers VALUES (51, 'new')")
    found = works.compare(reports.box, reports.run(), silent)
    reports.sql("DELETE FROM customers WHERE id = 51")
    assert [(k["table"], k["now"], k["then"], k["lost"]) for k in found["losses"]] == [
        ("public.customers", 51, 50, None)
    ]
    assert "counted and not compared" in found["unsure"]


def test_in_place_and_what_served_is_kept(reports: Reports) -> None:
    reports.spoil()
    found = works.compare(reports.box, reports.run(), silent)
    losses = {k["table"]: (k["lost"], k["back"], k["changed"]) for k in found["losses"]}
    assert losses == {
        "public.orders": (0, 10, 0),
        "public.customers": (0, 0, 5),
        "public.homeport_migrations": (None, None, None),
    }
    assert found["migrations"] == ["after the dump"]
    assert reports.names() == reports.before and reports.rows() == (40, 5)

    run = reports.run()
    works.take(reports.box, run, silent)
    taken = works.take(reports.box, run, silent)  # after it was cut off
    assert (taken["rows"], taken["tables"], taken["migrations"]) == (100, 3, ["after the dump"])
    assert taken["left_out"] == ["EVENT TRIGGER noted"]
    assert reports.rows() == (40, 5)
    with psycopg.connect(reports.server.dsn("theirs", "app")) as app:
        done = works.switch(reports.box, run, silent)
        assert done["cut_off"] == 1
        with pytest.raises(psycopg.OperationalError):
            app.execute("SELECT 1")
    assert works.switch(reports.box, run, silent)["kept"] == done["kept"]
    works.tidy(reports.box, run, silent)
    assert reports.rows() == (50, 0)
    assert reports.names() == reports.before | {done["kept"]}
    assert reports.sql("SHOW work_mem") == [("7MB",)]
    rights = "SELECT has_table_privilege('reader', 'customers', 'SELECT'), has_database_privilege('reader', 'theirs', 'CONNECT')"
    assert reports.sql(rights) == [(True, True)]
    assert reports.sql("SELECT datconnlimit FROM pg_database WHERE datname = 'theirs'") == [(-1,)]

    kept, problems = works.kept(reports.box, [reports.request()])
    assert ([k["name"] for k in kept], problems) == ([done["kept"]], [])
    works.drop(reports.box, kept[0])
    assert reports.names() == reports.before and reports.home.left() == []


def test_a_switch_that_cannot_be_leaves_everybody_where_they_were(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else is in the database, and our login may not send them out."""
    run = reports.run()
    works.take(reports.box, run, silent)
    monkeypatch.setattr(fresh, "RENAMING", 0.0)
    with psycopg.connect(reports.server.dsn("theirs", "weak")) as other:
        other.execute("SELECT 1")
        with refused("restore.cannot_switch", "1 session(s) of weak are in theirs"):
            works.switch(reports.box, run, silent)
        other.execute("SELECT 1")
    works.tidy(reports.box, run, silent)
    assert reports.names() == reports.before
    assert reports.sql("SELECT datconnlimit FROM pg_database WHERE datname = 'theirs'") == [(-1,)]


def test_what_served_is_known_as_kept_though_the_switch_was_killed_before_it_said_so(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = reports.run()
    works.take(reports.box, run, silent)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fresh, "_settle", killed)
        works.switch(reports.box, run, silent)
    works.tidy(reports.box, run, silent)
    [kept] = works.kept(reports.box, [reports.request()])[0]
    assert kept["name"] == run["place"]["before"]
    works.drop(reports.box, kept)
    assert reports.names() == reports.before


def test_tables_beside_by_a_login_that_may_make_no_database(reports: Reports) -> None:
    reports.spoil()
    run = {**reports.run("weak"), "switches": False, "tables": ["orders", "customers"]}
    side = run["place"]["side"]
    works.tables(reports.box, run, silent)
    found = works.tables(reports.box, run, silent)  # after it was cut off
    differences = {d["table"]: (d["missing"], d["changed"], d["extra"]) for d in found["differences"]}
    assert differences == {"public.orders": (10, 0, 0), "public.customers": (0, 5, 0)}
    works.tidy(reports.box, run, silent)
    [kept] = works.kept(reports.box, [reports.request("weak")])[0]
    assert (kept["name"], kept["kind"]) == (side, "schema")

    merging = reports.request("weak", schema=side, missing=True, changed=True)
    with refused("restore.cannot_merge", "permission denied for sequence"):
        works.merge(reports.box, merging, silent)
    assert reports.rows() == (40, 5)
    reports.sql(f"ALTER SCHEMA {side} OWNER TO app")
    for table in ("orders", "customers"):
        reports.sql(f"ALTER TABLE {side}.{table} OWNER TO app")
    works.merge(reports.box, {**merging, "secret": "APP_URL"}, silent)
    assert reports.rows() == (50, 0)
    works.drop(reports.box, {**kept, "attached": reports.request()})
    assert works.kept(reports.box, [reports.request()]) == ([], [])


def test_tables_that_were_cut_off_go(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {**reports.run(), "switches": False, "tables": ["orders"]}

    with monkeypatch.context() as patch, refused("restore.not_as_copied", "orders"):
        patch.setattr(works.contents, "different", lambda one, other: ("orders",))
        works.tables(reports.box, run, silent)
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^restored_'"
    assert len(reports.sql(schemas)) == 1
    assert works.kept(reports.box, [reports.request()])[0] == []
    works.tidy(reports.box, run, silent)
    assert reports.sql(schemas) == []
    assert reports.names() == reports.before and reports.home.left() == []


def test_one_after_another_waits_for_files_of_backups(reports: Reports) -> None:
    """A backup that is under way when a restore begins is waited for."""
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with reports.home.backups.alone("back up"):
            begun.set()
            over.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(30)

    def say(kind: str, values: Any) -> None:
        assert "under way" in values["waits"]
        over.set()

    works.compare(reports.box, reports.run(), say)
    thread.join()
    assert over.is_set()
