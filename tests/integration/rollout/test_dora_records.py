"""The measures, out of a real state.db."""

from datetime import UTC, datetime, timedelta

import pytest

from homeport.journal import schema
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, ReleaseId
from homeport.rollout import dora_records, events
from homeport.rollout.dora import Spread
from homeport.rollout.model import Commit, Release, ReleaseState
from homeport.rollout.state import State, ensure_environment, insert_release

SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class SetClock:
    time = NOW - timedelta(days=3)

    def now(self):
        return self.time

    def monotonic(self):
        return self.time.timestamp()

    def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def state(tmp_path, clock):
    engine = open_engine(tmp_path / "state.db")
    yield State(Store(engine, clock))
    engine.dispose()


def promote(state, clock, n, environment=PRODUCTION):
    release, change = ReleaseId(f"r{n}"), ChangeId(f"c-{environment}-{n}")
    common = {"app": SHOP, "environment": environment, "change": change}
    with state.store.transaction("ann") as tx:
        ensure_environment(tx, SHOP, environment)
        if environment == PRODUCTION:
            commit = Commit(f"{n}" * 8, "", False, "ann", clock.now() - timedelta(hours=n))
            insert_release(
                tx, Release(SHOP, release, commit, "", ReleaseState.READY, "", 1, 1.0, clock.now(), change)
            )
        tx.append(events.ChangeStarted(what="deploy", release=release, before=None, **common))
        tx.append(events.ReleasePromoted(release=release, before=None, **common))
        tx.append(
            events.ChangeFinished(
                what="deploy", verdict="promoted", release=release, serving=release, seconds=1.0, **common
            )
        )


def passed(state, clock, run, app=SHOP):
    with state.store.transaction("ann") as tx:
        ensure_environment(tx, app, PRODUCTION)
        values = {
            "id": run,
            "app": app,
            "number": 1,
            "commit": "1" * 8,
            "subject": "",
            "author": "",
            "branch": "main",
        }
        values |= {
            "archive": "",
            "spec": "",
            "cause": "push",
            "actor": "ann",
            "state": "passed",
            "attempt": 1,
        }
        tx.execute(schema.pipeline_runs.insert().values(**values, created_at=text_time(tx.now)))
        for position, kind, seconds in ((0, "check", 20), (1, "build", None)):
            tx.execute(
                schema.stage_runs.insert().values(
                    run=run, position=position, attempt=1, kind=kind, name=kind, found={},
                    state="passed" if seconds else "running", started_at=text_time(tx.now),
                    finished_at=text_time(tx.now + timedelta(seconds=seconds)) if seconds else None,
                )
            )  # fmt: skip


def test_the_measures_of_one_environment_come_out_of_the_journal(state, clock):
    promote(state, clock, 1)
    clock.sleep(86_400)
    promote(state, clock, 2)
    promote(state, clock, 2, EnvironmentName("staging"))
    passed(state, clock, "p-1")
    passed(state, clock, "p-2", AppName("other"))
    found = dora_records.measure(state, SHOP, PRODUCTION, since=NOW - timedelta(days=30), until=NOW)
    assert (found.deployments, found.failure_rate) == (2, 0.0)
    assert found.per_day == pytest.approx(2 / 3)
    assert found.lead_time == Spread(2, 1.5 * 3600, None)
    assert [(s.name, s.passed, s.seconds.median) for s in found.stages] == [("check", 1, 20.0)]
    later = dora_records.measure(state, SHOP, PRODUCTION, since=NOW - timedelta(hours=1), until=NOW)
    assert later.deployments == 0 and later.stages == ()


def test_who_asks_for_what_is_not_there_is_told(state, clock):
    with pytest.raises(HomeportError) as e:
        dora_records.measure(state, SHOP, PRODUCTION, since=NOW - timedelta(days=1), until=NOW)
    assert e.value.code == "rollout.unknown_app"
