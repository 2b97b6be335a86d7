"""Runs in a real state.db: each step killed, two at once, cancelled, closed; a worker that is a function."""

import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup import runs
from homeport.backup.files.plan import Sources
from homeport.backup.model import CANCELLED, FAILED, MAKING, PASSED, RETURNING, RUNNING, Step
from homeport.backup.port import Wanted, WantedCluster, WantedFiles
from homeport.backup.repositories import Place, Repositories
from homeport.backup.rounds import Rounds
from homeport.backup.service import Backups
from homeport.database.errors import WORK_FAILED
from homeport.database.migrations.errors import CANCELLED as STOPPED
from homeport.guard.vault import Vault
from homeport.journal.store import Store
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock


class Killed(BaseException):
    pass


class FakeWorker:
    def __init__(self):
        self.asked = []
        self.fail = {}
        self.meanwhile = {}
        self.results = {}

    def run(self, work, request, *, name, told=None, stop=lambda: None, timeout=0):
        self.asked.append(work)
        wrong = self.fail.pop(work, None)
        if wrong is not None:
            raise wrong
        if self.meanwhile.pop(work, lambda ask: ask())(stop):
            raise STOPPED.error("cannot go on: stopped")
        return self.results.get(work, {"made": [work]})


class Owners:
    def wanted(self):
        return Wanted(files=(WantedFiles(Sources("homeport", ())),))


class Rig:
    def __init__(self, path):
        self.store = Store(fresh(path / "state.db"), RealClock())
        self.vault = Vault(self.store, path / "secrets.key")
        self.worker, self.closing = FakeWorker(), threading.Event()
        self.backups = self.again()

    def again(self):
        """As the next control plane has it."""
        return Backups(
            self.store,
            Repositories(self.store, self.vault),
            self.worker,
            Owners(),
            RealClock(),
            "/d",
            self.closing,
        )

    def begin(self, *steps, lane=MAKING):
        return self.backups.begin("backup", "all", lane, {}, steps, actor="me")

    def to_end(self, id):
        while not self.backups.advance(id):
            pass
        return self.backups.runs.get(id)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


STEPS = (Step("a", "a"), Step("b", "b", needs=("a",)), Step("c", "c", always=True))


@pytest.mark.parametrize("work", ["a", "b", "c"])
def test_killed_at_a_step_it_is_done_again_and_those_before_it_are_not(rig, work):
    run = rig.begin(*STEPS)
    rig.worker.fail[work] = Killed()
    with pytest.raises(Killed):
        rig.to_end(run.id)
    cut = rig.backups.runs.get(run.id)
    assert cut.step(work).state == RUNNING
    rig.backups = rig.again()
    assert rig.backups.runs.unfinished() == (run.id,)
    assert rig.to_end(run.id).state == PASSED
    assert rig.worker.asked == sorted(["a", "b", "c", work])


def test_a_step_that_fails_is_told_and_what_puts_back_is_done(rig):
    run = rig.begin(*STEPS)
    rig.worker.fail["a"] = WORK_FAILED.error("cannot do it", details=["why"])
    ended = rig.to_end(run.id)
    # What a child that was ended left goes at once, not with the next of its kind.
    assert (ended.state, ended.reason, rig.worker.asked) == (FAILED, "a: cannot do it", ["a", "clean", "c"])
    assert [s.state for s in ended.steps] == [FAILED, "skipped", PASSED]


PROVEN = (
    Step("back up", "cluster"),
    Step("prove it", "prove", {"repository": "local"}),
    Step("prove files", "prove-files", {"repository": "local"}),
    Step("prune", "prune"),
)


WELL = {work: {"failures": []} for work in ("prove", "prove-files")}


def returning(rig, kind):
    steps = (Step("bring back", "restore-copy"),)
    return rig.backups.begin(kind, "shop production", RETURNING, {}, steps, actor="ada")


