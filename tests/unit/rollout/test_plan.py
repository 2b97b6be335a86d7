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
    release="r2",
    web=2,
    worker=0,
    api=0,
    strategy="blue-green",
    batch=1,
    config="x",
    fresh=False,
    first=False,
    exclusive=False,
    after_traffic=False,
    **hooks,
):
    wants = [Want(WEB, True, web)]
    if api:
        wants.append(Want(API, True, api))
    if worker:
        wants.append(Want(WORKER, False, worker, exclusive, after_traffic))
    return Goal(ReleaseId(release), tuple(wants), strategy, batch, config, fresh, first, **hooks)


class World:
    """Applies steps as the service would, and checks what must always hold."""

    def __init__(self, goal: Goal, observed: plan.Observed, *, never_ready: frozenset[str] = frozenset()):
        self.goal = goal
        self.seen = observed
        self.never_ready = never_ready
        self.bad_hooks: frozenset[str] = frozenset()
        self.condemned_at: frozenset[int] = frozenset()
        self.chosen_before = [
            i
            for want in goal.wants
            if want.exclusive
            for i in plan._choose(goal, want, list(observed.instances))
        ]
        self.had_traffic = any(i.release == goal.release and i.weight for i in observed.instances)
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
                if self.goal.strategy == "recreate":
                    strangers = [i for i in s.instances if i.release != self.goal.release]
                    assert not strangers, "old and new side by side"
                if any(w.process == process and w.exclusive for w in self.goal.wants):
                    others = [i for i in s.instances if i.process == process and not i.mine]
                    kept = {i.name for i in self.chosen_before}
                    assert not [i for i in others if i.name not in kept], "old and new side by side"
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
            case plan.Bake(n):
                assert n == s.passed and not s.failed
                mine = [i for i in s.instances if i.routed and i.weight and i.release == self.goal.release]
                beside = [i for i in s.instances if i.routed and i.weight and i not in mine]
                assert mine and beside, "a canary is judged with nothing beside it"
                assert s.routing != self.goal.release or s.serving == self.goal.release
                s = replace(s, failed=True) if n in self.condemned_at else replace(s, passed=n + 1)
            case plan.DrainAndStop(names):
                assert self.goal.strategy == "recreate"
                assert all(i.weight == 0 for i in s.instances if i.name in names)
                s = replace(s, instances=tuple(i for i in s.instances if i.name not in names))
            case plan.RunHook(hook):
                assert hook not in s.hooks, "a hook runs twice"
                moved = any(i.release == self.goal.release and i.weight for i in s.instances)
                if hook == "before-traffic":
                    assert not s.promoted and not s.failed
                    assert not (moved and self.goal.strategy == "blue-green" and not self.had_traffic)
                if hook in self.goal.back and s.failed:
                    assert not any(i.mine and i.weight for i in s.instances)
                s = replace(s, hooks=s.hooks | {hook}, failed=s.failed or hook in self.bad_hooks)
            case plan.Promote():
                assert set(self.goal.before) <= s.hooks, "promoted before its hooks ran"
                s = replace(s, promoted=True, serving=self.goal.release)
            case plan.StopInstances(names):
                for i in s.instances:
                    if i.name in names:
                        assert i.weight == 0, "an instance with traffic is stopped"
                        if i.routed and not s.failed:
                            assert i.mine, "the old release is stopped before the verdict"
                s = replace(s, instances=tuple(i for i in s.instances if i.name not in names))
            case plan.Finish():
                if s.promoted:
                    assert set(self.goal.after) <= s.hooks
                self.finished = True
        self.seen = s
        self.check()

    def check(self) -> None:
        if self.goal.strategy == "recreate":
            return
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
    strategy = draw(st.sampled_from(["blue-green", "rolling", "canary", "recreate"]))
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
        exclusive=draw(st.booleans()),
        after_traffic=draw(st.booleans()),
        before=draw(st.sampled_from([(), ("before-traffic",)])),
        after=draw(st.sampled_from([(), ("after-traffic",)])),
        back=draw(st.sampled_from([(), ("after-rollback",)])),
    )
    wanted = replace(wanted, first=draw(st.sampled_from([(), ("before-start",)])))
    if strategy == "canary" and wanted.release != "r1":
        wanted = replace(wanted, steps=draw(st.sampled_from([(0.5,), (0.05, 0.25), (0.01, 0.1, 0.9)])))
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


