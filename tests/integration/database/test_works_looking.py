"""Looks at databases, and upkeep, as a child does them: by the superuser, and by the URL of one that is attached."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from database_home import DatabaseHome, connect

from homeport.database import machine, urls
from homeport.database.model import Layout
from homeport.database.works import WORKS
from homeport.database.works_looking import GROWTH
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

SCHEMA = (
    "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)",
    "INSERT INTO orders (note) SELECT repeat('x', 100) FROM generate_series(1, 5000)",
    "CREATE INDEX doubled ON orders (id)",
    "CREATE TABLE small (id int)",
    "ANALYZE",
)
UPKEEP = {
    "name": "night",
    "kind": "analyze",
    "target": "orders",
    "schedule": "0 3 * * *",
    "timezone": "UTC",
    "timeout": 30.0,
}


class Seen:
    """A server with a database that Homeport made, and one of somebody else's."""

    def __init__(self, home: DatabaseHome) -> None:
        self.home = home
        self.app_url = home.ensure()
        home.as_owner(*SCHEMA)
        self.cluster = home.databases.state.cluster("main")
        assert self.cluster is not None
        self.layout = Layout(home.data, "main")
        self.admin = home.databases.admin_url("shop", "production", "main")
        with home.databases.connect_as_admin("shop", "production", "main") as c:
            c.execute("CREATE ROLE them LOGIN PASSWORD 'p%/@ss'")
            c.execute("CREATE DATABASE theirs OWNER them")
        self.theirs = f"postgresql://them:p%25%2F%40ss@127.0.0.1:{self.cluster.port}/theirs"
        with connect(self.theirs) as connection:
            for statement in SCHEMA:
                connection.execute(statement)

    def provisioned(self, **more: Any) -> dict[str, Any]:
        return {"engine": "postgresql", "admin": self.admin, **more}

    def attached(self, **more: Any) -> dict[str, Any]:
        return {"engine": "postgresql", "url": self.theirs, **more}


def do(work: str, request: dict[str, Any]) -> Any:
    return WORKS[work](request, lambda kind, values: None, RealClock())


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    home = DatabaseHome()
    try:
        yield Seen(home)
    finally:
        home.end()


def test_servers_poolers_and_attached_databases_say_how_they_are(seen):
    assert seen.cluster is not None
    console = urls.console(seen.layout, seen.cluster, machine.ourselves())
    nowhere = f"host='{seen.layout.sockets}' port=1 user=x dbname='y'"
    with connect(seen.app_url) as client:
        client.execute("SELECT 1")
        found = do(
            "servers",
            {
                "servers": {"main": urls.admin(seen.layout, seen.cluster), "gone": nowhere},
                "poolers": {"main": console, "gone": nowhere},
                "attached": {"theirs": seen.theirs, "wrong": seen.theirs.replace("p%25", "q")},
            },
        )
    database = found["servers"]["main"]["databases"]["shop_production"]
    assert database["bytes"] > 1_000_000 and database["used"] >= 1 and database["limit"] > 0
    assert found["poolers"]["main"]["clients"]["shop_production"] == 1
    assert found["poolers"]["main"]["held"] == []
    theirs = found["attached"]["theirs"]
    assert theirs["database"] == "theirs" and theirs["version"] >= 150000
    assert "p%" not in str(found) and "q%2F" not in str(found), "no password is told"
    for part, key in (("servers", "gone"), ("poolers", "gone"), ("attached", "wrong")):
        assert found[part][key]["problem"].startswith("cannot "), (part, key)


@pytest.mark.parametrize("place", [Seen.provisioned, Seen.attached])
def test_sizes_are_by_table_and_index_the_largest_first(seen, place):
    found = do("sizes", place(seen))
    orders, small = found["tables"]
    assert (orders["name"], small["name"]) == ("public.orders", "public.small")
    assert {i["name"] for i in orders["indexes"]} == {"public.orders_pkey", "public.doubled"}
    assert orders["bytes"] > 500_000 and orders["rows"] == 5000 and found["exact"]
    assert found["bytes"] > orders["bytes"]


def test_a_locked_table_holds_up_no_look_at_sizes(seen):
    with connect(seen.theirs) as holder, holder.transaction():
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        found = do("sizes", seen.attached())
    assert not found["exact"]
    assert next(t for t in found["tables"] if t["name"] == "public.orders")["bytes"] > 500_000


def test_insight_with_the_sizes_of_another_day(seen):
    before = do("snapshot", seen.provisioned())
    before["at"] = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    direct = seen.app_url.replace(f":{seen.cluster.pooler_port}/", f":{seen.cluster.port}/")
    found = do("insight", seen.provisioned(rules=None, planner=direct, before=before))
    assert "duplicate-index" in {f["rule"] for f in found["findings"]}
    assert found["growth"]["before"] == before["bytes"] and GROWTH in found["rules"]
    assert GROWTH not in {s["rule"] for s in found["skipped"]}
    only = do("insight", seen.provisioned(rules=[GROWTH], planner=None, before=None))
    assert only["rules"] == [GROWTH] and only["growth"] is None
    assert [s["rule"] for s in only["skipped"]] == [GROWTH]
    with pytest.raises(HomeportError) as e:
        do("insight", seen.provisioned(rules=["no-such"], planner=None, before=None))
    assert e.value.code == "database.unknown_rule"


def test_insight_of_an_attached_database_says_what_it_may_not_see(seen):
    found = do("insight", seen.attached(rules=None, planner=None, before=None))
    assert "duplicate-index" in {f["rule"] for f in found["findings"]}
    reasons = {s["rule"]: s["reason"] for s in found["skipped"]}
    assert reasons["lock-tree"].startswith("not permitted")
    assert reasons["slow-query"] == "the extension pg_stat_statements is not installed in this database"


def test_insight_goes_on_without_a_connection_that_plans(seen):
    found = do("insight", seen.provisioned(rules=None, planner="postgresql://127.0.0.1:1/x", before=None))
    assert found["findings"]


def test_upkeep_acts_as_the_owner(seen):
    with seen.home.databases.owner_url("shop", "production", "main") as url:
        request = {"url": url.reveal(), "admin": seen.admin, "upkeep": UPKEEP}
        assert do("upkeep", request)["state"] == "done"
        missing = UPKEEP | {"target": "not_there"}
        assert do("upkeep", request | {"upkeep": missing})["state"] == "refused"
    with pytest.raises(HomeportError) as e:
        do("upkeep", request)
    assert e.value.sentence.startswith("cannot "), "the login is good inside only"


def test_a_reader_sees_what_is_there_and_may_change_nothing(seen):
    with seen.home.databases.reader_url("shop", "production", "main") as url:
        with connect(url.reveal()) as reader:
            assert reader.execute("SELECT count(*) FROM orders").fetchone() == (5000,)
            reader.execute("SET default_transaction_read_only = off")
            for statement in ("DELETE FROM orders", "CREATE TABLE mine (id int)", "SELECT * FROM pg_authid"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(statement)
    with pytest.raises(psycopg.OperationalError):
        connect(url.reveal())