def test_a_proof_makes_way_for_a_restore_that_begins_meanwhile(rig):
    rig.worker.results = WELL
    run = rig.begin(*PROVEN)
    began = []

    def prove(stop):
        assert stop() is None
        began.append(returning(rig, "restore"))
        return stop()

    rig.worker.meanwhile["prove"] = prove
    ended = rig.to_end(run.id)
    assert [s.state for s in ended.steps] == [PASSED, CANCELLED, CANCELLED, PASSED]
    assert rig.worker.asked == ["cluster", "prove", "clean", "prune"], "the second proof is not begun"
    assert ended.state == CANCELLED and ended.step("prove it").error["code"] == "backup.made_way"
    assert ended.reason == (
        f"prove it: cannot go on with this proof: restore {began[0].id} of shop production comes first"
    )
    assert rig.to_end(began[0].id).state == PASSED
    again = rig.begin(*PROVEN)
    assert rig.to_end(again.id).state == PASSED


def test_a_proof_makes_no_way_for_a_clone(rig):
    rig.worker.results = WELL
    returning(rig, "clone")
    assert rig.to_end(rig.begin(*PROVEN).id).state == PASSED


def test_what_puts_back_is_done_again_where_its_child_was_killed(rig):
    run = rig.begin(*STEPS)
    rig.worker.fail["c"] = WORK_FAILED.error("cannot finish c: it was killed")
    ended = rig.to_end(run.id)
    assert (ended.state, rig.worker.asked) == (PASSED, ["a", "b", "c", "clean", "c"])


def test_a_backup_that_one_repository_lacks_is_kept_as_failed_with_what_the_others_have(rig):
    error = {"code": "backup.failed", "sentence": "cannot reach far", "hint": "", "details": ["why"]}
    made = [{"repository": "local", "label": "20261121"}]
    rig.worker.results["cluster"] = {"made": made, "error": error}
    rig.worker.results["prove"] = {"failures": []}
    proofs = [Step(r, "prove", {"repository": r}, needs=("back up",)) for r in ("local", "far")]
    run = rig.begin(Step("back up", "cluster"), *proofs)
    ended = rig.to_end(run.id)
    assert (ended.state, ended.reason) == (FAILED, "back up: cannot reach far")
    assert [s.state for s in ended.steps] == [FAILED, PASSED, "skipped"]
    assert ended.steps[0].result == {"made": made} and ended.steps[0].error == error


def test_closing_leaves_the_step_for_the_next_control_plane(rig):
    run = rig.begin(*STEPS)

    def close(ask):
        rig.closing.set()
        return ask()

    rig.worker.meanwhile["a"] = close
    assert rig.backups.advance(run.id) is False
    # Asked again before the process has ended, it begins nothing more.
    again = threading.Thread(target=rig.backups.advance, args=(run.id,), daemon=True)
    again.start()
    again.join(0.2)
    assert again.is_alive() and rig.worker.asked == ["a"]
    assert rig.backups.runs.get(run.id).step("a").state == RUNNING
    rig.closing.clear()
    again.join(10)
    assert rig.to_end(run.id).state == PASSED
    assert rig.worker.asked == ["a", "a", "b", "c"]


def test_one_of_a_lane_at_a_time_and_the_same_key_is_the_same_run(rig):
    run = rig.begin(*STEPS)
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.run_under_way"):
        rig.begin(*STEPS)
    rig.begin(*STEPS, lane=RETURNING)
    same = rig.backups.begin("backup", "all", MAKING, {}, STEPS, actor="me", id=run.id)
    assert same.id == run.id
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.key_reused"):
        rig.backups.begin("prove", "all", MAKING, {}, STEPS, actor="me", id=run.id)


def test_cancelled_it_ends_and_puts_back(rig):
    run = rig.begin(*STEPS)
    rig.backups.cancel(run.id, actor="ann")
    ended = rig.to_end(run.id)
    assert (ended.state, rig.worker.asked) == (CANCELLED, ["c"])
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.not_running"):
        rig.backups.cancel(run.id, actor="ann")


