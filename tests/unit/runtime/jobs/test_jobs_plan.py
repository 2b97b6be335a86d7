"""The plan of scheduled commands, in a world that is cut off after any of its effects."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.runtime.jobs import plan
from homeport.runtime.jobs.model import SCHEDULE, Job, Outcome, Run, RunState, Seen, run_id, schedule_key
from homeport.spec.model import Cron
from homeport.spec.schedule import Schedule

SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
R1 = ReleaseId("r1")


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def job(cron: Cron | None = None, *runs: Run, planned_to: datetime | None = NOW, **more) -> Job:
    cron = cron or a_cron()
    values = {
        "cron": cron,
        "schedule": Schedule(cron.schedule, cron.timezone),
        "release": R1,
        "planned_to": planned_to,
        "planned_by": schedule_key(cron),
        "paused_by": None,
        "runs": runs,
    }
    return Job(SHOP, PRODUCTION, cron.name, **{**values, **more})


def a_cron(schedule: str = "@every 10m", **more) -> Cron:
    return Cron("report", schedule, "true", **more)


def a_run(number: int, state=RunState.WAITING, *, due_at=NOW, start_at=None, **more) -> Run:
    values = {"cause": SCHEDULE, "attempt": 1, "missed": False, **more}
    id_ = run_id(SHOP, PRODUCTION, "report", number)
    return Run(
        id_, SHOP, PRODUCTION, "report", number, due_at, state=state, start_at=start_at or due_at, **values
    )


def adds(steps) -> list[tuple[datetime, bool]]:
    return [(s.due_at, s.missed) for s in steps if isinstance(s, plan.Add)]


# Which runs are made


def test_a_new_job_is_planned_from_now_on():
    assert plan.create(job(planned_to=None), NOW) == (plan.Planned(NOW, "@every 10m UTC"),)


def test_a_job_of_another_schedule_is_planned_from_now_on():
    old = job(planned_to=NOW - timedelta(days=300), planned_by="@yearly UTC")
    assert plan.create(old, NOW) == (plan.Planned(NOW, "@every 10m UTC"),)
    moved = job(
        a_cron(timezone="Europe/Berlin"), planned_to=NOW - timedelta(days=300), planned_by="@every 10m UTC"
    )
    assert plan.create(moved, NOW) == (plan.Planned(NOW, "@every 10m Europe/Berlin"),)


def test_what_is_due_gets_a_run_once():
    before = job(planned_to=NOW - seconds(1))
    assert plan.create(before, NOW) == (plan.Add(NOW, NOW, False), plan.Planned(NOW, "@every 10m UTC"))
    assert plan.create(job(planned_to=NOW), NOW) == ()
    assert plan.create(job(planned_to=NOW), NOW + seconds(599)) == ()


def test_a_job_that_no_release_has_is_not_planned():
    gone = replace(job(planned_to=NOW - seconds(900)), cron=None, schedule=None)
    assert plan.create(gone, NOW) == (plan.Planned(None, "@every 10m UTC"),)
    assert plan.create(replace(gone, planned_to=None), NOW) == ()


def test_a_paused_job_gets_none():
    assert plan.create(job(planned_to=NOW - seconds(900), paused_by="ann"), NOW) == ()


@pytest.mark.parametrize(
    ("missed", "kept", "passed"), [("once", [NOW - seconds(600)], 4), ("skip", [], 5), ("all", 5, 0)]
)
def test_what_was_due_while_homeport_was_down(missed, kept, passed):
    steps = plan.create(job(a_cron(missed=missed), planned_to=NOW - seconds(3001)), NOW)
    times = [NOW - seconds(600 * n) for n in range(5, 0, -1)]
    assert adds(steps) == [(at, True) for at in (times if kept == 5 else kept)] + [(NOW, False)]
    over = [s for s in steps if isinstance(s, plan.PassOver)]
    assert [(s.count, s.first, s.last) for s in over] == (
        [(passed, times[0], times[passed - 1])] if passed else []
    )
    assert isinstance(steps[-1], plan.Planned)
    for step in steps:
        if isinstance(step, plan.Add) and step.missed:
            assert step.start_at == NOW


def test_a_minute_late_is_not_missed():
    steps = plan.create(job(a_cron("@every 10s", missed="skip"), planned_to=NOW - seconds(59)), NOW)
    assert adds(steps) == [(NOW - seconds(10 * n), False) for n in range(5, -1, -1)]


def test_all_that_was_missed_has_a_bound():
    steps = plan.create(job(a_cron("@every 1s", missed="all"), planned_to=NOW - timedelta(days=30)), NOW)
    missed = [at for at, is_missed in adds(steps) if is_missed]
    assert len(missed) == plan.MOST and missed[-1] == NOW - plan.LATE
    [over] = [s for s in steps if isinstance(s, plan.PassOver)]
    assert over.first == NOW - timedelta(days=30) + seconds(1)


def test_the_random_delay_is_bounded_and_stable():
    cron = a_cron(random_delay=300.0)
    delays = set()
    for n in range(50):
        at = NOW + seconds(600 * n)
        [add, _] = plan.create(job(cron, planned_to=at - seconds(1)), at)
        assert plan.create(job(cron, planned_to=at - seconds(5)), at + seconds(9))[0] == add
        assert timedelta() <= add.start_at - add.due_at < seconds(300)
        delays.add(add.start_at - add.due_at)
    assert len(delays) > 40


def test_a_clock_that_jumps():
    """Back an hour: nothing until it is there again. Back for days: from then on. Forward: missed."""
    assert plan.create(job(planned_to=NOW), NOW - seconds(3600)) == ()
    assert plan.create(job(planned_to=NOW + timedelta(days=2)), NOW) == (plan.Planned(NOW, "@every 10m UTC"),)
    steps = plan.create(job(planned_to=NOW), NOW + seconds(3601))
    assert adds(steps) == [(NOW + seconds(3000), True), (NOW + seconds(3600), False)]


# What becomes of them


def test_one_that_is_due_starts_and_one_with_a_delay_waits():
    due, later = a_run(1), a_run(2, start_at=NOW + seconds(1))
    assert plan.move(job(None, due, later), {}, NOW) == (plan.Start(due),)
    assert plan.move(job(None, later), {}, NOW) == ()


def test_overlap():
    running, due, newer = a_run(1, RunState.RUNNING), a_run(2), a_run(3, start_at=NOW)
    seen = {running.id: Seen.RUNNING}

    def moves(overlap, *runs):
        return plan.move(job(a_cron(overlap=overlap), *runs), seen, NOW)

    assert moves("skip", running, due) == (plan.Skip(due, plan.STILL_RAN),)
    assert moves("queue", running, due) == ()
    assert moves("replace", running, due) == (plan.End(running, RunState.REPLACED),)
    assert moves("replace", running, due, newer) == (
        plan.Skip(due, plan.NEWER_DUE),
        plan.End(running, RunState.REPLACED),
    )
    assert moves("skip", due, newer) == (plan.Start(due), plan.Skip(newer, plan.STILL_RAN))
    assert moves("queue", due, newer) == (plan.Start(due),)
    assert moves("replace", due, newer) == (plan.Skip(due, plan.NEWER_DUE), plan.Start(newer))


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_runs_asked_for_made_up_for_and_tried_again_wait_their_turn(overlap):
    running = a_run(1, RunState.RUNNING)
    others = (a_run(2, cause="ann"), a_run(3, missed=True), a_run(4, attempt=2))
    assert plan.move(job(a_cron(overlap=overlap), running, *others), {running.id: Seen.RUNNING}, NOW) == ()


def test_a_queue_has_a_bound():
    running = a_run(1, RunState.RUNNING)
    waiting = [a_run(n) for n in range(2, plan.MOST + 4)]
    steps = plan.move(job(a_cron(overlap="queue"), running, *waiting), {running.id: Seen.RUNNING}, NOW)
    assert steps == tuple(plan.Skip(run, plan.QUEUE_FULL) for run in waiting[plan.MOST :])


def test_waiting_ones_of_a_job_that_no_release_has_are_skipped():
    running, waiting = a_run(1, RunState.RUNNING), a_run(2)
    gone = replace(job(None, running, waiting), cron=None, schedule=None)
    assert plan.move(gone, {running.id: Seen.RUNNING}, NOW) == (plan.Skip(waiting, plan.NOT_SERVED),)
    [finish, _] = plan.move(gone, {running.id: Seen.UNPREPARED}, NOW)
    assert finish.outcome.state is RunState.SKIPPED
    # One that a runner may have been sent for is not given up.
    assert plan.move(gone, {running.id: Seen.UNCLAIMED}, NOW)[0] == plan.Launch(running)


@pytest.mark.parametrize(
    ("state", "tried_again"),
    [
        (RunState.SUCCEEDED, False),
        (RunState.FAILED, True),
        (RunState.TIMED_OUT, True),
        (RunState.LOST, True),
        (RunState.STOPPED, False),
        (RunState.REPLACED, False),
    ],
)
def test_retries_double_their_pause(state, tried_again):
    cron = a_cron(retries=3, retry_delay=30.0)
    for attempt, pause in ((1, 30), (2, 60), (3, 120), (4, None)):
        run = a_run(1, RunState.RUNNING, attempt=attempt)
        [finish] = plan.move(job(cron, run), {run.id: Outcome(state, "", NOW)}, NOW)
        wanted = NOW + seconds(pause) if tried_again and pause else None
        assert finish.retry_at == wanted


def test_a_pause_before_a_retry_has_a_bound():
    run = a_run(1, RunState.RUNNING, attempt=5000)
    [finish] = plan.move(
        job(a_cron(retries=9999, retry_delay=1e6), run), {run.id: Outcome(RunState.FAILED, "", NOW)}, NOW
    )
    assert finish.retry_at == NOW + plan.LONGEST_PAUSE


def test_a_paused_job_is_not_tried_again():
    run = a_run(1, RunState.RUNNING)
    paused = job(a_cron(retries=3), run, paused_by="ann")
    assert plan.move(paused, {run.id: Outcome(RunState.FAILED, "", NOW)}, NOW)[0].retry_at is None


# Any interruption


class Killed(Exception):
    pass


@dataclass
class World:
    """The state, the files and the runners, where each effect may be the last of a control plane's life."""

    cron: Cron
    kills: list[int]
    """After how many effects each control plane dies."""
    loses: frozenset[int]
    """Numbers of runs whose runner is killed."""
    now: datetime = NOW
    planned_to: datetime | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    prepared: set[str] = field(default_factory=set)
    claims: dict[str, datetime] = field(default_factory=dict)
    """When a runner took it: its end is 5 s later."""
    sent: list[str] = field(default_factory=list)
    """Runners on their way."""
    starts: list[str] = field(default_factory=list)
    left: int = 10**9

    def effect(self) -> None:
        if self.left == 0:
            self.left = self.kills.pop() if self.kills else 10**9
            raise Killed
        self.left -= 1

    def job(self) -> Job:
        active = [run for run in self.runs.values() if run.state.is_active]
        return job(self.cron, *active, planned_to=self.planned_to)

    def look(self, run: Run) -> Seen | Outcome:
        if run.id not in self.prepared:
            return Seen.UNPREPARED
        if run.id not in self.claims:
            return Seen.UNCLAIMED
        end = self.claims[run.id] + seconds(5)
        if self.now < end:
            return Seen.RUNNING
        return Seen.GONE if run.number in self.loses else Outcome(RunState.SUCCEEDED, "status 0", end)

    def runners(self) -> None:
        """Those sent arrive, in any number: one takes the run."""
        for id_ in self.sent:
            if id_ in self.prepared and id_ not in self.claims:
                self.claims[id_] = self.now
                self.starts.append(id_)
        self.sent.clear()

    def add(self, step: plan.Add, runs: dict[str, Run]) -> None:
        if not any(r.due_at == step.due_at and r.attempt == 1 for r in runs.values()):
            new = a_run(len(runs) + 1, due_at=step.due_at, start_at=step.start_at, missed=step.missed)
            runs[new.id] = new

    def tick(self) -> None:
        runs, planned_to = dict(self.runs), self.planned_to
        for step in plan.create(self.job(), self.now):
            if isinstance(step, plan.Add):
                self.add(step, runs)
            elif isinstance(step, plan.Planned):
                planned_to = step.to
        self.effect()
        self.runs, self.planned_to = runs, planned_to  # a transaction
        current = self.job()
        seen = {r.id: self.look(r) for r in current.runs if r.state is RunState.RUNNING}
        steps = plan.move(current, seen, self.now)
        runs = dict(self.runs)
        for step in steps:
            if isinstance(step, plan.Start):
                runs[step.run.id] = replace(step.run, state=RunState.RUNNING)
            elif isinstance(step, plan.Skip):
                runs[step.run.id] = replace(step.run, state=RunState.SKIPPED)
            elif isinstance(step, plan.Finish):
                runs[step.run.id] = replace(step.run, state=step.outcome.state)
                if step.retry_at is not None:
                    again = a_run(
                        len(runs) + 1,
                        due_at=step.run.due_at,
                        start_at=step.retry_at,
                        attempt=step.run.attempt + 1,
                    )
                    runs[again.id] = again
        self.effect()
        self.runs = runs  # a transaction
        for step in steps:
            if isinstance(step, plan.Start | plan.Launch):
                self.effect()
                self.prepared.add(step.run.id)
                self.effect()
                self.sent.append(step.run.id)
            elif isinstance(step, plan.Finish):
                self.effect()
                self.prepared.discard(step.run.id)
        self.effect()


