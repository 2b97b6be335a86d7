"""Repositories, snapshots and what is said of them, as frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from homeport.kernel.ids import is_name
from homeport.kernel.secret import Secret

HOMEPORT = "homeport"
"""The series of what belongs to no single environment: state, releases, repositories, certificates."""
MAIN, OWN_STATE = "", "state"
LANES = (MAIN, OWN_STATE)
"""In each works at most one: in one all that may take hours, in the other Homeport's own state, which cannot wait."""


@dataclass(frozen=True, slots=True)
class LocalPlace:
    path: Path


@dataclass(frozen=True, slots=True)
class S3Place:
    endpoint: str
    """``https://HOST`` with or without a port."""
    bucket: str
    key: Secret
    secret_key: Secret
    prefix: str = ""
    region: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """Where snapshots are, and what opens it: Homeport's own password, or a person's passphrase."""

    name: str
    place: LocalPlace | S3Place
    password: Secret

    @property
    def host(self) -> str:
        """Of its store; "" for a directory."""
        if not isinstance(self.place, S3Place):
            return ""
        return self.place.endpoint.partition("://")[2].partition("/")[0]

    @property
    def address(self) -> str:
        """As restic takes it; no secret is in it."""
        match self.place:
            case LocalPlace(path):
                return str(path)
            case S3Place() as s3:
                parts = (s3.endpoint.rstrip("/"), s3.bucket, s3.prefix.strip("/"))
                return "s3:" + "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which a store counts as hanging, and what may be taken of a network."""

    short: float = 120.0
    """For what reads or writes little."""
    stalled: float = 180.0
    """For a backup that neither reads nor sends anything more."""
    slowest: float = 1_000_000.0
    """Bytes a second; what restores or reads all may take the time that this gives, and :attr:`short`."""
    rate: int | None = None
    """KiB a second, up or down; None: as fast as it goes."""

    def long(self, size: int) -> float:
        """Seconds for so many bytes. Under a rate, twice what it gives besides."""
        held = 2 * size / (self.rate * 1024) if self.rate is not None else 0.0
        return self.short + size / self.slowest + held


@dataclass(frozen=True, slots=True)
class Layout:
    """Where files of these backups are below the data directory, and how a lane's processes are marked."""

    data: Path
    lane: str = MAIN

    def _of_lane(self, name: str) -> str:
        return f"{name}-{self.lane}" if self.lane else name

    @property
    def mark(self) -> str:
        """Every program of the lane that changes a repository, or takes long, is marked with it."""
        return self._of_lane("filebackup.work")

    @property
    def directory(self) -> Path:
        return self.data / "backups" / "files"

    @property
    def lock(self) -> Path:
        return self.directory / self._of_lane("lock")

    @property
    def stage(self) -> Path:
        """Consistent copies and dumps, while they are backed up."""
        return self.directory / self._of_lane("stage")

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    @property
    def runs(self) -> Path:
        """Which restic was started when, so that a lock that one left is known as ours."""
        return self.directory / "runs"

    @property
    def keys(self) -> Path:
        """Which key of each repository Homeport's own password opens: its id, nothing secret."""
        return self.directory / "keys"

    @property
    def proofs(self) -> Path:
        return self.directory / "proofs"

    @property
    def known(self) -> Path:
        """Digests of files that are as they were."""
        return self.directory / "known"

    @property
    def recipient(self) -> Path:
        """What secrets are sealed for; it opens nothing."""
        return self.directory / "recipient.json"

    @property
    def repository(self) -> Path:
        """Where a local repository is when nothing else is said."""
        return self.data / "backups" / "repository"

    @property
    def scratch(self) -> Path:
        return self.data / "scratch" / self._of_lane("files")

    @property
    def restored(self) -> Path:
        """What was brought back beside, until it is put into place or discarded."""
        return self.directory / "restored"

    @property
    def replaced(self) -> Path:
        """What stood where something was put back, until a person removes it."""
        return self.directory / "replaced"

    @property
    def recovering(self) -> Path:
        """In the top, so that what is in it can be renamed into place."""
        return self.data / ".recovering"


def environment_series(app: str, environment: str) -> str:
    return f"{app}.{environment}"


def storage_of(series: str) -> str:
    """Where the storage of an environment lies in the data directory, by its series."""
    return "/".join(("storage", *series.split(".")))


def dump_series(app: str, environment: str, database: str) -> str:
    return f"{app}.{environment}.{database}"


def is_series(text: str) -> bool:
    parts = text.split(".")
    return all(map(is_name, parts)) and 1 <= len(parts) <= 3 and (len(parts) > 1 or text == HOMEPORT)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup in a repository. It counts once its manifest lies beside it."""

    id: str
    """64 hex digits."""
    at: datetime
    series: str
    manifest: str = ""
    """The id of the snapshot that holds its manifest; "" where it was never finished."""
    bytes: int = 0
    """What it holds; 0: not known, by a restic older than 0.17."""

    @property
    def is_finished(self) -> bool:
        return bool(self.manifest)


@dataclass(frozen=True, slots=True)
class Progress:
    repository: str
    files: int
    total_files: int
    bytes: int
    total_bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What restic says of a backup that it made."""

    id: str
    """May be clipped."""
    files: int
    bytes: int
    added: int
    """Bytes that the repository had not yet."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made in one repository."""

    repository: str
    series: str
    snapshot: str
    files: int
    bytes: int
    added: int
    seconds: float
    checksum: str
    """SHA-256 of its manifest."""
    moving: int = 0
    """Files that changed while they were read: what is restored of them is not compared."""
    notes: tuple[str, ...] = ()
    """What people should know, such as a database that is damaged already."""

    @property
    def rate(self) -> float:
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Lock:
    """Of a repository, as restic left it there."""

    id: str
    at: datetime
    host: str
    user: str
    pid: int
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A restic of ours."""

    pid: int
    began: datetime


def checksum(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
