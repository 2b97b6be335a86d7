"""What became of a release, from what the state holds."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from homeport.api.services import became
from homeport.journal import schema
from homeport.journal.store import Store, open_engine, text_time
from homeport.rollout.model import ChangeKind, Failure, ReleaseState
from homeport.rollout.state import State, mark_left_as_bad

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
FAILED = Failure("rollout.not_ready", "cannot use it")


def release(state=ReleaseState.READY):
    return SimpleNamespace(state=state)


def change(done=True, failure=None, kind=ChangeKind.DEPLOY):
    return SimpleNamespace(done=done, failure=failure, kind=kind)


@pytest.mark.parametrize(
    ("state", "serves", "well", "last", "expected"),
    [
        (ReleaseState.READY, True, True, None, ("serves", None)),
        (ReleaseState.READY, False, True, None, ("served", None)),
        (ReleaseState.PRUNED, False, True, None, ("served", None)),
        (ReleaseState.READY, False, False, None, ("served", "a rollback left it")),
        (ReleaseState.READY, False, None, change(failure=FAILED), ("never served", "cannot use it")),
        (ReleaseState.PRUNED, False, None, change(failure=FAILED), ("never served", "cannot use it")),
        (ReleaseState.READY, False, None, None, ("never served", None)),
        (ReleaseState.READY, False, None, change(kind=ChangeKind.BUILD), ("built", None)),
        (ReleaseState.FAILED, False, None, change(failure=FAILED), ("build failed", "cannot use it")),
        (ReleaseState.BUILDING, False, None, change(done=False), ("in progress", None)),
        (ReleaseState.READY, False, None, change(done=False, failure=FAILED), ("in progress", None)),
    ],
)
def test_what_became_of_a_release(state, serves, well, last, expected):
    assert became(release(state), serves, well, last) == expected


@pytest.fixture
def state(tmp_path):
    clock = SimpleNamespace(now=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda s: None)
    engine = open_engine(tmp_path / "state.db")
    with engine.begin() as c:
        c.execute(schema.apps.insert().values(name="shop", created_at=NOW.isoformat()))
    yield State(Store(engine, clock))
    engine.dispose()


def add_change(tx, id, release, app="shop", minutes=0):
    goal = {
        "release": release, "wants": [], "strategy": "rolling", "batch": 1, "config": None, "fresh": False,
        "variables": {}, "archive": None,
    }  # fmt: skip
    at = text_time(NOW + timedelta(minutes=minutes))
    tx.execute(
        schema.changes.insert().values(
            id=id,
            kind="deploy",
            app=app,
            environment="production",
            state="done",
            goal=goal,
            actor="ada",
            started_at=at,
        )
    )


def promote(tx, id, release, app="shop"):
    tx.execute(
        schema.deployments.insert().values(
            app=app,
            environment="production",
            release=release,
            variables={},
            well=True,
            promoted_at=NOW.isoformat(),
            change=id,
        )
    )


def test_the_newest_change_to_a_release_is_found(state):
    with state.store.transaction("ada") as tx:
        add_change(tx, "c-1", "r1", minutes=1)
        add_change(tx, "c-2", "r1", minutes=3)
        add_change(tx, "c-3", "r11", minutes=4)
        add_change(tx, "c-4", "r1", app="blog", minutes=5)
        add_change(tx, "c-5", "r1", minutes=2)
    assert state.last_change_to("shop", "r1").id == "c-2"
    assert state.last_change_to("shop", "r2") is None


def test_whether_a_release_served_and_was_left(state):
    with state.store.transaction("ada") as tx:
        promote(tx, "c-1", "r1")
        promote(tx, "c-2", "r2")
        promote(tx, "c-3", "r2", app="blog")
        mark_left_as_bad(tx, "shop", "production", "r1")
    assert [state.served_well("shop", r) for r in ("r1", "r2", "r3")] == [False, True, None]
    with state.store.transaction("ada") as tx:
        promote(tx, "c-4", "r1")
    assert state.served_well("shop", "r1") is True
