"""What goes over the wire about where commits come from, previews and runs of pipelines."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from homeport.api.wire import Asked, ChangeOut, Digest, Moment, Wire

# Sources


class SourceRequest(Asked):
    url: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(
        description="where to fetch from: https, ssh, or an absolute path",
        examples=["https://github.com/you/shop.git"],
    )
    branch: Annotated[str, StringConstraints(max_length=200)] = "main"
    directory: Annotated[str, StringConstraints(max_length=300)] = Field(
        "", description="of the app within the repository"
    )
    poll: Annotated[float, Field(ge=5, le=86400)] | None = Field(
        None, description="seconds between two looks at the branch; null: none"
    )
    token_from: Annotated[str, StringConstraints(max_length=1000)] | None = Field(
        None,
        description='where to read what the repository asks for, TOKEN or USER:TOKEN: "file:/PATH" or '
        '"command:LINE"; null keeps what there is, "" forgets it',
    )


class SourceOut(Wire):
    app: str
    url: str | None
    branch: str
    directory: str
    poll: float | None
    webhook: str | None = Field(description="the path that webhooks are sent to, on any of the app's hosts")
    credential: bool
    seen: str | None = Field(description="the commit that a run was last started for")
    looked_at: datetime | None
    problem: str | None
    waiting: int = Field(description="what webhooks asked for and was not done yet")


class WebhookOut(Wire):
    path: str
    secret: str = Field(description="told this once")


class RepositoryRequest(Asked):
    directory: Annotated[str, StringConstraints(max_length=300)] | None = Field(
        None, description="of the app within the repository, from now on"
    )


class RepositoryOut(Wire):
    path: str
    is_new: bool


# Previews


class PreviewRequest(Asked):
    archive: Digest
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] = Field(examples=["1f2e3d4c5b6a"])
    subject: Annotated[str, StringConstraints(max_length=500)] = ""
    dirty: bool = False
    author: Annotated[str, StringConstraints(max_length=300)] = ""
    committed_at: Moment | None = None
    branch: Annotated[str, StringConstraints(min_length=1, max_length=244)] = Field(examples=["feature/hats"])
    name: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        None, description="without it: made of the branch's"
    )
    ttl: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="seconds; without it: as the app says"
    )


class PreviewTtl(Asked):
    ttl: Annotated[float, Field(allow_inf_nan=False)] = Field(
        description="seconds that it lives from now on", examples=[259200.0]
    )


class PreviewOut(Wire):
    app: str
    name: str
    environment: str
    branch: str
    commit: str
    state: Literal["starting", "serving", "asleep", "waking", "failed", "removing"]
    problem: str | None = Field(description="why it failed, where that is known")
    urls: list[str]
    actor: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime = Field(description="when it was deployed, or had a request, last; about")
    memory: int = Field(description="resident bytes of its instances' main processes")
    release: str | None = Field(description="the release that serves")
    change: ChangeOut | None = Field(description="the change that runs, or else the last one")


class RemovedOut(Wire):
    app: str
    environment: str
    instances: int
    storage: str = Field(description="the directory of its storage; empty where it had none")
    storage_kept: bool


# Pipelines

StageStateName = Literal["coming", "running", "waiting", "passed", "failed", "cancelled"]
RunStateName = Literal["queued", "running", "waiting", "passed", "failed", "cancelled", "superseded"]


class RunRequest(Asked):
    archive: Digest
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] = Field(examples=["1f2e3d4c5b6a"])
    subject: Annotated[str, StringConstraints(max_length=500)] = ""
    author: Annotated[str, StringConstraints(max_length=300)] = Field(
        "", examples=["Anna <anna@example.com>"]
    )
    committed_at: Moment | None = None
    branch: Annotated[str, StringConstraints(max_length=255)] = Field("", examples=["main"])
    cause: Literal["push", "webhook", "poll", "cli"] = "cli"

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"archive": "0" * 64, "commit": "1f2e3d4c5b6a", "subject": "Sell hats too"}]
        },
    )


class ApprovalRequest(Asked):
    approved: bool
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(
        examples=["Looked at it on staging"]
    )
    ticked: list[Annotated[str, StringConstraints(max_length=300)]] = Field(
        [], description="items of the gate's checklist: each has to be there to approve", max_length=100
    )


class RetryRequest(Asked):
    pass


class StageOut(Wire):
    """A stage of a run: its newest attempt, or what is to come."""

    position: int
    attempt: int | None
    kind: str
    name: str
    environment: str | None
    state: StageStateName
    reason: str
    change: str | None = Field(description="the change that it made")
    found: dict[str, Any] = Field(description="what it found; of a gate: what is to be approved")
    started_at: datetime | None
    finished_at: datetime | None
    people: list[str] = Field([], description="of a gate: who may approve; [] is anybody")
    own: bool = Field(True, description="of a gate: whether author and starter may approve")
    items: list[str] = Field([], description="of a gate: what has to be ticked")
    timeout: float | None = Field(None, description="of a gate: seconds that it waits")


class ApprovalOut(Wire):
    position: int
    attempt: int
    person: str
    approved: bool
    reason: str
    ticked: list[str]
    what: dict[str, Any]
    at: datetime


class ChecklistItem(Wire):
    name: str
    state: Literal["ok", "failed", "missing", "not there", "waiting"]
    detail: str
    moment: Literal["before", "after"]


class PipelineRunOut(Wire):
    id: str = Field(examples=["p-1f2e3d4c5b"])
    app: str
    number: int
    commit: str
    subject: str
    author: str
    committed_at: datetime | None
    branch: str
    cause: str
    actor: str
    state: RunStateName
    attempt: int
    reason: str = Field(description="why it ended as it did")
    cancelled_by: str
    behind: int | None = Field(description="the number of the run that it waits for in the queue")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stages: list[StageOut]
    approvals: list[ApprovalOut]
    checklist: list[ChecklistItem] = Field(description="[] in a list of runs")
