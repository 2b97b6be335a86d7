"""The plan of a run, replayed from every interrupted prefix."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_values import (
    APPROVE,
    BUILD,
    CHECK,
    PRODUCTION,
    TO_PRODUCTION,
    TO_STAGING,
    VERIFY,
    run,
    said,
    spec,
    stage,
)

from homeport.rollout.pipeline import gate, plan
from homeport.rollout.pipeline.model import Observed, RunState, StageState

STAGES = (CHECK, BUILD, TO_STAGING, APPROVE, TO_PRODUCTION, VERIFY)


def placed(stages=STAGES, serving=None):
    return gate.placed(stages, spec(), serving or {})


class World:
    """Applies steps as the service would, and checks what must always hold."""

    def __init__(self, stages, *, failing=None, verdict=True, state=RunState.QUEUED):
        self.stages = stages
        self.failing = failing
        self.verdict = verdict
        self.observed = Observed(run(state), ahead=False)
        self.trail = []

    def row(self, position):
        return next((s for s in self.observed.stages if s.position == position), None)

    def put(self, made):
        others = tuple(s for s in self.observed.stages if s.position != made.position)
        self.observed = replace(self.observed, stages=(*others, made))

    def set_run(self, **changes):
        self.observed = replace(self.observed, run=replace(self.observed.run, **changes))

    def apply(self, step) -> bool:
        """Whether the run has ended."""
        self.trail.append(step)
        attempt = self.observed.run.attempt
        match step:
            case plan.AwaitTurn():
                self.observed = replace(self.observed, ahead=False)
            case plan.Start():
                assert not self.observed.ahead
                self.set_run(state=RunState.RUNNING)
            case plan.Begin(p):
                earlier = [q for q in self.stages if q.position < p.position]
                for q in earlier:
                    assert self.row(q.position).state is StageState.PASSED, (
                        "in order, each after those before"
                    )
                if p.stage.kind == "approve":
                    self.set_run(state=RunState.WAITING)
                    self.put(stage(p, StageState.WAITING, attempt=attempt, serving=None))
                else:
                    self.put(stage(p, StageState.RUNNING, attempt=attempt))
            case plan.Carry(p):
                if p.stage is TO_PRODUCTION:
                    gates = [q for q in self.stages if q.guards == p.position]
                    assert gates and all(self.row(q.position).state is StageState.PASSED for q in gates)
                bad = p.stage is self.failing
                self.put(
                    self.row(p.position).ended(
                        StageState.FAILED if bad else StageState.PASSED, "it broke" if bad else ""
                    )
                )
            case plan.AwaitPerson(p):
                self.observed = replace(self.observed, decision=said(p, approved=self.verdict))
            case plan.Close(position, outcome, reason):
                self.set_run(state=RunState.RUNNING)
                self.put(self.row(position).ended(outcome, reason))
            case plan.End(outcome, reason):
                self.set_run(state=outcome, reason=reason)
                return True
            case plan.Nothing():
                return True
        return False

    def go_on(self, most=100):
        for _ in range(most):
            if self.apply(plan.plan(self.stages, self.observed)[0]):
                return self.observed.run
        raise AssertionError(f"no end: {self.trail[-3:]}")


def test_all_green():
    world = World(placed())
    assert world.go_on().state is RunState.PASSED
    assert [s.placed.stage.name for s in world.trail if isinstance(s, plan.Begin)] == [s.name for s in STAGES]


def test_the_plan_tells_every_step_to_the_end():
    told = plan.plan(placed(), Observed(run(RunState.QUEUED), ahead=True))
    assert isinstance(told[0], plan.AwaitTurn)
    assert told[-1] == plan.End(RunState.PASSED)
    assert sum(isinstance(s, plan.Begin) for s in told) == len(STAGES)


@pytest.mark.parametrize("failing", [None, CHECK, BUILD, TO_STAGING, TO_PRODUCTION, VERIFY])
@pytest.mark.parametrize("verdict", [True, False])
def test_a_run_ends_alike_from_every_interrupted_prefix(failing, verdict):
    """What is planned follows from what is recorded alone: a plan that starts over goes on the same way."""
    whole = World(placed(), failing=failing, verdict=verdict)
    end = whole.go_on()
    for length in range(len(whole.trail)):
        cut = World(placed(), failing=failing, verdict=verdict)
        for step in whole.trail[:length]:
            cut.apply(step)
        again = cut.go_on()
        assert (again.state, again.reason) == (end.state, end.reason)
        assert cut.trail == whole.trail


def test_a_failed_stage_stops_the_run_and_says_why():
    world = World(placed(), failing=TO_STAGING)
    end = world.go_on()
    assert (end.state, end.reason) == (RunState.FAILED, "deploy staging: it broke")
    assert world.row(9) is None


def test_a_rejection_stops_the_run():
    end = World(placed(), verdict=False).go_on()
    assert end.state is RunState.FAILED
    assert end.reason == "approve production: rejected by anna: looked at it"


def test_a_retry_goes_on_from_the_stage_that_failed():
    world = World(placed(), failing=TO_PRODUCTION)
    world.go_on()
    world.failing = None
    world.trail.clear()
    world.set_run(state=RunState.QUEUED, attempt=2)
    assert world.go_on().state is RunState.PASSED
    assert [s.placed.stage.name for s in world.trail if isinstance(s, plan.Begin)] == [
        "deploy production",
        "verify production",
    ]


def test_a_retry_asks_again_when_something_else_serves_by_now():
    world = World(placed(), failing=TO_PRODUCTION)
    world.go_on()
    world.set_run(state=RunState.RUNNING, attempt=2)
    world.observed = replace(world.observed, serving={PRODUCTION: "r9"}, decision=None)
    assert plan.plan(world.stages, world.observed)[0] == plan.Begin(world.stages[3])


def test_a_retry_asks_not_again_for_what_is_deployed_already():
    world = World(placed(), failing=VERIFY)
    world.go_on()
    world.set_run(state=RunState.RUNNING, attempt=2)
    world.observed = replace(world.observed, serving={PRODUCTION: "r9"})
    assert plan.plan(world.stages, world.observed)[0] == plan.Begin(world.stages[5])


def at_gate(**changes):
    rows = tuple(stage(p, StageState.PASSED) for p in placed()[:3])
    waiting = stage(placed()[3], StageState.WAITING, serving=None)
    observed = Observed(
        run(RunState.WAITING, cancel=changes.pop("cancel", "")), ahead=False, stages=(*rows, waiting)
    )
    return plan.plan(placed(), replace(observed, **changes))


def test_a_gate_waits():
    assert at_gate()[0] == plan.AwaitPerson(placed()[3])


def test_a_gate_closes_when_it_is_overdue():
    assert at_gate(overdue=True)[0] == plan.Close(7, StageState.FAILED, "nobody approved it in time")


def test_an_approval_in_the_last_moment_counts():
    assert at_gate(overdue=True, decision=said(placed()[3]))[0] == plan.Close(7, StageState.PASSED)


def test_a_run_that_waits_makes_room_for_a_newer_one():
    first, second = at_gate(newer=9)
    assert first == plan.Close(7, StageState.CANCELLED, "superseded by #9")
    assert second == plan.End(RunState.SUPERSEDED, "superseded by #9")


def test_a_superseded_gate_ends_superseded_also_when_cut_off_between_the_two_steps():
    rows = tuple(stage(p, StageState.PASSED) for p in placed()[:3])
    closed = stage(placed()[3], StageState.CANCELLED, reason="superseded by #9")
    observed = Observed(run(), ahead=False, stages=(*rows, closed))
    assert plan.plan(placed(), observed) == (plan.End(RunState.SUPERSEDED, "superseded by #9"),)


def test_an_approved_run_is_not_superseded():
    assert at_gate(newer=9, decision=said(placed()[3]))[0] == plan.Close(7, StageState.PASSED)


def test_a_queued_run_makes_room_for_a_newer_one():
    observed = Observed(run(RunState.QUEUED), ahead=True, newer=9)
    assert plan.plan(placed(), observed) == (plan.End(RunState.SUPERSEDED, "superseded by #9"),)


def test_a_run_that_carries_out_a_stage_is_never_superseded():
    observed = Observed(run(), ahead=False, newer=9, stages=(stage(placed()[0], StageState.RUNNING),))
    assert plan.plan(placed(), observed)[0] == plan.Carry(placed()[0])


def test_between_two_stages_it_is_not_superseded_either():
    observed = Observed(run(), ahead=False, newer=9, stages=(stage(placed()[0], StageState.PASSED),))
    assert plan.plan(placed(), observed)[0] == plan.Begin(placed()[1])


def test_cancelled_in_the_queue():
    observed = Observed(run(RunState.QUEUED, cancel="anna"), ahead=True)
    assert plan.plan(placed(), observed) == (plan.End(RunState.CANCELLED, "cancelled by anna"),)


def test_cancelled_between_two_stages():
    observed = Observed(run(cancel="anna"), ahead=False, stages=(stage(placed()[0], StageState.PASSED),))
    assert plan.plan(placed(), observed) == (plan.End(RunState.CANCELLED, "cancelled by anna"),)


def test_cancelled_at_a_gate():
    assert at_gate(cancel="anna", decision=said(placed()[3]))[0] == plan.Close(
        7, StageState.CANCELLED, "cancelled by anna"
    )


def test_cancelled_after_the_last_stage_has_passed_it_has_passed():
    rows = tuple(stage(p, StageState.PASSED) for p in placed())
    assert plan.plan(placed(), Observed(run(cancel="anna"), ahead=False, stages=rows)) == (
        plan.End(RunState.PASSED),
    )


def test_an_ended_run_stays_so():
    assert plan.plan(placed(), Observed(run(RunState.FAILED), ahead=False)) == (plan.Nothing(),)


GATED = {PRODUCTION: spec(gate=True)}
UNGATED = (BUILD, TO_PRODUCTION)


def test_a_gate_that_came_up_while_its_deploy_was_under_way_asks_nothing():
    without, with_gate = placed(UNGATED), placed(UNGATED, GATED)
    assert [p.position for p in with_gate] == [1, 2, 3]
    rows = (stage(without[0], StageState.PASSED), stage(without[1], StageState.RUNNING))
    assert plan.plan(with_gate, Observed(run(), ahead=False, stages=rows))[0] == plan.Carry(without[1])


def test_a_gate_that_came_up_when_its_deploy_had_passed_asks_nothing():
    rows = tuple(stage(p, StageState.PASSED) for p in placed(UNGATED))
    observed = Observed(run(), ahead=False, stages=rows)
    assert plan.plan(placed(UNGATED, GATED), observed) == (plan.End(RunState.PASSED),)


def test_a_gate_that_came_up_before_a_retry_asks():
    build, deploy = placed(UNGATED)
    rows = (stage(build, StageState.PASSED), stage(deploy, StageState.FAILED))
    observed = Observed(run(attempt=2), ahead=False, stages=rows)
    assert plan.plan(placed(UNGATED, GATED), observed)[0] == plan.Begin(placed(UNGATED, GATED)[1])


@given(
    gates=st.lists(st.booleans(), max_size=40),
    verdict=st.booleans(),
)
def test_no_deploy_without_approval_whatever_begins_to_serve_meanwhile(gates, verdict):
    """The release that serves may bring or drop a gate between any two looks."""
    world = World(placed(UNGATED), verdict=verdict, state=RunState.RUNNING)
    asked = False
    for gated in [*gates, *[True] * 20]:
        waiting = [s.position for s in world.observed.stages if s.state is StageState.WAITING]
        world.stages = gate.placed(UNGATED, spec(), GATED if gated else {}, waiting)
        step = plan.plan(world.stages, world.observed)[0]
        if isinstance(step, plan.AwaitPerson):
            asked = True
        if isinstance(step, plan.Begin) and step.placed.stage is TO_PRODUCTION and gated:
            assert asked and world.row(2).state is StageState.PASSED
        if isinstance(step, plan.Carry):
            # The deploy began when nothing asked for a gate, or after the gate.
            world.put(world.row(step.placed.position).ended(StageState.PASSED))
            continue
        if world.apply(step):
            break
    assert world.observed.run.state.ended
