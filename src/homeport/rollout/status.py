"""What serves now, as observed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from homeport.edge.model import ServerStatus
from homeport.kernel.ids import InstanceName, ProcessName, ReleaseId
from homeport.rollout import desired
from homeport.rollout.model import Environment, Instance
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.spec.model import Spec

LOOPING = "crash-looping"

Health = Literal["up", "degraded", "down", "empty", "asleep"]


@dataclass(frozen=True, slots=True)
class InstanceView:
    instance: Instance
    state: str
    """The runtime's word, or "gone"; "asleep" in a preview that sleeps."""
    pid: int | None
    since: float
    exit: str
    healthy: bool | None
    """By the edge's own checks; None for a worker, or when the edge does not answer."""
    weight: int | None
    """In force at the edge."""
    sessions: int
    share: float
    """Of new requests to its process, 0 to 1."""


@dataclass(frozen=True, slots=True)
class ProcessView:
    name: ProcessName
    routed: bool
    wanted: int
    serving: int
    """Instances that run, and for a routed process get traffic and pass the edge's checks."""


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    environment: Environment
    health: Health
    """"up": all that is wanted serves; "degraded": some of it; "down": a process has nothing; "empty";
    "asleep": a preview whose next request starts it."""
    releases: tuple[ReleaseId, ...]
    """Releases that get traffic just now, as the edge reports it."""
    processes: tuple[ProcessView, ...]
    instances: tuple[InstanceView, ...]
    routes: tuple[str, ...]
    edge_answers: bool


def view(
    environment: Environment,
    spec: Spec | None,
    instances: Sequence[Instance],
    statuses: Mapping[InstanceName, InstanceStatus] | None,
    servers: Mapping[str, ServerStatus] | None,
    looping: Mapping[InstanceName, int] | None = None,
) -> EnvironmentView:
    """``statuses`` or ``servers`` is None when the supervisor or the edge does not answer.

    ``looping``: instances that crash again and again, and how often; they do not count as serving.
    """
    looping = looping or {}
    absent = "asleep" if environment.asleep else "gone"
    views = []
    for i in instances:
        status = statuses.get(i.name) if statuses is not None else None
        server = servers.get(i.name) if servers is not None else None
        known = statuses is not None
        views.append(
            InstanceView(
                instance=i,
                state=LOOPING
                if i.name in looping and status
                else (status.state.value if status else (absent if known else "unknown")),
                pid=status.pid if status else None,
                since=status.since if status else 0.0,
                exit=(f"{status.exit}, {looping[i.name]} times" if i.name in looping else status.exit)
                if status
                else "",
                healthy=server.up if server is not None else None,
                weight=server.weight if server is not None else None,
                sessions=server.sessions if server is not None else 0,
                share=_share(i, instances, servers),
            )
        )
    processes = []
    for want in desired.wants(spec, dict(environment.scale)) if spec else ():
        serving = sum(_serves(v, want.routed) for v in views if v.instance.process == want.process)
        processes.append(ProcessView(want.process, want.routed, want.count, serving))
    releases = {v.instance.release for v in views if v.share > 0 and v.healthy}
    return EnvironmentView(
        environment=environment,
        health=_health(environment, processes),
        releases=tuple(sorted(releases, key=lambda r: int(r[1:]))),
        processes=tuple(processes),
        instances=tuple(views),
        routes=tuple(f"{r.host}{r.prefix.rstrip(chr(47))}" for r in spec.routes) if spec else (),
        edge_answers=servers is not None,
    )


def _serves(view: InstanceView, routed: bool) -> bool:
    running = (InstanceState.RUNNING.value, InstanceState.STARTING.value, InstanceState.ORPHANED.value)
    if routed:
        return view.healthy is True and bool(view.weight) and view.state != LOOPING
    return view.state in running and view.instance.retire_at is None


def _share(
    instance: Instance, instances: Sequence[Instance], servers: Mapping[str, ServerStatus] | None
) -> float:
    if servers is None:
        return 0.0
    total = sum(
        s.weight for i in instances if i.process == instance.process and (s := servers.get(i.name)) and s.up
    )
    mine = servers.get(instance.name)
    return mine.weight / total if mine is not None and mine.up and total else 0.0


def _health(environment: Environment, processes: Sequence[ProcessView]) -> Health:
    if environment.serving is None:
        return "empty"
    if environment.asleep:
        return "asleep"
    if any(p.serving == 0 < p.wanted for p in processes):
        return "down"
    return "up" if all(p.serving >= p.wanted for p in processes) else "degraded"


def age(instance: Instance, now: datetime) -> float:
    """Seconds since an instance was started first."""
    return (now - instance.created_at).total_seconds()
