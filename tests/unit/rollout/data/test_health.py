"""What is told of databases that are not well."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.database.fake import FakeStatus
from homeport.database.model import Cluster, Provisioned
from homeport.kernel.errors import ErrorType, Kind
from homeport.rollout.data import contracts, health
from homeport.system import files

AT = datetime(2026, 11, 21, tzinfo=UTC)
CLUSTER = Cluster("main", 15, "ready", 5000, 5001, False)
ROW = Provisioned(
    "shop",
    "production",
    "main",
    "main",
    "shop_production",
    "ready",
    "a",
    None,
    "transaction",
    None,
    2,
    (),
    AT,
)
BROKEN = ErrorType("test.no_supervisor", Kind.FAILED, "for this test")


@dataclass
class World:
    """Enough of ``Parts``."""

    running: dict[str, bool]
    rows: tuple[Provisioned, ...] = (ROW,)
    clusters: tuple[Cluster, ...] = (CLUSTER,)
    contracts: tuple[Any, ...] = ()
    free: int = 10**12
    stuck: tuple[Any, ...] = ()

    def status(self, name: str) -> FakeStatus | None:
        if not self.running:
            raise BROKEN.error("cannot ask")
        if name not in self.running:
            return None
        return FakeStatus(name, self.running[name], 1, "" if self.running[name] else "killed by SIGKILL")

    def problems(self) -> list[tuple[str, bool]]:
        state = SimpleNamespace(databases=lambda: self.rows, clusters=lambda: self.clusters)
        parts: Any = SimpleNamespace(
            data_dir=Path("/h"),
            stores=SimpleNamespace(state=state, services=self),
            state=SimpleNamespace(store=self.contracts),
        )
        rotations: Any = SimpleNamespace(stuck=lambda: self.stuck)
        found = health.problems(parts, rotations)
        assert all(p.sentence and p.hint for p in found)
        return [(p.what, p.is_down) for p in found]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    it = World({"postgresql.main": True, "pgbouncer.main": True})
    monkeypatch.setattr(contracts, "all_of", lambda store, app=None: store)
    monkeypatch.setattr(files, "free_bytes", lambda path: it.free)
    monkeypatch.setattr(health.machine, "memory", lambda: 8 * 10**9)
    return it


def test_nothing_is_told_where_all_is_well(world):
    assert world.problems() == []


def test_a_server_and_a_pooler_that_do_not_run(world):
    world.running = {"postgresql.main": False, "pgbouncer.main": True}
    assert world.problems() == [("postgresql.main", True)]
    world.running = {"postgresql.main": True}
    assert world.problems() == [("pgbouncer.main", True)]


def test_no_pooler_is_missed_where_none_is_wanted(world):
    world.running = {"postgresql.main": True}
    world.rows = (Provisioned(**{f: getattr(ROW, f) for f in ROW.__slots__} | {"pool": "none"}),)
    assert world.problems() == []


def test_without_a_supervisor_nothing_is_known_of_servers(world):
    world.running = {}
    assert world.problems() == []


def test_a_short_disk_is_told_only_where_there_is_a_server(world):
    world.free = 10**6
    assert world.problems() == [("disk", False)]
    world.clusters, world.rows = (), ()
    assert world.problems() == []


def test_contracts_that_failed_and_rotations_that_do_not_end(world):
    failed = contracts.Contract("shop", "production", "r2", "main", ("3",), contracts.FAILED)
    waiting = contracts.Contract("shop", "production", "r2", "main", ("4",), contracts.WAITING)
    world.contracts, world.stuck = (failed, waiting), ((ROW, "2 instances may have it"),)
    assert world.problems() == [("migrations", False), ("rotation", False)]
