"""What goes over the wire about backups."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from homeport.api.wire import Asked, Name, Wire

RunId = Annotated[str, StringConstraints(pattern=r"^b-[0-9a-f]{10}$")]
Text = Annotated[str, StringConstraints(max_length=500)]
Passphrase = Annotated[str, StringConstraints(max_length=1000)]


class PlaceRequest(Asked):
    path: Text = Field("", description="an absolute directory of the machine", examples=["/mnt/backups"])
    endpoint: Text = Field("", description="of an S3-compatible store", examples=["https://s3.example.com"])
    bucket: Text = ""
    prefix: Text = ""
    region: Text = ""
    ca: Text = Field("", description="a file with the certificates that the store's is checked by")


class RepositoryRequest(Asked):
    name: Name = Field(examples=["offsite"])
    place: PlaceRequest
    key: Text = Field("", description="the access key's id, of an S3-compatible store")
    secret_key: Text = ""
    passphrase: Passphrase = Field(description="opens the repository when all else is lost; it is not kept")


class PassphraseRequest(Asked):
    passphrase: Passphrase


class RepositoryOut(Wire):
    name: str
    place: str
    kind: Literal["directory", "s3"]
    new: bool = False


class BackupRequest(Asked):
    full: bool = Field(False, description="of clusters: everything anew, not only what changed")
    prove: bool = Field(True, description="restore and check it afterwards")


class ProveRequest(Asked):
    repository: Name | None = Field(None, description="in it alone; else in all")


class StepOut(Wire):
    name: str
    state: Literal["waiting", "running", "passed", "failed", "skipped", "cancelled"]
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    progress: dict[str, Any] = Field(
        description="repository, done and total in bytes, rate in bytes a second"
    )
    result: Any
    error: dict[str, Any] | None


class RunOut(Wire):
    id: str = Field(examples=["b-1f2e3d4c5b"])
    kind: Literal["backup", "prune", "prove", "restore", "clone", "drill"]
    subject: str
    state: Literal["running", "passed", "failed", "cancelled"]
    reason: str
    actor: str
    cancel: str = Field(description="who asked for its end")
    started_at: datetime
    finished_at: datetime | None
    request: dict[str, Any]
    steps: list[StepOut]


class ProofOut(Wire):
    at: datetime
    passed: bool
    seconds: float
    failures: list[str]


class ClusterBackupOut(Wire):
    cluster: str
    repository: str
    label: str
    kind: Literal["full", "diff", "incr"]
    started_at: datetime
    stopped_at: datetime
    bytes: int
    stored_bytes: int
    proof: ProofOut | None


class FilesBackupOut(Wire):
    series: str
    repository: str
    snapshot: str
    at: datetime
    finished: bool
    proof: ProofOut | None


class ProblemOut(Wire):
    repository: str
    of: str
    problem: str


class BackupsOut(Wire):
    clusters: list[ClusterBackupOut]
    files: list[FilesBackupOut]
    problems: list[ProblemOut]


class FindingOut(Wire):
    cluster: str
    code: str
    sentence: str
    hint: str


class LookOut(Wire):
    cluster: str
    at: datetime
    lost: int | None = Field(description="seconds of writes that would be lost with the machine")


class StatusOut(Wire):
    ok: bool
    repositories: list[RepositoryOut]
    last: RunOut | None = Field(description="the newest backup of everything that is over")
    running: list[RunOut]
    proven_at: datetime | None = Field(description="the oldest among the newest proofs, all of which passed")
    looks: list[LookOut]
    findings: list[FindingOut]
    problems: list[str] = Field(description="in words: what is wrong")
