"""Releases, environments, instances and changes as the rollout room sees them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from homeport.kernel.ids import (
    AppName,
    ChangeId,
    EnvironmentName,
    InstanceName,
    ProcessName,
    ReleaseId,
    instance_name,
)

FULL_WEIGHT = 100
BUILD_ONLY = "build"
"""The strategy of a goal that ends with the release's files."""
MIGRATE_ONLY = "migrate"
"""The strategy of a goal that ends with the databases' schemas."""


@dataclass(frozen=True, slots=True)
class Config:
    """What an environment adds to a release: by name, sorted. Kept with each deployment."""

    variables: tuple[tuple[str, str], ...] = ()
    """Set by hand, over the spec's."""
    secrets: tuple[tuple[str, int], ...] = ()
    """Versions of secrets, over everything else."""

    @property
    def digest(self) -> str:
        """Tells configurations apart."""
        content = json.dumps([self.variables, self.secrets] if self.secrets else self.variables)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {"variables": dict(self.variables), "secrets": dict(self.secrets)}

    @classmethod
    def of(cls, variables: Mapping[str, str], secrets: Mapping[str, int]) -> "Config":
        return cls(tuple(sorted(variables.items())), tuple(sorted(secrets.items())))


@dataclass(frozen=True, slots=True)
class Deployment:
    """A release that served an environment, and with what."""

    release: ReleaseId
    config: Config
    well: bool
    """Nobody went back from it."""


class ReleaseState(Enum):
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    """Its build failed; nothing but its log is left."""
    PRUNED = "pruned"
    """Its files were removed to make room."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What a release is made from, as its repository tells of it."""

    id: str
    subject: str
    """The first line of the commit's message."""
    dirty: bool = False
    """Made from a working tree with changes that no commit holds."""
    author: str = ""
    """Name and mail; "" where nobody told."""
    at: datetime | None = None
    """When it was committed."""


@dataclass(frozen=True, slots=True)
class Release:
    """An immutable build of an app at one commit."""

    app: AppName
    id: ReleaseId
    commit: Commit
    digest: str
    """SHA-256 of the source files and the build configuration; see :func:`homeport.rollout.rules.built_elsewhere`."""
    state: ReleaseState
    spec: str
    """Its ``homeport.toml``, as text."""
    size: int | None
    """Bytes on disk after the build."""
    build_seconds: float | None
    created_at: datetime
    change: ChangeId | None
    base: ReleaseId | None = None
    """The release whose files it uses: it differs from that one in its configuration only."""


@dataclass(frozen=True, slots=True)
class Environment:
    app: AppName
    name: EnvironmentName
    serving: ReleaseId | None
    """The release last promoted."""
    routing: ReleaseId | None
    """The release whose routes are in force: ``serving``, or the one that a rollout moves to."""
    variables: tuple[tuple[str, str], ...]
    """Set by hand, over the spec's."""
    scale: tuple[tuple[str, int], ...]
    """Replicas by process set by hand, over the spec's."""
    asleep: bool = False
    """A preview whose instances are stopped until a request comes."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as it stands in the state."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    process: ProcessName
    n: int
    port: int | None
    """Set for a routed process."""
    config: str
    """Digest of the variables it was started with."""
    change: ChangeId
    """The change that started it."""
    weight: int
    ready: bool
    """It passed readiness once."""
    created_at: datetime
    retire_at: datetime | None = None
    """From when on it may be stopped; None while it is wanted."""
    drain_until: datetime | None = None
    """When it is stopped even with requests in hand."""

    @property
    def name(self) -> InstanceName:
        return instance_name(self.app, self.environment, self.release, self.process, self.n)


class ChangeKind(Enum):
    DEPLOY = "deploy"
    BUILD = "build"
    """A release is made, and nothing of it starts."""
    CONFIGURE = "configure"
    """The files that serve, with the configuration as it is now."""
    PROMOTE = "promote"
    """The release that another environment serves."""
    ROLLBACK = "rollback"
    SCALE = "scale"
    RESTART = "restart"
    MIGRATE = "migrate"
    """Databases' schemas, and nothing else: by hand, or what a release allows once it has served a while."""
    HEAL = "heal"
    """Started by Homeport itself, to replace instances that lost their supervisor."""


