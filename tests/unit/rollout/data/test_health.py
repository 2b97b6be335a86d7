"""What is told of databases that are not well."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.database.fake import FakeStatus
from homeport.database.model import Cluster, Provisioned
from homeport.kernel.errors import ErrorType, HomeportError, Kind
from homeport.rollout.backups import standing
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

    def parts(self, data: Path) -> Any:
        state = SimpleNamespace(databases=lambda: self.rows, clusters=lambda: self.clusters)
        return SimpleNamespace(
            data_dir=data,
            stores=SimpleNamespace(state=state, services=self),
            state=SimpleNamespace(store=self.contracts),
        )

    def found(self, data: Path) -> tuple[health.Problem, ...]:
        rotations: Any = SimpleNamespace(stuck=lambda: self.stuck)
        found = health.problems(self.parts(data), rotations)
        assert all(p.sentence and p.hint for p in found)
        return found

    def problems(self) -> list[tuple[str, bool]]:
        return [(p.what, p.is_down) for p in self.found(Path("/h"))]


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


def test_a_server_whose_files_are_gone_is_brought_back_with_its_cluster(world, tmp_path):
    """A deploy would not start it."""
    world.running = {"postgresql.main": False, "pgbouncer.main": True}
    (gone,) = world.found(tmp_path)
    assert "its files are gone" in gone.sentence and "homeport restore --cluster main --plan" in gone.hint
    assert "a deploy starts it" not in gone.hint
    directory = tmp_path / "postgresql" / "main" / "data"
    directory.mkdir(parents=True)
    (directory / "PG_VERSION").write_text("17")
    (down,) = world.found(tmp_path)
    assert f"{tmp_path}/logs/postgresql.main.log says why; a deploy starts it" in down.hint
    assert "where its files are damaged: homeport restore --cluster main --plan" in down.hint


@pytest.mark.parametrize(
    ("running", "files", "says"),
    [
        (True, False, "does not run (its files are gone)"),
        (False, True, "does not run (killed by SIGKILL)"),
        (True, True, ""),
    ],
)
def test_a_database_is_not_brought_back_into_a_server_that_is_down(world, tmp_path, running, files, says):
    world.running = {"postgresql.main": running}
    if files:
        directory = tmp_path / "postgresql" / "main" / "data"
        directory.mkdir(parents=True)
        (directory / "PG_VERSION").write_text("17")
    if not says:
        standing.must_run(world.parts(tmp_path), ROW)
        return
    with pytest.raises(HomeportError) as e:
        standing.must_run(world.parts(tmp_path), ROW)
    assert says in e.value.sentence and e.value.sentence.startswith("cannot take back ")
    assert "homeport restore --cluster main --plan" in (e.value.hint or "")
