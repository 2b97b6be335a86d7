"""What the keeper decides. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from homeport.kernel.ids import EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import desired
from homeport.rollout.model import Deployment, Environment, Instance, Release, ReleaseState
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.spec.model import Spec

KEEP_RELEASES = 5
KEEP_LOGS = 10
"""Releases of an environment whose instances' logs are kept."""
SETTLE = timedelta(seconds=0.5)
"""How long after its retirement an instance without requests is left alone: one may be on its way."""

History = Sequence[Deployment]


def is_due(instance: Instance, now: datetime, sessions: Callable[[Instance], int]) -> bool:
    """Whether a retired instance is to be stopped: it is time, and it is idle or its drain is over."""
    if instance.retire_at is None or instance.weight > 0 or now < instance.retire_at + SETTLE:
        return False
    if instance.port is None or instance.drain_until is None or now >= instance.drain_until:
        return True
    return sessions(instance) == 0


def heal_reason(
    environment: Environment,
    spec: Spec,
    instances: Sequence[Instance],
    statuses: Mapping[InstanceName, InstanceStatus],
) -> str | None:
    """Why an environment that nothing moves has to be healed, or None; never while it is asleep."""
    if environment.asleep:
        return None
    wanted = [i for i in instances if i.retire_at is None]
    orphaned = [i.name for i in wanted if (s := statuses.get(i.name)) and s.state is InstanceState.ORPHANED]
    if orphaned:
        return f"{orphaned[0]} lost its supervisor"
    for want in desired.wants(spec, dict(environment.scale)):
        there = sum(i.process == want.process and i.release == environment.serving for i in wanted)
        if there < want.count:
            return f"{there} of {want.count} instances of {want.process} are there"
    return None


def prunable(
    releases: Sequence[Release],
    environments: Sequence[Environment],
    instances: Sequence[Instance],
    histories: Mapping[EnvironmentName, History],
    in_use: frozenset[ReleaseId] = frozenset(),
) -> tuple[Release, ...]:
    """Built releases beyond the newest five that neither serve, nor run, nor are a rollback's target."""
    ready = [r for r in releases if r.state is ReleaseState.READY]
    keep = {r.id for r in ready[-KEEP_RELEASES:]}
    keep |= {r for e in environments for r in (e.serving, e.routing) if r is not None}
    keep |= {i.release for i in instances} | in_use
    for environment in environments:
        for past in histories.get(environment.name, ()):
            if past.well and past.release != environment.serving:
                keep.add(past.release)
                break
    keep |= {r.base for r in ready if r.id in keep and r.base is not None}
    return tuple(r for r in ready if r.id not in keep)


def forgettable(logs: Sequence[InstanceName], instances: Sequence[Instance]) -> tuple[InstanceName, ...]:
    """Logs of instances that are gone, of releases before an environment's newest :data:`KEEP_LOGS`."""
    present = {i.name for i in instances}
    numbers: dict[str, set[int]] = {}
    for name in logs:
        app, environment, release, *_ = name.split(".")
        numbers.setdefault(f"{app}.{environment}", set()).add(int(release[1:]))
    found = []
    for name in logs:
        app, environment, release, *_ = name.split(".")
        newest = sorted(numbers[f"{app}.{environment}"])[-KEEP_LOGS:]
        if name not in present and int(release[1:]) not in newest:
            found.append(name)
    return tuple(found)
