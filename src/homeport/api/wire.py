"""What goes over the wire: requests and answers of ``/v1``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z])$")]
ReleaseName = Annotated[str, StringConstraints(pattern=r"^r[1-9][0-9]{0,8}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, StringConstraints(max_length=500)]
Text = Annotated[str, StringConstraints(max_length=65536)]


Moment = Annotated[AwareDatetime, Strict(False)]
"""A time with its zone, as ISO 8601 text."""


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Asked(Wire):
    """A request's body: nothing is read as what it is not, such as 0 as false."""

    model_config = ConfigDict(strict=True)


class Problem(BaseModel):
    """An error, as RFC 9457 has it, with Homeport's code, hint and details."""

    type: str = Field(examples=["urn:homeport:error:rollout.busy"])
    title: str = Field(examples=["Another change of this environment runs."])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["cannot start: deploy c-1f… of shop to r7 runs in production"])
    code: str = Field(examples=["rollout.busy"])
    hint: str = Field(examples=["wait for it, or take over with --replace"])
    details: list[str] = []
    retry: bool = False


class ArchiveReceived(Wire):
    digest: str = Field(description="SHA-256 of the archive: its name in a deploy")
    size: int


class DeployRequest(Asked):
    archive: Digest
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] = Field(examples=["1f2e3d4c5b6a"])
    subject: Annotated[str, StringConstraints(max_length=500)] = Field(
        "", description="first line of the commit's message"
    )
    dirty: bool = False
    author: Annotated[str, StringConstraints(max_length=300)] = Field(
        "", examples=["Anna <anna@example.com>"]
    )
    committed_at: Moment | None = None
    replace: bool = Field(False, description="take over from a change that runs")
    past_gate: Reason = Field("", description="why this passes the environment's gate; recorded")
    rebuild: bool = Field(False, description="build also what a release holds already")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"archive": "0" * 64, "commit": "1f2e3d4c5b6a", "subject": "Sell hats too"}]
        },
    )


class RollbackRequest(Asked):
    release: ReleaseName | None = Field(None, description="without it: the release that last served well")
    replace: bool = False


class ScaleRequest(Asked):
    processes: dict[Name, Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        min_length=1, max_length=100, examples=[{"web": 3}]
    )


class RestartRequest(Asked):
    pass


class ConfigureRequest(Asked):
    replace: bool = Field(False, description="take over from a change that runs")


class PromoteRequest(Asked):
    source: Name = Field(description="the environment whose release is shipped", examples=["staging"])
    replace: bool = Field(False, description="take over from a change that runs")
    past_gate: Reason = Field("", description="why this passes the environment's gate; recorded")


class ConfigRequest(Asked):
    declared: bool = Field(
        False,
        description="the homeport.toml that the caller has names the environment: it is made where it is new",
    )


class SecretRequest(ConfigRequest):
    value: Text = Field(description="sealed at once; no answer ever repeats it", examples=["sk_live_…"])


class ModeRequest(Asked):
    message: Annotated[str, StringConstraints(max_length=1000)] = Field(
        "", examples=["We move to a larger machine; back at 14:00 UTC."]
    )
    allow: list[Annotated[str, StringConstraints(max_length=64)]] = Field(
        [], description="networks that are let through", examples=[["203.0.113.0/24"]], max_length=100
    )
    until: str | None = Field(
        None,
        description="when it ends by itself, UTC",
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$",
        examples=["2026-11-21T14:00:00Z"],
    )


class CommandRequest(Asked):
    command: list[Text] = Field(min_length=1, max_length=1000, examples=[["python", "-m", "shop.report"]])
    process: Name | None = Field(
        None, description="as an instance of this process; default: web, else the first"
    )
    caller: int = Field(
        0, description="the process that it belongs to, and is ended after; 0: none", ge=0, lt=2**31
    )


class CommandEnd(Asked):
    status: int = Field(description="exit status, 128 and more for a signal", ge=0, le=255)


