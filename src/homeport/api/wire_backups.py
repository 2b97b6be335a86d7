"""What goes over the wire about backups."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from homeport.api.wire import Asked, Name, Wire
from homeport.api.wire_restores import At

RunId = Annotated[str, StringConstraints(max_length=63)]
"""What no run is called is not found, as one that is not there."""
Text = Annotated[str, StringConstraints(max_length=500)]
Passphrase = Annotated[str, StringConstraints(max_length=1000)]


class PlaceRequest(Asked):
    path: Text = Field("", description="an absolute directory of the machine", examples=["/mnt/backups"])
    endpoint: Text = Field("", description="of an S3-compatible store", examples=["https://s3.example.com"])
    bucket: Text = ""
    prefix: Text = ""
    region: Text = ""
    ca: Text = Field("", description="a file with the certificates that the store's is checked by")


class LockRequest(Asked):
    days: int = Field(ge=0, le=3650, description="0: it is not looked at any more; the store's own goes on")
    compliance: bool = Field(
        False, description="nobody may remove what is locked, not even who has a right of their own for that"
    )


class RepositoryRequest(Asked):
    name: Name = Field(examples=["offsite"])
    place: PlaceRequest
    key: Text = Field("", description="the access key's id, of an S3-compatible store")
    secret_key: Text = ""
    passphrase: Passphrase = Field(description="opens the repository when all else is lost; it is not kept")
    lock: LockRequest | None = Field(None, description="object lock, where the store has it")


class UndeleteRequest(Asked):
    since: At = Field(description="what was deleted or overwritten after this moment comes back")
    plan: bool = Field(False, description="only tell what that is")


class UndeletedOut(Wire):
    deleted: int = Field(description="files that were deleted")
    overwritten: int
    files: list[str] = Field(description="some of them, as the bucket names them")
    done: bool


class LockOut(Wire):
    asked_days: int
    asked_mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int = Field(description="as the store had it when it was looked at; 0: it locks nothing")
    mode: Literal["GOVERNANCE", "COMPLIANCE", ""]
    seen_at: datetime
    extended_at: datetime | None = Field(description="when all that is in use was locked anew")
    problem: str


class PassphraseRequest(Asked):
    passphrase: Passphrase


class RepositoryOut(Wire):
    name: str
    place: str
    kind: Literal["directory", "s3"]
    new: bool = False
    shares_disk: bool = Field(
        description="a directory on the disk of the data directory: what takes that disk takes both"
    )
    lock: LockOut | None = Field(None, description="null: none was asked for")


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


RunKind = Literal["backup", "state", "prove", "restore", "clone", "drill"]


class RunOut(Wire):
    id: str = Field(examples=["b-1f2e3d4c5b"])
    kind: RunKind
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
    bytes: int | None = Field(None, description="what it holds; null: not known")
    removed: bool = Field(description="nothing is there any more that it would be a backup of")
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
    rpo: float = Field(description="the target: seconds of writes that may be lost")
    backed_up: bool = Field(
        description="a repository has a backup of it; without one all of it would be lost"
    )


class FilesLookOut(Wire):
    series: str = Field(description='"homeport" is its own state: releases, config, secrets, the journal')
    at: datetime | None = Field(
        description="what was written since then would be lost with the machine; null: it was not backed up yet"
    )


class DayOut(Wire):
    day: date = Field(description="in UTC")
    rpo: float | None = Field(
        description="the most seconds of writes that would have been lost with the machine"
    )
    proof_age: float | None = Field(
        description="the most seconds that the newest proof of everything was ago"
    )
    proofs: int
    proofs_failed: int
    restore: float | None = Field(
        description="the most seconds that a cluster took to be restored, in proofs"
    )
    drills: int
    drills_failed: int
    drill_rpo: float | None = Field(description="the most seconds of writes that a drill lost")
    rto: float | None = Field(description="the most seconds that a drill took until it answered again")


class HistoryOut(Wire):
    cluster: str = Field(description='"": there is none')
    days: list[DayOut] = Field(description="the newest first")


class StatusOut(Wire):
    ok: bool = Field(description="nothing is wrong")
    recoverable: bool = Field(description="what was backed up could be brought back, whatever else is wrong")
    repositories: list[RepositoryOut]
    last: RunOut | None = Field(description="the newest backup of everything that is over")
    running: list[RunOut]
    proven_at: datetime | None = Field(description="the oldest among the newest proofs, all of which passed")
    looks: list[LookOut]
    files: list[FilesLookOut]
    findings: list[FindingOut]
    problems: list[str] = Field(description="in words: what is wrong")
    warnings: list[str] = Field(description="in words: what may be meant so, and `ok` does not depend on")
