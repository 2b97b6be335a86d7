"""Drills by the clock, in a real state.db: begun when nothing else moves, told when they failed or did not begin."""

import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup import runs
from homeport.backup.drills.model import NAMES, Report, Targets
from homeport.backup.drills.records import MACHINE
from homeport.backup.model import MAKING, RETURNING, Step
from homeport.backup.port import Wanted, WantedCluster, WantedDrills
from homeport.backup.repositories import Place, Repositories
from homeport.backup.rounds import KEEP_LOOKS, Rounds
from homeport.backup.service import Backups
from homeport.guard.vault import Vault
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, text_time
from homeport.kernel.errors import HomeportError
from homeport.rollout.backups import timetable
from homeport.rollout.backups.drills import Drills
from homeport.spec.read_backup import WORDS

SATURDAY = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
WEEKLY = WantedDrills("shop", "production", "@weekly", "UTC", ("table-dropped", "cluster-lost"), "main")


class Clock:
    def __init__(self) -> None:
        self.at = SATURDAY

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def go(self, **values: float) -> None:
        self.at += timedelta(**values)


class Rig:
    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.store = Store(fresh(path / "state.db"), self.clock)
        vault = Vault(self.store, path / "secrets.key")
        self.wanted = Wanted(clusters=(WantedCluster("main", rpo=30.0),), drills=(WEEKLY,))
        self.moving: list[object] = []
        owners = SimpleNamespace(wanted=lambda: self.wanted)
        repositories = Repositories(self.store, vault)
        repositories.add("local", Place(path=str(path)), {}, actor="me")
        repositories.made("local", actor="me")
        self.backups = Backups(
            self.store, repositories, None, owners, self.clock, "/d", threading.Event()
        )  # fmt: skip
        state = SimpleNamespace(store=self.store, running=lambda: self.moving)
        parts = SimpleNamespace(state=state, clock=self.clock, data_dir=path)
        step = Step(
            "back up", "cluster", {"cluster": "main"}, state="passed", result={"made": [{"bytes": 1}]}
        )
        made = self.backups.begin("backup", "all", MAKING, {}, (step,), actor="me")
        assert self.backups.advance(made.id)
        self.drills = Drills(parts, self.backups)
        self.tick()

    def tick(self) -> None:
        self.clock.go(seconds=timetable.EVERY)
        self.drills.timetable.tick()

    def begun(self) -> list[tuple[str, str]]:
        return [(r.id, r.subject) for r in self.backups.runs.list(kinds=("drill",))]

    def problems(self) -> list[str]:
        return self.drills.timetable.problems(self.clock.now())

    def end(self, *, passed: bool) -> None:
        """What is under way."""
        [run] = [r for r in self.backups.runs.list(kinds=("drill",)) if not r.is_over]
        for step in run.steps:
            run = run.with_step(replace(step, state="passed"))
        with self.store.transaction("homeport") as tx:
            runs.update(tx, replace(run, state="passed", finished_at=self.clock.now()))
        at = text_time(run.started_at)
        wrong = () if passed else ("detect: cannot see it",)
        self.drills.reports.keep(
            Report(run.id, run.subject, "main", at, run.actor, passed, 0.0, 5.0, Targets(), (), wrong=wrong)
        )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_each_scenario_in_turn_once_for_each_time_with_the_targets_of_the_app(rig: Rig) -> None:
    assert rig.begun() == [] and rig.problems() == []
    rig.clock.go(days=1)
    rig.tick()
    rig.tick()
    [(first, scenario)] = rig.begun()
    assert scenario == "table-dropped"
    run = rig.backups.runs.get(first)
    assert (run.actor, run.request["targets"]["rpo"], run.request["cluster"]) == ("homeport", 30.0, "main")
    rig.end(passed=True)
    rig.tick()
    assert len(rig.begun()) == 1
    rig.clock.go(days=7)
    rig.tick()
    assert [s for _, s in rig.begun()] == ["cluster-lost", "table-dropped"]
    assert rig.problems() == []


def test_a_drill_waits_for_a_deploy_and_is_missed_after_an_hour(rig: Rig) -> None:
    rig.moving = [SimpleNamespace(kind=SimpleNamespace(value="deploy"), id="c-1", app="shop")]
    rig.clock.go(hours=19)
    rig.tick()
    assert rig.begun() == [] and rig.problems() == []
    rig.clock.go(hours=1)
    rig.tick()
    [told] = rig.problems()
    assert "drill of shop production at" in told and "deploy c-1 of shop is under way" in told
    rig.moving = []
    rig.tick()
    assert len(rig.begun()) == 1 and rig.problems() == []


def test_a_drill_waits_for_a_restore_and_for_another_drill(rig: Rig) -> None:
    run = rig.backups.begin("restore", "shop", RETURNING, {}, (Step("a", "a"),), actor="me")
    rig.clock.go(days=1)
    rig.tick()
    assert rig.begun() == []
    rig.backups.cancel(run.id, actor="me")
    while not rig.backups.advance(run.id):
        pass
    rig.drills.rehearse("bad-migration", actor="anna")
    rig.tick()
    assert [s for _, s in rig.begun()] == ["bad-migration"]
    rig.end(passed=True)
    rig.tick()
    assert len(rig.begun()) == 2


