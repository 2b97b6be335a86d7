"""What the keeper sees while others are at work: it neither tells of it wrongly nor gets in its way."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from homeport.journal.store import text_time
from homeport.kernel.ids import EnvironmentName
from homeport.rollout import liveness, state
from homeport.rollout.keeper import Keeper
from homeport.rollout.liveness import Liveness
from homeport.rollout.model import ReleaseState
from homeport.rollout.previews import state as table
from homeport.rollout.settings import Settings

PRODUCTION = EnvironmentName("production")
WEB, WORKER = "shop.production.r1.web.1", "shop.production.r1.worker.1"
HEARTBEAT = """
[app]
name = "shop"
[processes.web]
command = "serve"
[processes.worker]
command = "work"
[processes.worker.heartbeat]
file = "alive"
max_age = "10s"
[routes]
"shop.example.com" = "web"
"""


@pytest.fixture
def keeper(home):
    home.deployed(PRODUCTION)
    keeper = Keeper(home.parts, home.rollouts, Settings(home.parts))
    keeper.tick()
    keeper.tick()
    assert home.kinds() == []
    return keeper


def instance(home, name=WEB):
    return next(i for i in home.state.instances() if i.name == name)


def mark(home, name, *, retire=timedelta(0), drain=timedelta(0)):
    with home.store.transaction("ann") as tx:
        times = {"retire_at": text_time(tx.now + retire), "drain_until": text_time(tx.now + drain)}
        state.update_instance(tx, name, weight=0, **times)


def await_pools(keeper):
    keeper._pool.shutdown(wait=True)
    keeper._liveness._pool.shutdown(wait=True)


# What ended by itself


def test_a_process_that_ends_by_itself_has_crashed(home, keeper):
    home.runtime.end(WEB)
    keeper.tick()
    assert home.kinds() == ["instance.crashed"]


def test_one_that_a_change_stops_has_not(home, keeper):
    mark(home, WEB)
    home.runtime.end(WEB, "", for_good=True)
    keeper.tick()
    assert "instance.crashed" not in home.kinds()


def test_one_that_crashes_as_it_is_kept_warm_or_drains_has(home, keeper):
    mark(home, WEB, drain=timedelta(seconds=30))
    mark(home, WORKER, retire=timedelta(seconds=30), drain=timedelta(seconds=30))
    for name in (WEB, WORKER):
        home.runtime.end(name)
    keeper.tick()
    assert home.kinds().count("instance.crashed") == 2


def test_one_of_a_preview_that_goes_to_sleep_has_not(home, keeper):
    home.serving()
    keeper.tick()
    with home.store.transaction("ann") as tx:
        table.update(tx, *home.key, asleep=True)
    home.runtime.end("shop.preview-hats.r2.web.1", "", for_good=True)
    keeper.tick()
    assert "instance.crashed" not in home.kinds()


# The edge


def test_a_state_that_is_recorded_and_not_in_force_yet_is_no_edge_to_be_healed(home, keeper):
    with home.store.transaction("ann") as tx:
        state.update_instance(tx, WEB, weight=50)
    keeper.tick()
    keeper.tick()
    assert home.edge.state == home.parts.wanted_edge() and home.kinds() == []


def test_an_edge_that_does_something_else_is_healed(home, keeper):
    home.edge.state = replace(home.edge.state, services=())
    keeper.tick()
    assert home.edge.state == home.parts.wanted_edge() and home.kinds() == ["edge.healed"]


# What it stops


def test_a_stranger_is_stopped_at_the_second_sight(home, keeper):
    with home.store.transaction("ann") as tx:
        state.delete_instance(tx, WORKER)
    home.rollouts.restart("shop", PRODUCTION, actor="ann")  # so that none is started instead
    keeper.tick()
    assert WORKER in home.runtime.instances, "it may have been on its way out"
    keeper.tick()
    assert WORKER not in home.runtime.instances and home.kinds()[-1] == "instance.unowned_stopped"


def test_what_is_retired_is_stopped(home, keeper):
    mark(home, WORKER)
    keeper._stop(instance(home, WORKER))
    await_pools(keeper)
    assert WORKER not in home.runtime.instances and home.kinds() == ["instance.stopped"]


def test_what_a_rollback_has_put_back_since_is_not_stopped(home, keeper):
    as_it_was = instance(home)
    mark(home, WEB)
    retired = instance(home)
    with home.store.transaction("ann") as tx:
        state.update_instance(tx, WEB, weight=as_it_was.weight, retire_at=None, drain_until=None)
    keeper._stop(retired)
    await_pools(keeper)
    assert WEB in home.runtime.instances and instance(home) == as_it_was


def test_what_a_change_may_want_back_is_not_stopped(home, keeper):
    mark(home, WORKER)
    home.rollouts.restart("shop", PRODUCTION, actor="ann")
    keeper._stop(instance(home, WORKER))
    await_pools(keeper)
    assert WORKER in home.runtime.instances


def test_a_release_is_not_pruned_while_the_app_moves(home, keeper):
    release = home.state.release("shop", "r1")
    home.rollouts.restart("shop", PRODUCTION, actor="ann")
    keeper._prune(release)
    assert home.state.release("shop", "r1").state is ReleaseState.READY
    home.end(home.state.running()[0], well=False)
    keeper._prune(release)
    assert home.state.release("shop", "r1").state is ReleaseState.PRUNED


# Workers


def test_a_worker_that_is_slow_to_end_is_restarted_once(home, monkeypatch):
    home.deployed(PRODUCTION, spec=HEARTBEAT)
    monkeypatch.setattr(liveness.files, "modified_at", lambda path: None)
    may_end = threading.Event()
    stop = home.runtime.stop

    def slow(self, names):
        assert may_end.wait(10)
        stop(names)

    monkeypatch.setattr(type(home.runtime), "stop", slow)
    looks = Liveness(home.parts)
    home.clock.pass_(seconds=60)
    for _ in range(3):
        looks.look()
        assert looks.is_replacing(WORKER)
    may_end.set()
    looks._pool.shutdown(wait=True)
    assert home.kinds() == ["worker.unhealthy"]
    assert not looks.is_replacing(WORKER) and looks.has_replaced(WORKER)
    assert WORKER in home.runtime.instances
