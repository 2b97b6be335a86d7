"""What the rollout room tells the journal."""

from dataclasses import dataclass
from typing import Any, ClassVar

from homeport.journal.model import Event

EventData = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStarted(Event):
    kind: ClassVar[str] = "change.started"
    what: str
    release: str
    before: str | None
    """The release that served when it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePassed(Event):
    """A release goes to an environment that has a gate."""

    kind: ClassVar[str] = "gate.passed"
    release: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStarted(Event):
    kind: ClassVar[str] = "build.started"
    release: str
    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFinished(Event):
    kind: ClassVar[str] = "build.finished"
    release: str
    seconds: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReused(Event):
    kind: ClassVar[str] = "build.reused"
    release: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailed(Event):
    kind: ClassVar[str] = "build.failed"
    release: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStarted(Event):
    kind: ClassVar[str] = "instance.started"
    instance: str
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReady(Event):
    kind: ClassVar[str] = "instance.ready"
    instance: str
    seconds: float
    """From its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCrashed(Event):
    kind: ClassVar[str] = "instance.crashed"
    instance: str
    exit: str
    times: int
    """How often within the last ten minutes."""
    looping: bool
    lines: list[str]
    """Its last output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStopped(Event):
    kind: ClassVar[str] = "instance.stopped"
    instance: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficShifted(Event):
    kind: ClassVar[str] = "traffic.shifted"
    weights: dict[str, int]
    method: str
    """"runtime" or "reload": how the edge took it."""
    milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep(Event):
    """A canary gets another share of the requests, or its first."""

    kind: ClassVar[str] = "canary.step"
    release: str
    step: int
    """From 1."""
    of: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryAsks(Event):
    """A canary had too little traffic to be judged by, and waits for a person."""

    kind: ClassVar[str] = "canary.asks"
    release: str
    missing: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySteered(Event):
    """A person paused a canary, let it go on, or decided it."""

    kind: ClassVar[str] = "canary.steered"
    release: str
    what: str
    """"pause", "resume", "promote" or "abort"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseJudged(Event):
    """A release on trial was condemned, or its trial is over."""

    kind: ClassVar[str] = "release.judged"
    release: str
    before: str | None
    phase: str
    """"canary" or "watch"."""
    outcome: str
    """"promoted", "rolled back" or "inconclusive"."""
    reasons: list[str]
    figures: EventData


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePromoted(Event):
    kind: ClassVar[str] = "release.promoted"
    release: str
    before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFailed(Event):
    """A reason to take a change back was found."""

    kind: ClassVar[str] = "change.failed"
    code: str
    reason: str
    lines: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFinished(Event):
    kind: ClassVar[str] = "change.finished"
    what: str
    verdict: str
    release: str
    serving: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePruned(Event):
    kind: ClassVar[str] = "release.pruned"
    release: str
    freed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUnhealthy(Event):
    """A worker does not show that it lives, and is restarted."""

    kind: ClassVar[str] = "worker.unhealthy"
    instance: str
    reason: str
    lines: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFinished(Event):
    kind: ClassVar[str] = "hook.finished"
    hook: str
    seconds: float
    problem: str | None
    """Why it failed; None when it did not."""
    lines: list[str]
    """The last it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretChanged(Event):
    """A secret has a new version, or was removed."""

    kind: ClassVar[str] = "secret.changed"
    name: str
    version: int
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRevealed(Event):
    kind: ClassVar[str] = "secret.revealed"
    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated(Event):
    kind: ClassVar[str] = "secrets.key_rotated"
    secrets: int
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """Maintenance or read-only was switched."""

    kind: ClassVar[str] = "mode.changed"
    mode: str
    on: bool
    message: str
    allow: list[str]
    until: str | None
    reason: str
    """"asked" or "its time was over"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun(Event):
    """A one-off command was started by hand."""

    kind: ClassVar[str] = "command.run"
    run: str
    release: str
    command: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnded(Event):
    kind: ClassVar[str] = "command.ended"
    run: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VariablesChanged(Event):
    kind: ClassVar[str] = "variables.changed"
    set: list[str]
    unset: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDestroyed(Event):
    kind: ClassVar[str] = "app.destroyed"
    releases: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHealed(Event):
    """The edge did something else than the state says, and was set right."""

    kind: ClassVar[str] = "edge.healed"
    method: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerStopped(Event):
    """A process carried our mark but belonged to nothing in the state."""

    kind: ClassVar[str] = "instance.unowned_stopped"
    instance: str
