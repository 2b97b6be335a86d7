"""Homeport's own state follows what is done, in a real state.db; a worker that is a function."""

import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup.files.plan import Sources
from homeport.backup.model import FAILED, MAKING, PASSED, STATE, Step
from homeport.backup.own_state import AGAIN, OwnState
from homeport.backup.port import Wanted, WantedFiles
from homeport.backup.repositories import Place, Repositories
from homeport.backup.service import KEPT_STATES, Backups
from homeport.database.errors import WORK_FAILED
from homeport.guard.vault import Vault
from homeport.journal.store import Store
from homeport.rollout.events import ChangeFinished, CommandEnded, VariablesChanged


class Clock:
    def __init__(self):
        self.seconds = self.ahead = 0.0

    def now(self):
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self.seconds + self.ahead)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


class Worker:
    def __init__(self):
        self.asked, self.fail = [], False

    def run(self, work, request, *, name, told=None, stop=lambda: None, timeout=0):
        self.asked.append((work, request.get("series")))
        if self.fail and work == "files":
            raise WORK_FAILED.error("cannot reach it")
        return {"made": [], "failures": []}


class Owners:
    def wanted(self):
        other = WantedFiles(Sources("shop.production", ("storage/shop/production",)))
        return Wanted(files=(WantedFiles(Sources("homeport", ("releases",), ("state.db",))), other))


class Rig:
    def __init__(self, path):
        self.clock, self.worker = Clock(), Worker()
        self.store = Store(fresh(path / "state.db"), self.clock)
        repositories = Repositories(self.store, Vault(self.store, path / "secrets.key"))
        self.backups = Backups(
            self.store, repositories, self.worker, Owners(), self.clock, "/d", threading.Event()
        )
        self.own_state = OwnState(self.backups, self.store, self.clock)

    def do(self, actor="ada", event=None):
        event = event or VariablesChanged(app="shop", environment="production", set=["A"], unset=[])
        with self.store.transaction(actor) as tx:
            tx.append(event)

    def states(self):
        return [r for r in self.backups.runs.list(limit=500) if r.kind == STATE]

    def go_on(self, seconds, kinds=("backup", STATE)):
        """Time passes, and what is begun of some kinds is done."""
        for _ in range(round(seconds / 2.5)):
            self.clock.sleep(2.5)
            self.own_state.tick()
            for run in self.backups.runs.running():
                while run.kind in kinds and not self.backups.advance(run.id):
                    pass


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.backups.add_repository("local", Place(path="/mnt/b"), {}, "six random words here", actor="ada")
    rig.go_on(60)
    return rig


def test_what_somebody_did_is_kept_soon_and_once(rig):
    [first] = rig.states()
    assert first.state == PASSED and rig.worker.asked[-1] == ("files", "homeport"), "the repository is new"
    rig.go_on(600)
    assert rig.states() == [first], "nothing was done since, and its own events ask for nothing"
    rig.do()
    rig.go_on(15)
    assert len(rig.states()) == 2
    rig.do("homeport")
    rig.go_on(600)
    assert len(rig.states()) == 2, "Homeport's own doings wait for the next backup of everything"


def test_much_that_is_done_makes_one_a_minute_and_no_more(rig):
    before = len(rig.states())
    for _ in range(120):
        rig.do()
        rig.go_on(5)
    assert len(rig.states()) - before in (9, 10)


def test_a_backup_of_everything_keeps_it_too_and_one_beside_it_waits_for_nobody(rig):
    rig.do()
    rig.clock.sleep(1)
    run = rig.backups.back_up(actor="ada")
    rig.go_on(60)
    assert rig.backups.runs.get(run.id).state == PASSED and len(rig.states()) == 1
    long = rig.backups.begin("backup", "all", MAKING, {}, (Step("long", "long"),), actor="ada")
    rig.do()
    rig.go_on(60, kinds=(STATE,))
    assert len(rig.states()) == 2 and not rig.backups.runs.get(long.id).is_over


def test_a_store_that_is_away_is_asked_again_later_and_another_process_goes_on_where_it_was(rig):
    rig.worker.fail = True
    rig.do()
    rig.go_on(120)
    assert [r.state for r in rig.states()] == [FAILED, PASSED]
    rig.own_state = OwnState(rig.backups, rig.store, rig.clock)
    rig.worker.fail = False
    rig.go_on(AGAIN.total_seconds())
    assert [r.state for r in rig.states()] == [PASSED, FAILED, PASSED]
    rig.own_state = OwnState(rig.backups, rig.store, rig.clock)
    rig.go_on(600)
    assert len(rig.states()) == 3


def test_they_do_not_push_backups_of_everything_out_of_what_is_remembered(rig):
    run = rig.backups.back_up(actor="ada")
    rig.go_on(5)
    for _ in range(KEPT_STATES + 10):
        rig.backups.back_up_state(actor="homeport")
        rig.go_on(2.5)
    assert len(rig.states()) == KEPT_STATES and rig.backups.runs.get(run.id).state == PASSED


def finished(what):
    return ChangeFinished(
        app="shop", environment="production", change="c", what=what, verdict="promoted", release="r2",
        serving="r2", seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("actor", "event", "asks"),
    [
        ("ada", finished("deploy"), True),
        ("homeport", finished("contract"), True),
        ("homeport", finished("heal"), False),
        ("ada", CommandEnded(app="shop", environment="production", run="r", status=0, seconds=1.0), False),
    ],
)
def test_what_changes_something_asks_for_one(rig, actor, event, asks):
    before = len(rig.states())
    rig.do(actor, event)
    rig.go_on(60)
    assert len(rig.states()) - before == asks


def test_a_clock_that_was_ahead_does_not_make_one_a_minute(rig):
    rig.clock.seconds += 7200
    rig.do()
    rig.go_on(120)
    rig.clock.ahead = -7200
    rig.own_state = OwnState(rig.backups, rig.store, rig.clock)
    before = len(rig.states())
    rig.do()
    rig.go_on(1200)
    assert len(rig.states()) - before <= 2