def canary(web=2, **more):
    return replace(goal(web=web, strategy="canary", **more), steps=(0.05, 0.25))


def test_a_canary_is_judged_at_each_step_and_then_gets_all():
    old = [seen("r1", "web", n, weight=100) for n in (1, 2)]
    world = World(canary(before=("before-traffic",)), observed(*old))
    assert kinds_of(world.run()) == [
        *("StartInstance", "StartInstance", "AwaitReady", "RunHook"),
        *("Shift", "Bake", "Shift", "Bake", "Shift", "Promote", "Finish"),
    ]
    assert world.in_rotation() == {"web": 2}


def test_a_condemned_canary_gives_its_traffic_back():
    old = [seen("r1", "web", n, weight=100) for n in (1, 2)]
    world = World(canary(), observed(*old))
    world.condemned_at = frozenset({1})
    assert kinds_of(world.run())[-4:] == ["Bake", "Shift", "StopInstances", "Finish"]
    assert {(i.name, i.weight) for i in world.seen.instances} == {(i.name, 100) for i in old}


def test_a_canary_that_died_is_judged_rather_than_waited_for():
    old = [seen("r1", "web", 1, weight=247)]
    dead = seen("r2", "web", 1, weight=13, mine=True, ready=False)
    world = World(canary(web=1), observed(*old, dead))
    assert world.steps()[0] == plan.Bake(0)


def test_what_was_replaced_of_a_canary_does_not_add_to_its_share():
    old = [seen("r1", "web", n, weight=95, usable=False) for n in (1, 2)]
    lost = [seen("r2", "web", n, weight=5, mine=True, usable=False) for n in (1, 2)]
    world = World(goal(web=2, strategy="canary", steps=(0.05,)), observed(*old, *lost))
    while not isinstance(world.steps()[0], plan.Bake):
        world.apply(world.steps()[0])
    weights = {i.name: i.weight for i in world.seen.instances}
    assert not any(weights[i.name] for i in lost)
    share = sum(w for n, w in weights.items() if ".r2." in n) / sum(weights.values())
    assert 0.04 < share < 0.06


def test_a_release_is_no_canary_beside_itself():
    there = [seen("r1", "web", 1, weight=100), seen("r1", "web", 2, weight=100, ready=False)]
    world = World(goal("r1", web=2, strategy="canary", steps=(0.05,)), observed(*there))
    assert not any(isinstance(s, plan.Bake) for s in world.run())


def test_taken_back_while_recreate_drains_the_old_ones_serve_on():
    old = [seen("r1", "web", n, retiring=True) for n in (1, 2)]
    world = World(goal(web=2, strategy="recreate"), observed(*old, failed=True))
    world.run()
    assert {i.n for i in world.seen.instances if i.weight} == {1, 2}


def test_taken_back_with_nothing_ready_before_it_leaves_the_old_ones_in_rotation():
    old = [seen("r1", "web", n, weight=50, ready=False) for n in (1, 2)]
    new = seen("r2", "web", 1, weight=50, mine=True)
    steps = plan.plan(goal(web=1), CHANGE, observed(*old, new, failed=True), name("r2"))
    assert {n.split(".")[2] for n, weight in steps[0].weights if weight} == {"r1"}


def test_an_exclusive_worker_of_a_canary_waits_until_it_is_promoted():
    old = [seen("r1", "web", 1, weight=100), seen("r1", "worker", 1)]
    steps = kinds_of(World(canary(web=1, worker=1, exclusive=True), observed(*old)).run())
    assert steps.index("StopInstances") > max(i for i, s in enumerate(steps) if s == "Bake")


def test_a_first_deploy_has_nothing_to_be_compared_with():
    world = World(canary(), observed(serving=None))
    assert "Bake" not in kinds_of(world.run())


