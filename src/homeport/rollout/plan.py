"""What to do next in a rollout. Pure: the same goal and the same sight give the same steps.

The service applies the first step, looks again and asks again, so a crash at any point is survived by
asking again. What always holds, whichever prefix of a plan was carried out:

- traffic goes only to instances that passed readiness;
- there are never fewer ready instances in rotation than before, until there are as many as wanted;
- the instances that served before stay up until the verdict;
- nothing of a release starts before its databases have the schema that it needs;
- of a worker that is exclusive, old and new never run side by side.

With the strategy "recreate" the old instances are stopped before the new ones start, as is wanted there;
then the second and the third do not hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from homeport.kernel.ids import ChangeId, InstanceName, ProcessName, ReleaseId
from homeport.rollout import weights as shares
from homeport.rollout.model import BUILD_ONLY, FULL_WEIGHT, MIGRATE_ONLY, Goal, Want


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance as the planner sees it."""

    name: InstanceName
    release: ReleaseId
    process: ProcessName
    n: int
    routed: bool
    config: str
    mine: bool
    """Started by this change."""
    ready: bool
    """Passed readiness, and runs and answers now."""
    usable: bool
    """Not orphaned, not given up by its supervisor, not about to be stopped."""
    weight: int
    retiring: bool


@dataclass(frozen=True, slots=True)
class Observed:
    built: bool
    """The goal's release is ready to start."""
    instances: tuple[Seen, ...]
    routing: ReleaseId | None
    serving: ReleaseId | None
    promoted: bool
    """This change's promotion stands in the journal."""
    failed: bool
    """A reason to take the change back is recorded."""
    hooks: frozenset[str] = frozenset()
    """Hooks of this change that have run; see also :func:`migrated` and :func:`undone`."""
    passed: int = 0
    """How many steps of a canary have been passed."""


@dataclass(frozen=True, slots=True)
class BuildRelease:
    """Make the release's files."""


@dataclass(frozen=True, slots=True)
class StartInstance:
    process: ProcessName
    n: int