class ImportRequest(ConfigRequest):
    text: Annotated[str, StringConstraints(max_length=1_000_000)] = Field(
        description="what a .env file holds", examples=["LOG_LEVEL=info\n"]
    )
    secrets: list[Annotated[str, StringConstraints(max_length=128)]] = Field(
        [], description="names that are secrets, beside those that the app declares so", max_length=1000
    )


class ImportedOut(Wire):
    variables: list[str] = Field(description="names set as plain variables")
    secrets: list[str] = Field(description="names sealed as secrets, because the app declares them so")


class VariablesRequest(ConfigRequest):
    set: dict[Annotated[str, StringConstraints(max_length=128)], Text] = {}
    unset: list[Annotated[str, StringConstraints(max_length=128)]] = []


class FailureOut(Wire):
    code: str
    sentence: str
    hint: str
    lines: list[str]


class TrialFigures(Wire):
    """Seconds; rates from 0 to 1."""

    canary_requests: int = 0
    canary_errors: int = 0
    canary_p50: float | None = None
    canary_p95: float | None = None
    stable_requests: int = 0
    stable_errors: int = 0
    stable_p50: float | None = None
    stable_p95: float | None = None
    errors_worse: float = Field(0.0, description="how near the evidence is to a roll-back: 0 none, 1 there")
    latency_worse: float = 0.0
    requests_needed: int = Field(0, description="of the new release, before it can be promoted; a guess")
    latencies_needed: int = 0


class TrialOut(Wire):
    """A new release on trial: beside the one before it (canary), then with all of the requests (watch)."""

    change: str
    release: str
    before: str | None
    phase: Literal["canary", "watch"]
    step: int = Field(description="steps passed")
    shares: list[float] = Field(description="of each step")
    share: float = Field(description="the new release's part of the requests now, as planned")
    since: datetime
    until: datetime | None = Field(description="the end of a watch")
    paused_by: str | None
    asks: bool = Field(description="it waits for a person, for want of traffic to judge by")
    outcome: Literal["forming", "promoted", "rolled back", "inconclusive"]
    reasons: list[str] = Field(description="why; while it forms, what a promotion still lacks")
    figures: TrialFigures
    state: Literal["running", "promoted", "rolled back", "inconclusive", "ended"]


class ChangeResult(Wire):
    verdict: Literal["promoted", "built", "migrated", "rolled back"]
    release: str
    serving: str | None
    seconds: float


class ChangeOut(Wire):
    id: str = Field(examples=["c-1f2e3d4c5b"])
    kind: Literal[
        "deploy", "build", "configure", "promote", "rollback", "scale", "restart", "migrate", "heal"
    ]
    app: str
    environment: str
    release: str
    done: bool
    failure: FailureOut | None
    result: ChangeResult | None
    actor: str
    started_at: datetime
    finished_at: datetime | None
    trial: TrialOut | None = Field(None, description="of a new release: how it compares")


class ReleaseOut(Wire):
    id: str
    commit: str
    subject: str
    dirty: bool
    state: Literal["building", "ready", "failed", "pruned"]
    size: int | None = Field(description="bytes on disk")
    build_seconds: float | None
    created_at: datetime
    serving: list[str] = Field(description="environments that it serves")
    warm: list[str] = Field(description="environments where it is still started")
    verdict: Literal["serves", "served", "in progress", "built", "never served", "build failed"] = Field(
        description="what became of it; its files may be gone all the same: see state"
    )
    reason: str | None = Field(None, description="why it never served, or serves no more")


class InstanceOut(Wire):
    name: str
    process: str
    release: str
    port: int | None
    state: str
    pid: int | None
    since: float = Field(description="seconds in this state")
    exit: str
    healthy: bool | None = Field(description="by the edge's checks; null for a worker")
    weight: int | None
    share: float = Field(description="of new requests, 0 to 1")
    sessions: int
    retire_at: datetime | None
    memory: int | None = Field(description="resident bytes of its main process")


