"""Releases on trial as the control plane looks at them: what is recorded, and what follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeport.database.fake import FakeServices
from homeport.database.worker import Worker
from homeport.edge.fake import FakeEdge
from homeport.edge.model import Bind
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ChangeId, EnvironmentName, ReleaseId
from homeport.rollout import promotion, signals, state, trials
from homeport.rollout.advance import Advance
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.data.stores import Stores
from homeport.rollout.judge import Judge
from homeport.rollout.model import (
    Change,
    ChangeKind,
    Commit,
    Config,
    Failure,
    Goal,
    Instance,
    Release,
    ReleaseState,
    Want,
)
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.state import State
from homeport.rollout.steering import Steering
from homeport.rollout.trials import CANARY, WATCH, Decision
from homeport.runtime.fake import FakeLogReader, FakeRuntime

SPEC = """
[app]
name = "{app}"
[processes.web]
command = "serve"
health = {{ path = "/health" }}
[routes]
"{app}.example.com" = "web"
[rollout]
strategy = "canary"
steps = ["50%"]
bake = "1s"
keep_warm = "10m"
{more}
"""
SIGNAL = 'signals.rate = { url = "http://127.0.0.1:1/", most = 1 }\n'
PRODUCTION = EnvironmentName("production")


class Clock:
    def __init__(self):
        self.at = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


class Tail:
    """A log in which nothing is written; ``meanwhile`` is done while it is read."""

    def __init__(self):
        self.meanwhile = lambda: None

    def read(self, position):
        self.meanwhile()
        return (), position

    def recent(self, seconds, now):
        return ()


class Home:
    def __init__(self, directory):
        self.clock = Clock()
        self.engine = open_engine(directory / "state.db")
        self.store = Store(self.engine, self.clock)
        self.state = State(self.store)
        self.runtime = FakeRuntime(self.clock)
        self.edge = FakeEdge()
        self.tail = Tail()
        vault = Vault(self.store, directory / "secrets.key")
        self.parts = Parts(
            data_dir=directory,
            state=self.state,
            vault=vault,
            runtime=self.runtime,
            logs=FakeLogReader(self.runtime),
            edge=self.edge,
            stores=Stores(
                directory, self.store, FakeServices(), vault, self.clock, is_port_free=lambda port: True
            ),
            clock=self.clock,
            http=Bind("127.0.0.1", 8080),
            https=None,
            build_environment={},
            is_port_free=lambda port: True,
            port_start=20000,
        )
        self.rollouts = Rollouts(self.parts, lambda _: None)
        self.judge = Judge(self.parts, self.tail)
        self.judge._rollouts = self.rollouts
        self.advance = Advance(self.parts, self.judge, Migrations(self.parts, Worker(directory)))
        self.steering = Steering(self.parts, self.rollouts)

    def change(self, app, release, kind=ChangeKind.DEPLOY, count=1, strategy="canary"):
        """A change that runs, to a release that is built."""
        id = ChangeId(f"c-{app}{release}{kind.value}")
        goal = Goal(
            ReleaseId(release),
            (Want("web", True, count),),
            strategy,
            1,
            None,
            steps=(0.5,) if strategy == "canary" else (),
        )
        with self.store.transaction("ann") as tx:
            state.ensure_environment(tx, app, PRODUCTION)
            change = Change(
                id, kind, app, PRODUCTION, goal, Config(), None, False, None, False, None, "ann", tx.now, None
            )
            state.insert_change(tx, change)
        return change

    def instance(self, change, n=1, **values):
        """One of a change's that runs."""
        with self.store.transaction("ann") as tx:
            made = Instance(
                change.app, change.environment, change.goal.release, "web", n,
                20000 + len(self.state.instances()), "", change.id, 50, True, tx.now,
            )  # fmt: skip
            state.insert_instance(tx, replace(made, weight=0) if "retire_at" in values else made)
            if values:
                state.update_instance(tx, made.name, **values)
        self.parts.start(made, Config())
        return made

    def release(self, app, number, more=""):
        with self.store.transaction("ann") as tx:
            state.ensure_environment(tx, app, PRODUCTION)
            state.insert_release(
                tx,
                Release(
                    app, ReleaseId(number), Commit("1f2e3d4c5b", "x"), "d", ReleaseState.READY,
                    SPEC.format(app=app, more=more), 1, 1.0, tx.now, None,
                ),
            )  # fmt: skip

    def done(self, change, *, well=True):
        with self.store.transaction("ann") as tx:
            if well:
                serving = change.goal.release
                state.update_environment(tx, change.app, PRODUCTION, serving=serving, routing=serving)
                state.insert_deployment(tx, change)
            state.update_change(tx, change.id, state="done", result={"verdict": "promoted"})

    def serving(self, app="shop", more=""):
        """r1 serves, r2 is built."""
        self.release(app, "r1", more)
        self.release(app, "r2", more)
        change = self.change(app, "r1")
        self.instance(change)
        self.done(change)

    def canary(self, app="shop", more=""):
        """r1 serves, and r2 is a canary beside it."""
        self.serving(app, more)
        change = self.change(app, "r2")
        self.instance(change)
        self.parts.publish()
        self.judge._begin(change)
        return change

    def watched(self, app="shop"):
        """r2 serves and is watched, and is worse."""
        change = self.canary(app)
        with self.store.transaction("ann") as tx:
            trials.update(tx, change.id, phase=WATCH, until=text_time(tx.now + timedelta(hours=1)))
        self.done(change)
        self.parts.looping[f"{app}.production.r2.web.1"] = 3
        return change

    def trial(self, change):
        return trials.find(self.state, change.id)

    def rollout(self, change):
        return self.parts.spec(change.app, PRODUCTION, change.goal.release).rollout


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.engine.dispose()