def test_a_cluster_that_was_never_backed_up_is_not_rehearsed(rig: Rig) -> None:
    rig.wanted = replace(rig.wanted, drills=(replace(WEEKLY, cluster="second"),))
    rig.clock.go(days=1, hours=1)
    rig.tick()
    [told] = rig.problems()
    assert rig.begun() == [] and "cluster second was not backed up yet" in told


def test_a_drill_does_not_begin_when_the_disk_is_short(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable.files, "free_bytes", lambda _: 10_000_000)
    rig.clock.go(days=1, hours=1)
    rig.tick()
    [told] = rig.problems()
    assert rig.begun() == [] and "10 MB are free" in told


def test_a_deploy_that_begins_meanwhile_goes_first(rig: Rig) -> None:
    def refuse() -> None:
        raise HomeportError(timetable.NOT_NOW, "cannot rehearse now")

    with pytest.raises(HomeportError):
        rig.drills.rehearse("table-dropped", actor="homeport", check=refuse)
    assert rig.begun() == []


def test_killed_before_it_was_noted_that_it_began_it_is_the_same_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = rig.drills.reports.began
    monkeypatch.setattr(rig.drills.reports, "began", lambda *_: None)
    rig.clock.go(days=1)
    rig.tick()
    rig.end(passed=True)
    monkeypatch.setattr(rig.drills.reports, "began", noted)
    rig.tick()
    rig.tick()
    assert len(rig.begun()) == 1


def test_a_drill_that_failed_is_told_until_its_kind_passes(rig: Rig) -> None:
    rig.clock.go(days=1)
    rig.tick()
    rig.end(passed=False)
    [told] = rig.problems()
    assert "drill table-dropped of cluster main failed" in told and "detect: cannot see it" in told
    rig.clock.go(hours=1)
    rig.drills.rehearse("table-dropped", actor="anna")
    rig.end(passed=True)
    assert rig.problems() == []


def test_schedules_come_and_go_with_what_the_apps_say_and_leave_the_machines_alone(rig: Rig) -> None:
    rig.drills.set_schedule("0 5 * * *", actor="me")
    assert [t.of for t in rig.drills.timetable.all()] == ["the machine", "shop production"]
    since = rig.drills.reports.schedules()
    rig.clock.go(hours=1)
    rig.wanted = replace(rig.wanted, drills=(replace(WEEKLY, line="@daily"),))
    rig.tick()
    found = rig.drills.reports.schedules()
    assert found[MACHINE] == since[MACHINE] and sorted(line for line, _ in found.values()) == [
        "0 5 * * *",
        "@daily",
    ]
    rig.wanted = replace(rig.wanted, drills=())
    rig.tick()
    assert list(rig.drills.reports.schedules()) == [MACHINE]
    rig.drills.set_schedule("", actor="me")
    assert rig.drills.timetable.all() == () and rig.drills.timetable.next_at() is None


def test_the_machines_schedule_is_said_as_in_an_apps_file(rig: Rig) -> None:
    for word in WORDS:
        rig.drills.set_schedule(word, actor="me")
        assert rig.drills.reports.schedules()[MACHINE][0] == f"@{word}"
    with pytest.raises(HomeportError, match="cannot make drills at 'fortnightly'") as caught:
        rig.drills.set_schedule("fortnightly", actor="me")
    assert "daily, weekly or monthly" in (caught.value.hint or "")


def test_the_machines_schedule_rehearses_every_scenario(rig: Rig) -> None:
    rig.wanted = replace(rig.wanted, drills=())
    rig.drills.set_schedule("@hourly", actor="me")
    done = []
    for _ in range(len(NAMES) - 1):
        rig.clock.go(hours=1)
        rig.tick()
        done.append(rig.begun()[0][1])
        rig.end(passed=True)
    assert sorted(done) == sorted(n for n in NAMES if n != "repository-unreachable")


def test_of_old_days_the_worst_look_is_kept(rig: Rig) -> None:
    now = rig.clock.now()
    old = (now - KEEP_LOOKS - timedelta(days=2)).replace(hour=1)
    with rig.store.transaction("homeport") as tx:
        for n, lost in enumerate((5, 90, 90, None, 30)):
            for day in (0, 1):
                tx.execute(
                    tables.backup_looks.insert().values(
                        cluster="main",
                        at=text_time(old + timedelta(days=day, minutes=n)),
                        lost=lost,
                        findings=[],
                        changed=False,
                    )
                )
    rounds = Rounds(rig.backups, rig.store, rig.clock)
    rig.backups.look = lambda: {"main": {"lost": 7, "findings": []}}
    rounds.look()
    rounds.close()
    kept = [(k.at, k.lost) for k in rounds.history("main", old - timedelta(days=1))]
    worst = [(old + timedelta(days=day, minutes=2), 90) for day in (0, 1)]
    assert [(at, lost) for at, lost in kept if at < now] == worst and kept[-1][1] == 7