def test_cancelled_while_a_step_runs_the_word_is_not_lost(rig):
    run = rig.begin(*STEPS)
    rig.worker.run = cancels(rig, run.id, rig.worker.run)
    assert rig.to_end(run.id).state == CANCELLED


def cancels(rig, id, inner):
    def run(work, request, **options):
        if work == "a":
            rig.backups.cancel(id, actor="ann")
        return inner(work, request, **options)

    return run


def add(rig, name="local", place="/mnt/b", passphrase="six random words here"):
    return rig.backups.add_repository(name, Place(path=place), {}, passphrase, actor="me")


def test_a_repository_that_could_not_be_made_is_none_and_a_second_try_has_the_same_passwords(rig):
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        add(rig)
    assert rig.backups.repositories.list() == ()
    before = dict(rig.vault.versions("(homeport)", "(machine)"))
    assert add(rig).ready and rig.backups.repositories.ready()
    assert rig.vault.versions("(homeport)", "(machine)") == before


@pytest.mark.parametrize(
    ("name", "place", "passphrase", "code"),
    [
        ("Local", "/mnt/b", "six random words here", "backup.bad_repository"),
        ("local", "mnt/b", "six random words here", "backup.bad_repository"),
        ("local", "/mnt/../b", "six random words here", "backup.bad_repository"),
        ("local", "/mnt/b\n", "six random words here", "backup.bad_repository"),
        ("local", "/d/backups", "six random words here", "backup.bad_repository"),
        ("local", "/mnt/b", "short", "backup.weak_passphrase"),
    ],
)
def test_what_cannot_be_a_repository_is_refused_before_anything_is_recorded(
    rig, name, place, passphrase, code
):
    with pytest.raises(HomeportError, check=lambda e: e.code == code):
        add(rig, name, place, passphrase)
    assert rig.backups.repositories.list() == () and rig.worker.asked == []


def test_no_second_one_at_the_same_place_and_none_while_a_run_is_under_way(rig):
    add(rig)
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.repository_exists"):
        add(rig, "other")
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.repository_exists"):
        add(rig, "local", "/elsewhere")
    rig.begin(*STEPS)
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.run_under_way"):
        add(rig, "other", "/elsewhere")


def asked_of(rig, work):
    """What the worker is given of it, as it comes."""
    inner, found = rig.worker.run, []

    def run(which, request, **options):
        if which == work:
            found.append(request)
        return inner(which, request, **options)

    rig.worker.run = run
    return found


def test_the_passphrase_is_that_of_the_others_and_any_where_there_are_none(rig):
    asked = asked_of(rig, "prepare")
    add(rig)
    add(rig, "far", "/mnt/c")
    for name in ("local", "far"):
        rig.backups.remove_repository(name, actor="me")
    add(rig, passphrase="quite another passphrase")
    add(rig, passphrase="quite another passphrase")
    given = [(r["new"], r["same"]) for r in asked if "passphrase" in r]
    assert given == [("local", False), ("far", True), ("local", False), ("local", True)]


def test_a_try_that_failed_leaves_clusters_as_they_were(rig, monkeypatch):
    wanted = Wanted(clusters=(WantedCluster("main"),))
    monkeypatch.setattr(Owners, "wanted", lambda _: wanted)
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        add(rig)
    assert rig.worker.asked == ["prepare", "disable"]
    add(rig)
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        add(rig, "far", "/mnt/c")
    assert rig.worker.asked[2:] == ["prepare", "prepare", "prepare"]
    assert [r.name for r in rig.backups.repositories.ready()] == ["local"]


def test_the_first_backup_is_waited_for_before_it_is_ended(rig):
    add(rig)
    run = rig.begin(*STEPS)
    with pytest.raises(HomeportError, match=f"cannot add far: backup {run.id} is under way") as e:
        add(rig, "far", "/mnt/c")
    wait, _, end = e.value.hint.partition("; or ")
    assert wait == f"wait for its end: homeport backup show {run.id}"
    assert end == f"homeport backup cancel {run.id}"
    with pytest.raises(HomeportError, match="cannot find repository 'nix'") as e:
        rig.backups.remove_repository("nix", actor="me")
    assert e.value.hint == "homeport backup repository list"