def test_a_look_taken_while_it_asks_does_not_forget_that_it_asked(home):
    change = home.canary()
    home.tail.meanwhile = lambda: home.judge._ask(home.trial(change))
    home.judge.look()
    assert home.trial(change).standing.asked == 0
    home.tail.meanwhile = lambda: None
    home.steering.resume("shop", PRODUCTION, actor="ann")
    now = home.clock.now() + timedelta(seconds=2)
    assert trials.decide(home.trial(change), home.rollout(change), now) is Decision.GO_ON


def test_a_signal_that_was_not_measured_yet_is_missing(home):
    change = home.canary(more=SIGNAL)
    stands = trials.standing(home.trial(change).evidence, home.rollout(change))
    assert any("rate" in reason for reason in stands.reasons)


def test_what_cannot_be_looked_at_does_not_keep_the_others_from_it(home):
    gone, there = home.canary("gone"), home.canary("shop")
    with home.store.transaction("ann") as tx:
        tx.execute(state.schema.releases.delete().where(state.schema.releases.c.app == "gone"))
    home.parts.looping["shop.production.r2.web.1"] = 3
    home.judge.look()
    assert home.trial(there).is_condemned and not home.trial(gone).is_condemned


def test_a_canary_whose_process_is_another_one_died(home):
    change = home.canary()
    home.judge.look()
    home.runtime.stop(("shop.production.r2.web.1",))
    home.judge.look()
    assert "died" in home.trial(change).evidence.condemned[0]


def test_a_restart_of_all_that_runs_is_no_fault_of_the_canary(home):
    change = home.canary()
    home.judge.look()
    for i in home.state.instances():
        home.runtime.stop((i.name,))
        home.parts.start(i, Config())
    home.judge.look()
    assert not home.trial(change).is_condemned
    home.judge.look()
    home.runtime.stop(("shop.production.r2.web.1",))
    home.judge.look()
    assert home.trial(change).is_condemned


def test_what_is_watched_and_worse_is_gone_back_from_once(home):
    change = home.watched()
    home.judge.look()
    [back] = home.state.running()
    assert (back.kind, back.goal.release) == (ChangeKind.ROLLBACK, "r1")
    assert home.trial(change).state == "rolled back"


def test_going_back_that_was_cut_off_is_not_begun_twice(home):
    change = home.watched()
    home.judge.look()
    with home.store.transaction("ann") as tx:
        trials.update(tx, change.id, state="running")
    home.done(home.state.running()[0])
    home.judge.look()
    assert home.trial(change).state == "rolled back" and not home.state.running()


def test_a_way_back_that_fails_does_not_pass_for_one(home):
    change = home.watched()
    home.judge.look()
    [back] = home.state.running()
    failed = replace(back, failure=Failure("rollout.crashed", "cannot start r1"))
    with home.store.transaction("ann") as tx:
        promotion.finish(tx, home.parts, failed)
    told = home.trial(change)
    assert told.state == "ended" and "r2 serves on" in told.standing.reasons[-1]
    home.done(back, well=False)
    home.judge.look()
    assert not home.state.running()