def test_recreate_stops_the_old_before_it_starts_the_new():
    old = [seen("r1", "web", 1, weight=100), seen("r1", "worker", 1)]
    world = World(goal(web=1, worker=1, strategy="recreate"), observed(*old))
    assert kinds_of(world.run()) == [
        *("Shift", "DrainAndStop", "StartInstance", "StartInstance", "AwaitReady"),
        *("Shift", "Promote", "Finish"),
    ]


@pytest.mark.parametrize("strategy", ["blue-green", "rolling", "recreate"])
def test_the_whole_plan_is_what_step_by_step_gives(strategy):
    instances = [seen("r1", "web", n, weight=100) for n in (1, 2, 3)]
    world = World(goal(web=3, worker=1, strategy=strategy), observed(*instances))
    whole = world.steps()
    assert list(whole) == world.run()


def kinds_of(steps):
    return [type(s).__name__ for s in steps]


def test_an_exclusive_worker_stops_before_the_new_one_starts_and_after_the_new_web_is_ready():
    old = [seen("r1", "web", 1, weight=100), seen("r1", "worker", 1)]
    world = World(goal(web=1, worker=1, exclusive=True), observed(*old))
    steps = world.run()
    assert kinds_of(steps) == [
        "StartInstance",
        "AwaitReady",
        "StopInstances",
        "StartInstance",
        "AwaitReady",
        "Shift",
        "Promote",
        "Finish",
    ]
    assert steps[2].names == ("shop.production.r1.worker.1",)


def test_a_worker_after_traffic_starts_when_the_traffic_has_moved_but_before_the_verdict():
    old = [seen("r1", "web", 1, weight=100), seen("r1", "worker", 1)]
    world = World(goal(web=1, worker=1, after_traffic=True), observed(*old))
    assert kinds_of(world.run()) == [
        "StartInstance",
        "AwaitReady",
        "Shift",
        "StartInstance",
        "AwaitReady",
        "Promote",
        "StopInstances",
        "Finish",
    ]


def test_a_worker_after_traffic_that_fails_gives_the_traffic_back():
    old = [seen("r1", "web", 1, weight=100), seen("r1", "worker", 1)]
    bad = frozenset({"shop.production.r2.worker.1"})
    world = World(goal(web=1, worker=1, after_traffic=True), observed(*old), never_ready=bad)
    world.run()
    assert {i.name for i in world.seen.instances if i.weight} == {"shop.production.r1.web.1"}
    assert "shop.production.r1.worker.1" in {i.name for i in world.seen.instances}


def test_what_instances_need_to_start_runs_before_them():
    world = World(replace(goal(web=1), first=("before-start",)), observed(seen("r1", "web", 1, weight=100)))
    steps = world.run()
    assert [s.name if isinstance(s, plan.RunHook) else type(s).__name__ for s in steps[:2]] == [
        "before-start",
        "StartInstance",
    ]


def test_hooks_run_once_each_at_their_moment():
    old = [seen("r1", "web", 1, weight=100)]
    hooks = {"before": ("before-traffic",), "after": ("after-traffic",), "back": ("after-rollback",)}
    world = World(goal(web=1, **hooks), observed(*old))
    steps = world.run()
    assert [s.name if isinstance(s, plan.RunHook) else type(s).__name__ for s in steps] == [
        "StartInstance",
        "AwaitReady",
        "before-traffic",
        "Shift",
        "Promote",
        "after-traffic",
        "Finish",
    ]


def test_a_hook_that_fails_before_traffic_stops_the_rollout_and_the_way_back_has_its_own():
    old = [seen("r1", "web", 1, weight=100)]
    world = World(goal(web=1, before=("before-traffic",), back=("after-rollback",)), observed(*old))
    world.bad_hooks = frozenset({"before-traffic"})
    steps = world.run()
    assert not any(isinstance(s, plan.Shift | plan.Promote) for s in steps)
    assert [s.name for s in steps if isinstance(s, plan.RunHook)] == ["before-traffic", "after-rollback"]
    assert {i.release for i in world.seen.instances} == {"r1"}
