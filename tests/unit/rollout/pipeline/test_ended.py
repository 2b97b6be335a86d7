"""Runs that are asked for, cancelled or tried again by several at once, and runs that are gone."""

import threading
from datetime import UTC, datetime

import pytest
from pipeline_values import ID, run

from homeport.journal.store import Store, open_engine
from homeport.kernel.ids import ChangeId
from homeport.rollout.pipeline import state
from homeport.rollout.pipeline.advance import AdvanceRuns
from homeport.rollout.pipeline.executor import Executor
from homeport.rollout.pipeline.model import RunState


class Clock:
    def now(self):
        return datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

    def monotonic(self):
        return 0.0

    def sleep(self, seconds):
        raise AssertionError("nothing is waited for")


class Parts:
    clock = Clock()


@pytest.fixture
def store(tmp_path):
    engine = open_engine(tmp_path / "state.db")
    made = Store(engine, Clock())
    with made.transaction("bob") as tx:
        tx.execute(state.schema.apps.insert().values(name="shop", last_release=0, created_at="2026-11-21"))
        state.insert_run(tx, run(RunState.FAILED))
    yield made
    engine.dispose()


def test_the_workflow_of_a_run_that_went_with_its_app_ends(store):
    with store.transaction("bob") as tx:
        state.forget_app(tx, run().app)
    runs = state.Runs(store)
    advance = AdvanceRuns(Parts(), runs, None, Executor(Parts(), None, runs, None, threading.Event()), None)
    assert advance(ChangeId(ID)) is True
    assert advance(ChangeId(f"{ID}.2")) is True


def test_a_run_that_has_ended_is_not_cancelled(store):
    with store.transaction("bob") as tx:
        assert not state.cancel_run(tx, ID, "bob")
        state.update_run(tx, ID, state=RunState.WAITING.value)
        assert state.cancel_run(tx, ID, "bob")
        assert not state.cancel_run(tx, ID, "anna")
    assert state.Runs(store).run(ID).cancel == "bob"


def test_a_run_that_moved_on_is_not_as_it_was(store):
    seen = state.Runs(store).run(ID)
    with store.transaction("bob") as tx:
        assert state.is_as_was(tx, seen)
        state.update_run(tx, ID, attempt=2)
        assert not state.is_as_was(tx, seen)