@pytest.mark.parametrize("word", ["pause", "promote"])
def test_a_canary_that_is_being_taken_back_is_not_steered(home, word):
    change = home.canary()
    home.rollouts.abort(change.id)
    with pytest.raises(HomeportError, match="taken back"):
        getattr(home.steering, word)("shop", PRODUCTION, actor="ann")
    assert home.steering.abort("shop", PRODUCTION, actor="ann", key=None).id == change.id


def test_taking_back_what_is_watched_asked_twice_with_one_key_is_one_rollback(home):
    home.watched()
    home.parts.looping.clear()
    asked = [home.steering.abort("shop", PRODUCTION, actor="ann", key="k").id for _ in range(2)]
    assert asked[0] == asked[1]


def test_an_abort_that_is_refused_is_not_told(home):
    home.watched()
    home.change("shop", "r2", ChangeKind.SCALE)
    with pytest.raises(HomeportError, match="runs in production"):
        home.steering.abort("shop", PRODUCTION, actor="ann", key=None)
    assert not [r for r in home.store.records() if r.kind == "canary.steered"]


def test_scaling_what_is_watched_leaves_the_release_before_warm(home):
    change = home.watched()
    later = home.clock.now() + timedelta(minutes=5)
    with home.store.transaction("ann") as tx:
        warm = text_time(later)
        state.update_instance(tx, "shop.production.r1.web.1", weight=0, retire_at=warm, drain_until=warm)
    home.advance._promote(home.change("shop", "r2", ChangeKind.SCALE, strategy="blue-green"))
    [before] = [i for i in home.state.instances() if i.release == "r1"]
    assert before.retire_at == later and home.trial(change).phase != CANARY


def test_a_drain_that_is_cancelled_does_not_end_what_it_waits_for(home):
    home.serving()
    home.parts.publish()
    change = home.change("shop", "r2", strategy="recreate")
    name = "shop.production.r1.web.1"
    home.edge.in_hand[name] = 1
    home.rollouts.abort(change.id)
    assert not home.advance._drain(change, (name,))
    assert home.advance._drain(replace(change, id=ChangeId("c-shopr1deploy")), (name,))


def test_nothing_is_written_while_nothing_happens(home):
    home.canary()
    home.judge.look()
    before = home.store.version
    for _ in range(10):
        home.clock.sleep(0.5)
        home.judge.look()
    assert home.store.version == before


def test_a_canary_that_is_condemned_after_its_last_step_is_not_promoted(home):
    change = home.canary()
    home.parts.looping["shop.production.r2.web.1"] = 3
    home.judge.look()
    with pytest.raises(HomeportError, match="crashed"):
        home.judge.promoted(change, ReleaseId("r1"))
    home.steering.promote("shop", PRODUCTION, actor="ann")
    assert home.judge.promoted(change, ReleaseId("r1")).watches


def test_what_a_person_keeps_is_not_told_as_rolled_back(home):
    change = home.canary(more='watch_for = "0s"')
    home.parts.looping["shop.production.r2.web.1"] = 3
    home.judge.look()
    home.steering.promote("shop", PRODUCTION, actor="ann")
    home.advance._promote(change)
    told = home.trial(change)
    assert (told.state, told.standing.reasons) == ("promoted", ("kept by ann",))


def test_what_was_replaced_first_is_warm_until_the_watch_is_over(home):
    change = home.canary()
    gone = text_time(home.clock.now())
    with home.store.transaction("ann") as tx:
        state.update_instance(tx, "shop.production.r1.web.1", weight=0, retire_at=gone, drain_until=gone)
    home.advance._promote(change)
    [before] = [i for i in home.state.instances() if i.release == "r1"]
    assert before.retire_at >= home.trial(change).until


@pytest.mark.parametrize("answer", ["token s3cret", "9" * 400 + "s3cret"])
def test_what_a_signal_answered_is_not_told(answer):
    with pytest.raises(ValueError, match="no number") as told:
        signals.number(answer, "")
    assert "s3cret" not in str(told.value)


def test_a_clock_that_jumps_makes_nobody_wait(home):
    change = home.canary()
    home.clock.sleep(3600)
    window, _ = trials.window(home.trial(change), home.edge.counts(), (), home.clock.now())
    assert window.seconds == trials.LONGEST
