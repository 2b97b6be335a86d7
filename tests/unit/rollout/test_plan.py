"""The rollout plan, replayed from every interrupted prefix."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.kernel.ids import ChangeId, InstanceName, ProcessName, ReleaseId
from homeport.rollout import plan
from homeport.rollout.model import Goal, Want

CHANGE = ChangeId("c-0000000001")
WEB, API, WORKER = ProcessName("web"), ProcessName("api"), ProcessName("worker")
R1, R2 = ReleaseId("r1"), ReleaseId("r2")


def name(release: str):
    return plan.NameInstance(f"shop.production.{release}")


def seen(release, process, n, *, weight=0, ready=True, mine=False, retiring=False, usable=True, config="x"):
    return plan.Seen(
        name=InstanceName(f"shop.production.{release}.{process}.{n}"),
        release=ReleaseId(release),
        process=ProcessName(process),
        n=n,
        routed=process != "worker",
        config=config,
        mine=mine,
        ready=ready,
        usable=usable,
        weight=weight,
        retiring=retiring,
    )


def goal(
    release="r2", web=2, worker=0, api=0, strategy="blue-green", batch=1, config="x", fresh=False, first=False
):
    wants = [Want(WEB, True, web)]
    if api:
        wants.append(Want(API, True, api))
    if worker:
        wants.append(Want(WORKER, False, worker))
    return Goal(ReleaseId(release), tuple(wants), strategy, batch, config, fresh, first)


class World:
    """Applies steps as the service would, and checks what must always hold."""

    def __init__(self, goal: Goal, observed: plan.Observed, *, never_ready: frozenset[str] = frozenset()):
        self.goal = goal
        self.seen = observed
        self.never_ready = never_ready
        self.finished = False
        self.started_in_rotation = self.in_rotation()

    def in_rotation(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for i in self.seen.instances:
            if i.routed and i.weight > 0 and i.ready:
                counts[i.process] = counts.get(i.process, 0) + 1
        return counts

    def steps(self):
        return plan.plan(self.goal, CHANGE, self.seen, name(self.goal.release))

    def apply(self, step) -> None:
        s = self.seen
        match step:
            case plan.BuildRelease():
                s = replace(s, built=True)
            case plan.StartInstance(process, n):
                new = seen(self.goal.release, process, n, ready=False, mine=True)
                assert new.name not in {i.name for i in s.instances}, "a name was used twice"
                s = replace(s, instances=(*s.instances, new))
            case plan.AwaitReady(names):
                if set(names) & self.never_ready:
                    s = replace(s, failed=True)
                else:
                    s = replace(
                        s,
                        instances=tuple(
                            replace(i, ready=True) if i.name in names else i for i in s.instances
                        ),
                    )
            case plan.Shift(weights, routing, _):
                given_ = dict(weights)
                assert set(given_) == {i.name for i in s.instances if i.routed}
                for i in s.instances:
                    if given_.get(i.name):
                        assert i.ready, "traffic to an instance that is not ready"
                s = replace(
                    s,
                    routing=routing,
                    instances=tuple(
                        replace(i, weight=given_[i.name], retiring=given_[i.name] == 0) if i.routed else i
                        for i in s.instances
                    ),
                )
            case plan.Promote():
                s = replace(s, promoted=True, serving=self.goal.release)
            case plan.StopInstances(names):
                for i in s.instances:
                    if i.name in names:
                        assert i.weight == 0, "an instance with traffic is stopped"
                        if i.routed and not s.failed:
                            assert i.mine, "the old release is stopped before the verdict"
                s = replace(s, instances=tuple(i for i in s.instances if i.name not in names))
            case plan.Finish():
                self.finished = True
        self.seen = s
        self.check()

    def check(self) -> None:
        wanted = {w.process: w.count for w in self.goal.wants if w.routed}
        now = self.in_rotation()
        for process, before in self.started_in_rotation.items():
            floor = min(before, wanted.get(process, before)) if process in wanted else 0
            assert now.get(process, 0) >= floor, f"{process}: {now} in rotation, {before} before"

    def run(self, limit: int = 100) -> list:
        taken = []
        while not self.finished:
            step = self.steps()[0]
            taken.append(step)
            self.apply(step)
            assert len(taken) < limit, "it does not end"
        return taken


def observed(*instances, serving="r1", built=True, failed=False, promoted=False):
    return plan.Observed(
        built=built,
        instances=instances,
        routing=ReleaseId(serving) if serving else None,
        serving=ReleaseId(serving) if serving else None,
        promoted=promoted,
        failed=failed,
    )


def test_a_first_deploy_builds_starts_waits_and_shifts():
    world = World(goal(web=2, worker=1), observed(serving=None, built=False))
    kinds = [type(s).__name__ for s in world.run()]
    assert kinds == [
        "BuildRelease",
        "StartInstance",
        "StartInstance",
        "StartInstance",
        "AwaitReady",
        "Shift",
        "Promote",
        "Finish",
    ]
    assert world.in_rotation() == {"web": 2}


def test_blue_green_keeps_the_old_release_up_and_stops_old_workers_only():
    old = [seen("r1", "web", n, weight=100) for n in (1, 2)] + [seen("r1", "worker", 1)]
    world = World(goal(web=2, worker=1), observed(*old))
    world.run()
    left = {i.name: i for i in world.seen.instances}
    assert left["shop.production.r1.web.1"].retiring and left["shop.production.r1.web.1"].weight == 0
    assert "shop.production.r1.worker.1" not in left
    assert world.seen.serving == "r2"


def test_a_warm_rollback_only_moves_traffic():
    instances = [seen("r2", "web", n, weight=100) for n in (1, 2)]
    instances += [seen("r1", "web", n, retiring=True, config="other") for n in (1, 2)]
    world = World(goal("r1", web=2, config=None), observed(*instances, serving="r2"))
    assert [type(s).__name__ for s in world.run()] == ["Shift", "Promote", "Finish"]


def test_on_the_way_back_traffic_does_not_wait_for_workers():
    instances = [seen("r2", "web", 1, weight=100), seen("r2", "worker", 1)]
    instances += [seen("r1", "web", 1, retiring=True)]
    world = World(goal("r1", web=1, worker=1, config=None, first=True), observed(*instances, serving="r2"))
    whole = world.steps()
    kinds = [type(s).__name__ for s in whole]
    assert kinds == ["Shift", "Promote", "StartInstance", "AwaitReady", "StopInstances", "Finish"]
    assert world.run() == list(whole)


def test_a_changed_configuration_starts_new_instances():
    instances = [seen("r1", "web", 1, weight=100, config="old")]
    world = World(goal("r1", web=1, config="new"), observed(*instances))
    assert any(isinstance(s, plan.StartInstance) and s.n == 2 for s in world.run())


def test_restart_replaces_every_instance_of_the_same_release():
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2)]
    world = World(goal("r1", web=2, fresh=True), observed(*instances))
    world.run()
    assert {i.n for i in world.seen.instances if i.weight} == {3, 4}


def test_scaling_down_retires_the_highest_numbers():
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2, 3)]
    world = World(goal("r1", web=1), observed(*instances))
    world.run()
    assert {i.n for i in world.seen.instances if i.weight} == {1}
    assert all(i.retiring for i in world.seen.instances if not i.weight)


def test_scaling_up_keeps_what_serves():
    instances = [seen("r1", "web", 1, weight=100)]
    world = World(goal("r1", web=3), observed(*instances))
    started = [s.n for s in world.run() if isinstance(s, plan.StartInstance)]
    assert started == [2, 3]


def test_a_release_that_is_never_ready_gets_no_traffic_and_leaves_nothing():
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2)]
    bad = frozenset({"shop.production.r2.web.1"})
    world = World(goal(web=2), observed(*instances), never_ready=bad)
    steps = world.run()
    assert not any(isinstance(s, plan.Shift | plan.Promote) for s in steps)
    assert {i.release for i in world.seen.instances} == {"r1"}
    assert world.in_rotation() == {"web": 2}


def test_an_orphan_is_replaced():
    instances = [seen("r1", "web", 1, weight=100, usable=False), seen("r1", "web", 2, weight=100)]
    world = World(goal("r1", web=2, config=None), observed(*instances))
    world.run()
    assert {i.n for i in world.seen.instances if i.weight} == {2, 3}


def test_rolling_moves_batch_by_batch():
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2, 3, 4)]
    world = World(goal(web=4, strategy="rolling", batch=2), observed(*instances))
    kinds = [type(s).__name__ for s in world.run()]
    wave = ["StartInstance", "StartInstance", "AwaitReady", "Shift"]
    assert kinds == [*wave, *wave, "Promote", "Finish"]


def test_rolling_that_fails_in_the_second_wave_gives_the_traffic_back():
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2)]
    bad = frozenset({"shop.production.r2.web.2"})
    world = World(goal(web=2, strategy="rolling"), observed(*instances), never_ready=bad)
    world.run()
    assert {i.name for i in world.seen.instances if i.weight} == {i.name for i in instances}


@st.composite
def situations(draw):
    strategy = draw(st.sampled_from(["blue-green", "rolling"]))
    wanted = goal(
        draw(st.sampled_from(["r1", "r2"])),
        web=draw(st.integers(1, 4)),
        worker=draw(st.integers(0, 2)),
        api=draw(st.integers(0, 2)),
        strategy=strategy,
        batch=draw(st.integers(1, 3)),
        config=draw(st.sampled_from([None, "x", "y"])),
        fresh=draw(st.booleans()),
        first=draw(st.booleans()),
    )
    instances = []
    for release in ("r1", "r2"):
        for process in ("web", "api", "worker"):
            for n in range(1, draw(st.integers(0, 3)) + 1):
                routed = process != "worker"
                serves = release == "r1" and routed and draw(st.booleans())
                instances.append(
                    seen(
                        release,
                        process,
                        n,
                        weight=100 if serves else 0,
                        ready=serves or draw(st.booleans()),
                        retiring=not serves and draw(st.booleans()),
                        usable=draw(st.integers(0, 5)) > 0,
                        config=draw(st.sampled_from(["x", "y"])),
                    )
                )
    return wanted, observed(*instances, built=draw(st.booleans()))


@given(situations(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_from_any_situation_every_prefix_holds_and_it_ends(situation, fails):
    wanted, start = situation
    bad = (
        frozenset({f"shop.production.{wanted.release}.web.{n}" for n in range(1, 9)})
        if fails
        else frozenset()
    )
    world = World(wanted, start, never_ready=bad)
    world.run()
    if world.seen.promoted:
        for want in wanted.wants:
            fitting = [i for i in world.seen.instances if i.process == want.process]
            if want.routed:
                assert len([i for i in fitting if i.weight and i.ready]) == want.count
            else:
                assert len(fitting) == want.count
    else:
        assert not any(i.mine and i.weight for i in world.seen.instances)


@given(situations(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_failure_at_any_prefix_returns_to_what_served(situation, data):
    wanted, start = situation
    world = World(wanted, start)
    for _ in range(data.draw(st.integers(0, 12))):
        if world.finished or world.seen.promoted:
            return
        world.apply(world.steps()[0])
    if world.finished or world.seen.promoted:
        return
    world.seen = replace(world.seen, failed=True)
    world.run()
    assert not any(i.mine for i in world.seen.instances if not i.retiring)
    assert world.seen.routing == start.serving


@pytest.mark.parametrize("strategy", ["blue-green", "rolling"])
def test_the_whole_plan_is_what_step_by_step_gives(strategy):
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2, 3)]
    world = World(goal(web=3, worker=1, strategy=strategy), observed(*instances))
    whole = world.steps()
    assert list(whole) == world.run()