class ProcessOut(Wire):
    name: str
    routed: bool
    wanted: int
    serving: int


class EnvironmentOut(Wire):
    app: str
    name: str
    health: Literal["up", "degraded", "down", "empty", "asleep"]
    serving: str | None = Field(description="the release last promoted")
    releases: list[str] = Field(description="releases that get traffic now, as the edge reports it")
    commit: str | None
    subject: str | None
    processes: list[ProcessOut]
    instances: list[InstanceOut]
    routes: list[str]
    urls: list[str]
    rollback_target: str | None
    change: ChangeOut | None = Field(description="the change that runs, or else the last one")
    edge_answers: bool
    modes: list[str] = Field([], description='"maintenance" and "read-only", when they are on')


class AppOut(Wire):
    name: str
    environments: list[EnvironmentOut]


class ProblemWith(Wire):
    what: str
    sentence: str
    hint: str
    is_down: bool


class StatusOut(Wire):
    version: str
    data_dir: str
    http: str
    https: str | None
    uptime: float = Field(description="seconds the control plane is up")
    memory: int = Field(description="resident bytes of the control plane")
    edge: Literal["up", "down"]
    supervisor: Literal["up", "down"]
    apps: list[AppOut]
    databases: list[ProblemWith] = Field(description="what is wrong with databases, as far as it shows")


class VariablesOut(Wire):
    variables: dict[str, str]


class LogLine(Wire):
    at: str
    instance: str
    text: str


class EventOut(Wire):
    seq: int
    at: datetime
    kind: str
    app: str | None
    environment: str | None
    change: str | None
    actor: str
    data: dict[str, Any]
    hash: str


class FindingOut(Wire):
    name: str
    ok: bool
    detail: str
    hint: str


class DoctorOut(Wire):
    ok: bool
    findings: list[FindingOut]


class Destroyed(Wire):
    app: str
    instances: int
    releases: int


Origin = Literal["app", "environment", "set by hand", "secret", "outside", "Homeport"]


class SettingOut(Wire):
    """A variable as an instance sees it."""

    name: str
    value: str | None = Field(description="null for a secret")
    origin: Origin
    version: int | None = Field(None, description="of a secret")
    description: str = ""


class ConfigOut(Wire):
    release: str
    deployed: list[SettingOut] = Field(description="with what serves now")
    next: list[SettingOut] = Field(description="with what is set now: a deploy would bring it")


class SecretOut(Wire):
    """A secret, without its value."""

    name: str
    version: int
    actor: str
    created_at: datetime
    source: str = Field("", description='"file:…" or "command:…" when it comes from outside')


class RevealedOut(Wire):
    name: str
    value: str


class RotatedOut(Wire):
    secrets: int
    documents: int = Field(description="instances whose sealed secrets on disk were sealed anew")


class ModeOut(Wire):
    mode: Literal["maintenance", "read-only"]
    message: str
    allow: list[str]
    until: datetime | None
    actor: str
    since: datetime
    note: str = Field("", description="what is not as the app wants it")


class CommandOut(Wire):
    """How to run a one-off command: for the runner on the same machine, secrets sealed."""

    run: str
    release: str
    runner: list[str] = Field(description="argv of the runner, but for the descriptor of the document")
    document: dict[str, Any]


class CronOut(Wire):
    name: str
    schedule: str
    timezone: str
    command: str
    paused_by: str | None
    next: datetime | None
    last: "RunOut | None"


class RunOut(Wire):
    """A run of a scheduled command."""

    id: str
    name: str
    due_at: datetime
    cause: str
    attempt: int
    state: str
    release: str | None
    started_at: datetime | None
    finished_at: datetime | None
    exit: str | None
    seconds: float | None


class RunStarted(Wire):
    id: str
