"""Repositories, backups and what is known of them, as frozen values. Pure."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from homeport.backup.physical.wal import Segment, Stretch, position
from homeport.kernel.secret import Secret

MEMORY = Path("/dev/shm")
SLOT = "homeport_receiver"
"""The receiver's replication slot, and the name by which a synchronous commit waits for it."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    path: Path
    beside: Path | None = None
    """What is there whenever the repository is: without it the directory is not made."""


@dataclass(frozen=True, slots=True)
class S3Store:
    bucket: str
    endpoint: str
    """A host name that stands in the certificate."""
    region: str
    key: Secret
    key_secret: Secret
    prefix: str = "/"
    port: int = 443
    path_style: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    name: str
    """For people: "local", "offsite"."""
    store: LocalStore | S3Store
    passphrase: Secret


@dataclass(frozen=True, slots=True)
class Settings:
    """How a cluster is backed up. Repositories are numbered in their order: a new one comes last."""

    repositories: tuple[Repository, ...]
    synchronous: bool = False
    """A commit waits until the receiver has it on its disk."""
    archive_timeout: int = 60
    """Seconds after which a segment with something in it is archived though it is not full."""
    processes: int = 2

    def number(self, name: str) -> int:
        """Raises KeyError."""
        return {r.name: n for n, r in enumerate(self.repositories, 1)}[name]


def in_memory(data: Path) -> Path:
    """How directories begin that hold a data directory's secrets while its Homeport runs."""
    return MEMORY / f"homeport-{sha256(str(data).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class BackupLayout:
    """Where files of a cluster's backups are. Paths only."""

    data: Path
    cluster: str

    @property
    def backups(self) -> Path:
        return self.data / "backups"

    @property
    def directory(self) -> Path:
        return self.backups / self.cluster

    @property
    def records(self) -> Path:
        """Manifests and proofs, by label; ours alone."""
        return self.directory / "records"

    @property
    def work(self) -> Path:
        """pgBackRest's locks and spool."""
        return self.directory / "work"

    @property
    def received(self) -> Path:
        """What pg_receivewal writes."""
        return self.directory / "received"

    @property
    def repository(self) -> Path:
        """Where a local repository is when nothing else is said."""
        return self.directory / "repository"

    @property
    def scratch(self) -> Path:
        """Copies that are looked at and removed. Short: a socket is in each."""
        return self.data / "scratch" / self.cluster

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def secrets(self) -> Path:
        """In memory, and nobody's but the server's."""
        return in_memory(self.data).with_name(f"{in_memory(self.data).name}-{self.cluster}")

    @property
    def conf(self) -> Path:
        return self.secrets / "pgbackrest.conf"


@dataclass(frozen=True, slots=True)
class PhysicalBackup:
    """One backup in one repository, as pgBackRest lists it."""

    repository: str
    label: str
    kind: str
    """"full", "diff" or "incr"."""
    started_at: datetime
    stopped_at: datetime
    start_lsn: str
    stop_lsn: str
    start: Segment
    stop: Segment
    bytes: int
    """Of the cluster that it is a copy of."""
    stored_bytes: int
    """What this backup alone takes in the repository."""
    archive: str
    """Which archive its log is in, such as "15-1"."""
    needs: tuple[str, ...] = ()
    """Labels of the backups that hold files of it."""
    page_errors: bool = False
    """Pages of the cluster were broken already when it was made."""

    @property
    def start_lsn_position(self) -> int:
        return position(self.start_lsn)

    @property
    def stretch(self) -> Stretch:
        return Stretch(self.label, self.start, self.stop)


@dataclass(frozen=True, slots=True)
class RepositoryLook:
    """What a repository says of a cluster. ``problem`` "": it answered."""

    name: str
    backups: tuple[PhysicalBackup, ...] = ()
    system_id: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made in one repository."""

    backup: PhysicalBackup
    seconds: float
    manifest: str
    """The restore point at which its manifest holds."""


@dataclass(frozen=True, slots=True)
class Newest:
    """As far as the log reaches, with what was received and not archived."""


@dataclass(frozen=True, slots=True)
class OfBackup:
    """The moment at which a backup ended."""

    label: str


@dataclass(frozen=True, slots=True)
class AtTime:
    at: datetime


@dataclass(frozen=True, slots=True)
class AtPoint:
    """A named restore point (``homeport.database.restore_points``)."""

    name: str
    lsn: str
    at: datetime


Target = Newest | OfBackup | AtTime | AtPoint


@dataclass(frozen=True, slots=True)
class Restored:
    """A cluster's files as they were at the target: whole, cleanly stopped, to be started as they are."""

    files: Path
    repository: str
    label: str
    timeline: int
    lsn: str
    """How far the log was replayed."""
    last_commit_at: datetime | None
    """Of the last transaction that is in it; None where none came after the backup."""
    heartbeat_at: datetime | None
    from_receiver: int
    """Segments that only the receiver had."""
    bytes: int
    seconds: float
    passed_over: tuple[str, ...] = ()
    """Backups that would have been nearer and could not be restored, each with what was wrong."""