class Verdict(Enum):
    PROMOTED = "promoted"
    BUILT = "built"
    """All that was asked for: nothing was to be started."""
    MIGRATED = "migrated"
    """All that was asked for: the schema is as wanted."""
    ROLLED_BACK = "rolled back"
    """Not kept: what served before serves on."""


@dataclass(frozen=True, slots=True)
class Want:
    """How many instances of a process a change aims at."""

    process: ProcessName
    routed: bool
    count: int
    exclusive: bool = False
    """A worker of which old and new never run side by side."""
    after_traffic: bool = False
    """A worker that starts when the traffic has moved."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a rollout aims at. Stored with the change as JSON."""

    release: ReleaseId
    wants: tuple[Want, ...]
    strategy: str
    batch: int
    config: str | None
    """Instances must have been started with this configuration; None: any will do."""
    fresh: bool = False
    """Only instances that this change started will do."""
    traffic_first: bool = False
    """Traffic does not wait for workers: for a way back, where each request to what serves now hurts."""
    scaled: tuple[str, ...] = ()
    """Processes whose number was asked for by hand: it outlives later deploys."""
    first: tuple[str, ...] = ()
    """Hooks that run before any new instance starts; one that fails stops the rollout."""
    before: tuple[str, ...] = ()
    """Hooks that run before the traffic moves; one that fails stops the rollout."""
    after: tuple[str, ...] = ()
    """Hooks that run once it serves."""
    back: tuple[str, ...] = ()
    """Hooks that run when it was taken back."""
    steps: tuple[float, ...] = ()
    """Of a canary: its shares of the requests, rising, before it gets all of them."""
    migrate: tuple[str, ...] = ()
    """Databases whose schema is brought to what the release needs, before anything of it starts."""
    undo: tuple[str, ...] = ()
    """Databases of which that is taken back when the change is."""
    schema: tuple[tuple[str, Any], ...] = ()
    """What is wanted of their schemas, where that is not "expand": by the names of
    :class:`homeport.database.migrations.model.Goal`."""

    def to_json(self) -> dict[str, Any]:
        return {
            "release": self.release,
            "wants": [[w.process, w.routed, w.count, w.exclusive, w.after_traffic] for w in self.wants],
            "strategy": self.strategy,
            "batch": self.batch,
            "config": self.config,
            "fresh": self.fresh,
            "traffic_first": self.traffic_first,
            "scaled": list(self.scaled),
            "steps": list(self.steps),
            "migrate": list(self.migrate),
            "undo": list(self.undo),
            "schema": dict(self.schema),
            "hooks": {"first": self.first, "before": self.before, "after": self.after, "back": self.back},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Goal":
        return cls(
            release=ReleaseId(data["release"]),
            wants=tuple(Want(ProcessName(p), *rest) for p, *rest in data["wants"]),
            strategy=data["strategy"],
            batch=data["batch"],
            config=data["config"],
            fresh=data["fresh"],
            traffic_first=data.get("traffic_first", False),
            scaled=tuple(data.get("scaled", ())),
            steps=tuple(data.get("steps", ())),
            migrate=tuple(data.get("migrate", ())),
            undo=tuple(data.get("undo", ())),
            schema=tuple(sorted(data.get("schema", {}).items())),
            **{moment: tuple(names) for moment, names in data.get("hooks", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a change is taken back."""

    code: str
    sentence: str
    hint: str = ""
    lines: tuple[str, ...] = ()
    """The failing instance's or build's last lines."""

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "sentence": self.sentence, "hint": self.hint, "lines": list(self.lines)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Failure":
        return cls(data["code"], data["sentence"], data["hint"], tuple(data["lines"]))


@dataclass(frozen=True, slots=True)
class Change:
    """A long piece of work on one environment."""

    id: ChangeId
    kind: ChangeKind
    app: AppName
    environment: EnvironmentName
    goal: Goal
    config: Config
    """What its new instances get."""
    archive: str | None
    """SHA-256 of a deploy's source archive."""
    done: bool
    failure: Failure | None
    cancelled: bool
    result: dict[str, Any] | None
    """``verdict``, ``serving``, ``seconds`` once it is done."""
    actor: str
    started_at: datetime
    finished_at: datetime | None
    hooks: tuple[str, ...] = ()
    """Hooks that have run."""