@dataclass(frozen=True, slots=True)
class AwaitReady:
    names: tuple[InstanceName, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """Set the weights of all instances in one go, and the routes of ``routing``.

    Instances at 0 retire: after ``keep_warm`` when ``warm``, else once they are drained.
    """

    weights: tuple[tuple[InstanceName, int], ...]
    routing: ReleaseId | None
    warm: bool


@dataclass(frozen=True, slots=True)
class Bake:
    """Judge the canary at its share of the requests, until the step is passed or the canary condemned."""

    step: int


@dataclass(frozen=True, slots=True)
class DrainAndStop:
    """Stop instances without weight once they have answered what they have, or their drain is over."""

    names: tuple[InstanceName, ...]


@dataclass(frozen=True, slots=True)
class RunHook:
    name: str


@dataclass(frozen=True, slots=True)
class Migrate:
    """Bring a database's schema to what the goal wants."""

    database: str


@dataclass(frozen=True, slots=True)
class UndoMigration:
    """Take back what this change did to a database's schema."""

    database: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Record that the release serves."""


@dataclass(frozen=True, slots=True)
class StopInstances:
    names: tuple[InstanceName, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """Record the verdict."""


Step = (
    BuildRelease
    | StartInstance
    | AwaitReady
    | Shift
    | Bake
    | DrainAndStop
    | RunHook
    | Migrate
    | UndoMigration
    | Promote
    | StopInstances
    | Finish
)


def plan(goal: Goal, change: ChangeId, seen: Observed, name: "NameInstance") -> tuple[Step, ...]:
    """All steps that are left, in order; the last one is always :class:`Finish`."""
    if seen.failed and not seen.promoted:
        return _take_back(goal, seen)
    if not seen.built:
        return (BuildRelease(),)
    if goal.strategy == BUILD_ONLY:
        return (Finish(),)
    if goal.strategy == MIGRATE_ONLY:
        return (*_migrations(goal, seen), Finish())
    return _go(goal, seen, name)


class NameInstance:
    """Names the instance that starting (process, n) of the goal's release gives."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        """``<app>.<environment>.<release>``"""

    def __call__(self, process: ProcessName, n: int) -> InstanceName:
        return InstanceName(f"{self._prefix}.{process}.{n}")


def _go(goal: Goal, seen: Observed, name: NameInstance) -> tuple[Step, ...]:
    steps: list[Step] = []
    instances = list(seen.instances)
    routing = seen.routing
    batch = goal.batch if goal.strategy == "rolling" else 0
    workers_later = goal.traffic_first and not seen.promoted
    wants = tuple(w for w in goal.wants if w.routed or not (workers_later or w.exclusive or w.after_traffic))
    swaps = () if workers_later else tuple(w for w in goal.wants if w not in wants)
    warm = seen.serving != goal.release
    moved = swapped = False
    baking = goal.steps[seen.passed :] if not seen.promoted else ()
    if not seen.promoted:
        steps += _migrations(goal, seen)
        steps += _hooks(goal.first, seen)
    if baking:
        # One that has died under its requests is not waited for: judging it finds out.
        instances = [replace(i, ready=True) if i.mine and i.weight else i for i in instances]
    if goal.strategy == "recreate" and not seen.promoted:
        instances = _clear(goal, instances, routing, steps)
    while True:
        chosen = {want.process: _choose(goal, want, instances) for want in wants}
        for want in wants:
            missing = want.count - len(chosen[want.process])
            if batch and want.routed:
                # Rolling: no more at once than the batch; what is not in rotation yet goes first.
                waiting = sum(i.weight == 0 for i in chosen[want.process])
                missing = min(missing, max(0, batch - waiting))
            for _ in range(missing):
                new = _new(goal, want, instances, name)
                steps.append(StartInstance(new.process, new.n))
                instances.append(new)
                chosen[want.process].append(new)
        waiting_names = tuple(i.name for group in chosen.values() for i in group if not i.ready)
        if waiting_names:
            steps.append(AwaitReady(waiting_names))
            instances = [replace(i, ready=True) if i.name in waiting_names else i for i in instances]
            chosen = {want.process: _choose(goal, want, instances) for want in wants}
        whole = all(len(chosen[want.process]) >= want.count for want in wants)
        for n, share in enumerate(baking, seen.passed) if whole else ():
            step_weights = _step_weights(share, goal, wants, instances, chosen)
            if step_weights is None:
                break
            if any(step_weights[i.name] != i.weight for i in instances if i.routed):
                if not moved:
                    moved = True
                    steps += _hooks(goal.before, seen)
                steps.append(Shift(tuple(sorted(step_weights.items())), routing, warm))
                instances = _shifted(instances, step_weights)
            steps.append(Bake(n))
        weights = _weights(goal, wants, instances, chosen)
        target = goal.release if whole else routing
        retire_left = whole and any(
            i.weight == 0 and not i.retiring and weights.get(i.name) == 0 for i in instances if i.routed
        )
        if (
            target != routing
            or retire_left
            or any(weights[i.name] != i.weight for i in instances if i.routed)
        ):
            if not seen.promoted and not swapped:
                swapped = True
                if not moved:
                    moved = True
                    steps += _hooks(goal.before, seen)
                for want in (w for w in swaps if not w.after_traffic):
                    instances = _swap(goal, want, instances, name, steps)
            steps.append(Shift(tuple(sorted(weights.items())), target, warm))
            instances = _shifted(instances, weights)
            routing = target
        if whole:
            break
    for want in swaps:
        instances = _swap(goal, want, instances, name, steps)
    if not seen.promoted:
        if not moved:
            steps += _hooks(goal.before, seen)
        steps.append(Promote())
    if workers_later:
        left = replace(seen, instances=tuple(instances), routing=routing, serving=goal.release, promoted=True)
        return (*steps, *_go(goal, left, name))
    keep = {i.name for group in chosen.values() for i in group}
    keep |= {i.name for want in swaps for i in _choose(goal, want, instances)}
    workers = tuple(i.name for i in instances if not i.routed and i.name not in keep)
    if workers:
        steps.append(StopInstances(workers))
    steps += _hooks(goal.after, seen)
    steps.append(Finish())
    return tuple(steps)


def _shifted(instances: list[Seen], weights: Mapping[InstanceName, int]) -> list[Seen]:
    return [
        replace(i, weight=weights[i.name], retiring=weights[i.name] == 0) if i.routed else i
        for i in instances
    ]


def _step_weights(
    share: float,
    goal: Goal,
    wants: tuple[Want, ...],
    instances: list[Seen],
    chosen: Mapping[ProcessName, list[Seen]],
) -> dict[InstanceName, int] | None:
    """Weights at a step of a canary; None when no other release serves beside it."""
    new = {want.process: [i.name for i in chosen[want.process]] for want in wants if want.routed}
    routed = [i for i in instances if i.routed]
    old = {
        process: [i.name for i in routed if i.process == process and i.weight and i.release != goal.release]
        for process in new
    }
    found = shares.of_step(share, new, old)
    # Those of the canary that were replaced, having lost their supervisor, would add to its share.
    kept = {i.name: 0 if i.release == goal.release and i.process in new else i.weight for i in routed}
    return None if found is None else kept | found


def _clear(goal: Goal, instances: list[Seen], routing: ReleaseId | None, steps: list[Step]) -> list[Seen]:
    """Stop what is not to run beside the new instances, before the first of them starts."""
    fitting = {want: _choose(goal, want, instances) for want in goal.wants}
    kept = {i.name for group in fitting.values() for i in group}
    others = [i for i in instances if i.name not in kept]
    complete = all(len(group) >= want.count for want, group in fitting.items())
    if not others or (complete and all(i.ready for group in fitting.values() for i in group)):
        return instances
    gone = tuple(i.name for i in others)
    if any(i.weight for i in others):
        weights = {i.name: 0 if i in others else i.weight for i in instances if i.routed}
        steps.append(Shift(tuple(sorted(weights.items())), routing, False))
    steps.append(DrainAndStop(gone))
    return [i for i in instances if i.name not in gone]


def _hooks(names: tuple[str, ...], seen: Observed) -> list[Step]:
    return [RunHook(name) for name in names if name not in seen.hooks]


def migrated(database: str) -> str:
    """How :attr:`Observed.hooks` tells that a database was migrated."""
    return f"migrate:{database}"


def undone(database: str) -> str:
    """How it tells that this was taken back, or that it could not be."""
    return f"undo:{database}"


def _migrations(goal: Goal, seen: Observed) -> list[Step]:
    return [Migrate(name) for name in goal.migrate if migrated(name) not in seen.hooks]


def _swap(goal: Goal, want: Want, instances: list[Seen], name: NameInstance, steps: list[Step]) -> list[Seen]:
    """Bring up the workers of a process: for an exclusive one after all others of it have stopped."""
    chosen = _choose(goal, want, instances)
    if want.exclusive:
        kept = {i.name for i in chosen}
        others = tuple(i.name for i in instances if i.process == want.process and i.name not in kept)
        if others and (len(chosen) < want.count or any(not i.ready for i in chosen)):
            steps.append(StopInstances(others))
            instances = [i for i in instances if i.name not in others]
    for _ in range(want.count - len(chosen)):
        new = _new(goal, want, instances, name)
        steps.append(StartInstance(new.process, new.n))
        instances = [*instances, new]
        chosen.append(new)
    waiting = tuple(i.name for i in chosen if not i.ready)
    if waiting:
        steps.append(AwaitReady(waiting))
        instances = [replace(i, ready=True) if i.name in waiting else i for i in instances]
    return instances


def _take_back(goal: Goal, seen: Observed) -> tuple[Step, ...]:
    """Return the traffic to the instances that had it, stop what this change started."""
    steps: list[Step] = []
    routed = [i for i in seen.instances if i.routed]
    had_it = [i for i in routed if not i.mine and i.release == seen.serving and (i.weight > 0 or i.retiring)]
    well = {i.process for i in had_it if i.ready}
    # Where none is ready just now, those in rotation stay there: nobody else would serve.
    back = {i.name for i in had_it if i.ready or (i.process not in well and i.weight > 0 and i.usable)}
    weights = {i.name: FULL_WEIGHT if i.name in back else 0 for i in routed}
    shifted = any(i.mine and i.weight > 0 for i in routed)
    # "recreate" takes the traffic from the old ones before it gives any to the new.
    served = {i.process for i in routed if i.weight > 0}
    waiting = any(i.process not in served for i in had_it if i.name in back)
    if shifted or waiting or seen.routing != seen.serving:
        steps.append(Shift(tuple(sorted(weights.items())), seen.serving, warm=False))
    started = tuple(i.name for i in seen.instances if i.mine and (i.weight == 0 or not i.routed))
    if started:
        steps.append(StopInstances(started))
    if seen.built:
        # What was done to the last database may be what the first one's stands on.
        steps += [UndoMigration(name) for name in reversed(goal.undo) if undone(name) not in seen.hooks]
        steps += _hooks(goal.back, seen)
    steps.append(Finish())
    return tuple(steps)


def _choose(goal: Goal, want: Want, instances: list[Seen]) -> list[Seen]:
    """The instances that will do for a process: those in rotation first, then ready, then by number."""
    fitting = [
        i
        for i in instances
        if i.process == want.process
        and i.release == goal.release
        and i.routed == want.routed
        and i.usable
        and (i.mine or (i.ready and not goal.fresh and goal.config in (None, i.config)))
    ]
    fitting.sort(key=lambda i: (-i.weight, not i.ready, i.n))
    return fitting[: want.count]


def _new(goal: Goal, want: Want, instances: list[Seen], name: NameInstance) -> Seen:
    taken = {i.n for i in instances if i.process == want.process and i.release == goal.release}
    n = next(n for n in range(1, len(taken) + 2) if n not in taken)
    return Seen(
        name=name(want.process, n),
        release=goal.release,
        process=want.process,
        n=n,
        routed=want.routed,
        config=goal.config or "",
        mine=True,
        ready=False,
        usable=True,
        weight=0,
        retiring=False,
    )


def _weights(
    goal: Goal, wants: tuple[Want, ...], instances: list[Seen], chosen: Mapping[ProcessName, list[Seen]]
) -> dict[InstanceName, int]:
    """Weights once the chosen, ready ones are in: of the others only as many stay as are still missing."""
    weights: dict[InstanceName, int] = {}
    rolling = goal.strategy == "rolling"
    for want in wants:
        if not want.routed:
            continue
        new = {i.name for i in chosen[want.process] if i.ready}
        old = [i for i in instances if i.process == want.process and i.routed and i.name not in new]
        complete = len(new) >= want.count
        if not rolling and not complete:
            # Blue-green: nothing moves before everything is ready.
            weights.update({i.name: i.weight for i in old})
            weights.update({i.name: i.weight for i in chosen[want.process]})
            continue
        weights.update(dict.fromkeys(new, FULL_WEIGHT))
        in_rotation = sorted((i for i in old if i.weight > 0), key=lambda i: (not i.ready, i.n))
        stay = 0 if complete else max(0, max(want.count, len(in_rotation)) - len(new))
        for position, i in enumerate(in_rotation):
            weights[i.name] = i.weight if position < stay else 0
        weights.update({i.name: 0 for i in old if i.weight == 0})
    wanted = {want.process for want in wants if want.routed}
    whole = all(len([i for i in chosen[w.process] if i.ready]) >= w.count for w in wants)
    for i in instances:
        if i.routed and i.process not in wanted:
            weights[i.name] = 0 if whole else i.weight
    return weights
