"""What people ask of jobs, and what is kept of them, over a real state; no command runs for long."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.runtime.jobs import rounds
from homeport.runtime.jobs.model import RunState

sys.path.insert(0, str(Path(__file__).parent))

from jobs_home import PRODUCTION, SHOP, JobsHome


@pytest.fixture
def home() -> Iterator[JobsHome]:
    home = JobsHome()
    try:
        yield home
    finally:
        home.end()


def refused(call: object, *args: object) -> HomeportError:
    with pytest.raises(HomeportError) as e:
        call(*args)
    assert e.value.sentence.startswith("cannot ")
    return e.value


def test_what_does_not_exist(home: JobsHome) -> None:
    home.job("true")
    jobs = home.jobs
    for call in (jobs.run_now, jobs.pause, jobs.resume):
        error = refused(call, SHOP, PRODUCTION, "reprot", "ann")
        assert (error.code, error.hint) == ("runtime.unknown_cron", 'did you mean "report"?')
        assert refused(call, SHOP, "staging", "report", "ann").code == "runtime.cron_not_serving"
    assert refused(jobs.history, SHOP, PRODUCTION, "reprot", 5).code == "runtime.unknown_cron"
    assert refused(jobs.output, "../../state", 5).code == "runtime.unknown_cron_run"
    assert refused(jobs.stop, "nothing", "ann").code == "runtime.unknown_cron_run"
    assert jobs.history(SHOP, PRODUCTION, "report", 5) == ()
    assert jobs.list(SHOP, "staging") == ()


def test_list_tells_the_next_time_and_the_last_run(home: JobsHome) -> None:
    home.job("exit 2", schedule="0 3 * * *", timezone="Europe/Berlin")
    [status] = home.jobs.list(SHOP, PRODUCTION)
    assert (status.name, status.last, status.paused_by) == ("report", None, None)
    assert status.next is not None and status.next > home.clock.now()
    id_ = home.run_now()
    home.ended(id_)
    [status] = home.jobs.list(SHOP, PRODUCTION)
    assert status.last is not None
    assert (status.last.id, status.last.state) == (id_, RunState.FAILED)


def test_a_pause_holds_over_control_planes_and_ends_without_making_up(home: JobsHome) -> None:
    home.job("true", schedule="@every 1s", missed="all")
    home.jobs.tick()
    home.jobs.pause(SHOP, PRODUCTION, "report", "ann")
    home.jobs.pause(SHOP, PRODUCTION, "report", "bob")
    home.control_plane()
    home.clock.shift += 30
    home.jobs.tick()
    assert home.runs() == {}
    [status] = home.jobs.list(SHOP, PRODUCTION)
    assert (status.paused_by, status.next) == ("ann", None)
    by_hand = home.run_now()
    assert home.ended(by_hand).state is RunState.SUCCEEDED
    home.jobs.resume(SHOP, PRODUCTION, "report", "bob")
    home.jobs.resume(SHOP, PRODUCTION, "report", "bob")
    home.clock.shift += 1
    home.tick_until(lambda: len(home.runs()) > 1)
    assert len(home.runs()) <= 3
    kinds = [r.kind for r in home.store.records(limit=100) if r.kind.startswith("cron.")]
    assert kinds.count("cron.paused") == kinds.count("cron.resumed") == 1
    assert [r.actor for r in home.store.records(limit=100) if r.kind == "cron.paused"] == ["ann"]


def test_a_pause_drops_what_waits(home: JobsHome) -> None:
    home.job("sleep 1000", schedule="@every 1s", overlap="queue")
    home.jobs.tick()
    home.clock.shift += 3
    home.jobs.tick()
    by_hand = home.run_now()
    states = [r.state for r in home.runs().values() if r.id != by_hand]
    assert states.count(RunState.RUNNING) == 1 and states.count(RunState.WAITING) >= 2
    home.jobs.pause(SHOP, PRODUCTION, "report", "ann")
    states = [r.state for r in home.runs().values() if r.id != by_hand]
    assert states.count(RunState.WAITING) == 0
    assert home.state_of(by_hand) is RunState.WAITING
    assert {e["reason"] for e in home.events("cron.skipped")} == {"the job was paused"}


def test_an_hour_forth_and_back(home: JobsHome) -> None:
    """Forth: what was jumped over counts as missed. Back: no time runs twice, and it goes on from there."""
    home.job("true", schedule="@every 10m", missed="all", overlap="queue")
    home.jobs.tick()
    home.clock.shift += 3600
    home.jobs.tick()
    ahead = {r.due_at for r in home.runs().values()}
    assert len(ahead) == 6
    home.clock.shift -= 3600
    for _ in range(7):
        home.jobs.tick()
        assert {r.due_at for r in home.runs().values()} == ahead
        home.clock.shift += 600
    home.jobs.tick()
    assert len(home.runs()) == 7
    home.tick_until(lambda: all(r.state is RunState.SUCCEEDED for r in home.runs().values()))
    assert len({r.due_at for r in home.runs().values()}) == 7


def test_days_back_begins_anew_and_due_times_that_ran_do_not_run_again(home: JobsHome) -> None:
    home.job("true", schedule="@every 12h")
    home.jobs.tick()
    home.clock.shift += 12 * 3600
    home.jobs.tick()
    [first] = home.runs().values()
    home.clock.shift += 30 * 86400
    home.jobs.tick()
    home.clock.shift -= 30 * 86400 + 12 * 3600
    home.jobs.tick()
    runs = len(home.runs())
    home.clock.shift += 12 * 3600
    home.jobs.tick()
    assert len(home.runs()) == runs
    assert [r.due_at for r in home.runs().values()].count(first.due_at) == 1


def test_a_changed_schedule_makes_nothing_up(home: JobsHome) -> None:
    home.job("true", schedule="@yearly")
    home.jobs.tick()
    home.clock.shift += 20 * 86400
    home.job("true", schedule="@every 1m", missed="all")
    home.jobs.tick()
    assert home.runs() == {}
    home.clock.shift += 60
    home.jobs.tick()
    assert len(home.runs()) == 1


def test_the_newest_runs_are_kept_with_their_output(home: JobsHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "KEEP", 3)
    home.job("echo $HOMEPORT_RUN")
    ids = []
    for _ in range(5):
        ids.append(home.run_now())
        home.ended(ids[-1])
    waiting = home.run_now()
    home.jobs.clean()
    assert sorted(home.runs()) == sorted([*ids[2:], waiting])
    for id_ in ids:
        assert home.layout.log(id_).exists() == (id_ in ids[2:])
    assert refused(home.jobs.output, ids[0], 5).code == "runtime.unknown_cron_run"
    assert home.printed(ids[4]) == [ids[4]]
    assert home.ended(waiting).number == 6


def test_a_bad_schedule_of_another_version_stops_no_other_job(home: JobsHome) -> None:
    from dataclasses import replace

    good = home.job("true", schedule="@every 1s")
    home.crons = (replace(good, name="bad", schedule="@sometimes"), good)
    home.jobs.tick()
    home.clock.shift += 1
    home.tick_until(lambda: any(r.name == "report" for r in home.runs().values()))
    assert [s.next is None for s in home.jobs.list(SHOP, PRODUCTION)] == [True, False]
