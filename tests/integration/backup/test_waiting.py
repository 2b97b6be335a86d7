"""Works that meet another one at the same files wait for it: the state is backed up beside all that is under way."""

import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from files_home import PASSPHRASE, FilesHome

from homeport.backup import works
from homeport.backup.files.model import HOMEPORT, LANES, MAIN, OWN_STATE, Layout
from homeport.backup.waiting import patiently
from homeport.kernel.errors import HomeportError
from homeport.spec.model_backup import Keep
from homeport.system import process
from homeport.system.clock import RealClock

KEEP = {"hourly": 24, "daily": 30, "weekly": 12, "monthly": 12}


class Box:
    """As much of a toolbox as works on files alone need."""

    def __init__(self, home):
        self.clock = RealClock()
        self.repositories = self
        self._home = home

    def list(self):
        return tuple(SimpleNamespace(name=r.name, ready=True) for r in self._home.repositories)

    def files(self, rate=None, lane=MAIN):
        return self._home.backups if lane == MAIN else self._home.of_lane(lane)

    def paced(self, rate, lane=MAIN):
        return nullcontext()


@pytest.fixture
def home():
    it = FilesHome()
    try:
        it.backups.prepare()
        it.backups.set_passphrase(PASSPHRASE)
        yield it
    finally:
        it.end()


def nobody(kind, values):
    return None


def test_the_state_is_backed_up_while_files_are_proven_or_restored(home):
    own = home.own
    request = {"series": own.series, "trees": own.trees, "databases": own.databases, "sealed": own.sealed}
    with home.backups.alone("restore much beside"):
        made = works.files(Box(home), {**request, "lane": OWN_STATE}, nobody)["made"]
    assert [m["repository"] for m in made] == ["r1"]
    [kept] = home.backups.restic("r1").snapshots()[0]
    assert (kept.series, kept.is_finished) == (HOMEPORT, True)
    assert home.backups.prove("r1", kept.id).passed
    assert not Layout(home.data, OWN_STATE).stage.exists()


def test_what_a_lane_runs_is_ended_by_the_next_of_that_lane_alone(home):
    def sleeper(lane):
        mark = {process.OWNER: str(home.data), process.INSTANCE: Layout(home.data, lane).mark}
        return subprocess.Popen(("sleep", "60"), env={"PATH": "/usr/bin:/bin", **mark})

    running = {lane: sleeper(lane) for lane in LANES}
    try:
        for lane in LANES:
            with home.of_lane(lane).alone("look"):
                assert running.pop(lane).wait(10) == -9
                assert all(other.poll() is None for other in running.values())
    finally:
        for left in running.values():
            left.kill()


@pytest.mark.parametrize("lane", LANES)
def test_pruning_waits_for_a_backup_beside_it(home, lane):
    begun, go_on, done = threading.Event(), threading.Event(), []

    def busy():
        with home.of_lane(lane).alone("back up beside"):
            begun.set()
            go_on.wait(30)

    def prune():
        request = {"clusters": [], "keep": {}, "others": KEEP, "window": 60.0}
        done.append(works.prune(Box(home), request, nobody))

    threads = [threading.Thread(target=busy), threading.Thread(target=prune)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(1.5)
    assert done == [] and threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert done == [{"removed": {}}]


def test_who_waits_looks_less_and_less_often_and_gives_up(home):
    class Clock:
        def __init__(self):
            self.seconds, self.pauses = 0.0, []

        def monotonic(self):
            return self.seconds

        def sleep(self, seconds):
            self.pauses.append(seconds)
            self.seconds += seconds

    clock = Clock()
    with (
        home.backups.alone("back up beside"),
        pytest.raises(HomeportError, check=lambda e: e.code == "backup.files_busy"),
    ):
        patiently(clock, lambda: home.backups.prune("r1", {}, Keep()), patience=60.0)
    assert clock.pauses[0] == 0.5 and max(clock.pauses) == 5.0 and clock.pauses == sorted(clock.pauses)
    assert 60 < clock.seconds < 66


def test_a_repository_is_removed_though_a_backup_hangs_in_it(home):
    with home.backups.alone("back up beside"):
        assert works.prepare(Box(home), {"clusters": {}, "files": False}, nobody) == {"made": []}


def test_files_wait_for_a_repository_that_is_being_made(home):
    class Making(Box):
        looks = 0

        def list(self):
            self.looks += 1
            return tuple(SimpleNamespace(name=r.name, ready=self.looks > 2) for r in super().list())

    own, box = home.own, Making(home)
    request = {"series": own.series, "trees": own.trees, "databases": own.databases, "sealed": own.sealed}
    told = []
    made = works.files(box, {**request, "lane": OWN_STATE}, lambda _, values: told.append(values))["made"]
    assert made and box.looks == 3 and "is being made" in told[0]["waits"]