@settings(deadline=None, max_examples=50)
@given(
    overlap=st.sampled_from(["skip", "queue", "replace"]),
    kills=st.lists(st.integers(0, 12), max_size=12),
    loses=st.frozensets(st.integers(1, 6), max_size=3),
    retries=st.integers(0, 2),
)
def test_each_due_time_has_one_run_and_each_run_one_start_whatever_is_cut_off(overlap, kills, loses, retries):
    cron = a_cron("@every 4s", overlap=overlap, retries=retries, retry_delay=1.0)
    world = World(cron, list(kills), loses)
    world.left = world.kills.pop() if world.kills else 10**9
    began = None
    for _ in range(60):
        try:
            world.tick()
        except Killed:
            pass
        began = began or world.planned_to
        world.runners()
        in_hand = [r for r in world.runs.values() if r.state is RunState.RUNNING]
        assert len(in_hand) <= 1
        world.now += seconds(1)
    firsts = [r.due_at for r in world.runs.values() if r.attempt == 1]
    assert began is not None
    assert sorted(firsts) == list(Schedule(cron.schedule).due(began, max(world.planned_to, began), most=1000))
    assert len(world.starts) == len(set(world.starts))
    for run in world.runs.values():
        if run.state in (RunState.SUCCEEDED, RunState.LOST):
            assert run.id in world.starts
        elif run.state in (RunState.SKIPPED, RunState.WAITING):
            assert run.id not in world.starts
    lost = [r for r in world.runs.values() if r.state is RunState.LOST]
    assert {r.number for r in lost} <= loses
    attempts = {(r.due_at, r.attempt) for r in world.runs.values()}
    for run in lost:
        assert ((run.due_at, run.attempt + 1) in attempts) == (run.attempt <= retries)