def test_nothing_is_listed_without_a_repository(rig):
    with pytest.raises(HomeportError, match="cannot list backups: there is no repository"):
        rig.backups.listed()


def test_the_last_repository_goes_and_nothing_is_archived_any_more(rig):
    add(rig)
    rig.backups.remove_repository("local", actor="me")
    assert rig.worker.asked == ["prepare", "disable"]
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.no_repositories"):
        rig.backups.back_up(actor="me")


def test_backups_of_what_is_not_there_any_more_are_listed_and_marked(rig):
    add(rig)
    rig.worker.results["list"] = {"files": [{"series": "homeport"}, {"series": "shop.staging"}]}
    found = rig.backups.listed()["files"]
    assert [(f["series"], f["removed"]) for f in found] == [("homeport", False), ("shop.staging", True)]


def test_a_recovered_machine_backs_up_nothing_until_a_person_says_so(rig):
    from homeport.rollout.backups.recovered import settle

    add(rig)
    under_way = rig.begin(*STEPS)
    copied = under_way.started_at + timedelta(seconds=2)
    settle(
        rig.store,
        rig.vault,
        repository="local",
        place=Place(path="/new"),
        keys={},
        former="/d",
        here="/d",
        as_of=copied,
        before=None,
    )
    ended = rig.to_end(under_way.id)
    assert (ended.state, ended.finished_at) == (CANCELLED, copied), "it took no longer than is known"
    assert ended.reason == "it was under way when this state was backed up"
    assert rig.backups.repositories.get("local").place == Place(path="/new")
    rounds = Rounds(rig.backups, rig.store, RealClock())
    rounds.tick()
    rounds.close()
    assert len(rig.backups.runs.list()) == 1, "the clock begins none"
    for call in (rig.backups.back_up, rig.backups.prove):
        with pytest.raises(HomeportError, check=lambda e: e.code == "backup.held"):
            call(actor="me")
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        rig.backups.resume(actor="me")
    assert rig.backups.repositories.held_since() is not None
    rig.backups.resume(actor="me")
    assert rig.backups.repositories.held_since() is None
    assert rig.backups.runs.list()[0].request["full"], "it begins anew at once"
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.not_held"):
        rig.backups.resume(actor="me")


def test_the_newest_runs_are_kept_and_what_runs_is_never_forgotten(rig):
    ids = [rig.begin(Step("a", "a")).id]
    for _ in range(4):
        rig.to_end(ids[-1])
        ids.append(rig.begin(Step("a", "a")).id)
    with rig.store.transaction("me") as tx:
        runs.forget(tx, 2, states=0)
    assert [r.id for r in rig.backups.runs.list()] == ids[:-3:-1]
    with rig.store.transaction("me") as tx:
        runs.forget(tx, 0, states=0)
    assert [r.id for r in rig.backups.runs.list()] == ids[-1:]


def test_two_who_ask_at_once_do_not_end_each_other(rig):
    """A child ends another of its name, as one that was left over."""
    inside, most = [], []

    def run(work, request, **_):
        inside.append(work)
        most.append(len(inside))
        time.sleep(0.02)
        inside.remove(work)

    rig.worker.run = run
    threads = [threading.Thread(target=rig.backups.ask, args=("list", {})) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1] * 4


def test_another_passphrase_is_told_and_what_it_is_is_not(rig):
    add(rig)
    rig.backups.set_passphrase("seven other words that nobody knows", actor="ada")
    told = rig.store.records()[-1]
    assert (told.kind, told.actor, told.data) == (
        "backup.passphrase_changed",
        "ada",
        {"repositories": ["local"]},
    )
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        rig.backups.set_passphrase("again other words that nobody knows", actor="ada")
    assert rig.store.records()[-1] == told
