"""``[backup]`` as frozen values. Times in seconds."""

from dataclasses import dataclass, field

MASKS = ("email", "name", "phone", "address", "text", "number", "date", "ip", "hash", "null", "keep")
"""What a column's values become in a clone; "keep" says that they may stay as they are."""

DRILLS = (
    "table-dropped",
    "rows-corrupted",
    "cluster-lost",
    "machine-lost",
    "repository-unreachable",
    "passphrase-wrong",
    "bad-migration",
    "secrets-leaked",
)
"""Scenarios of drills."""
PROOF_RATE = 100_000_000


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups are kept: the newest of each of the last hours, days, weeks and months that have one."""

    hourly: int = 24
    daily: int = 30
    weekly: int = 12
    monthly: int = 12


@dataclass(frozen=True, slots=True)
class ProofQuery:
    """A query of the app's own, put to what was restored."""

    name: str
    query: str
    expect: str = ""
    """The text of the first row's first value; "" asks only that there is a row, and that value is not null,
    false or 0."""
    database: str = "main"


@dataclass(frozen=True, slots=True)
class Mask:
    """What a clone shows instead of a column's values."""

    table: str
    """With its schema: ``public.users``."""
    column: str
    rule: str
    """One of :data:`MASKS`."""
    database: str = "main"


@dataclass(frozen=True, slots=True)
class Backup:
    """How an environment's databases and files are backed up."""

    schedule: str = "0 * * * *"
    """Of databases what changed since the last backup, of files all."""
    full: str = "0 2 * * *"
    """All of the databases."""
    timezone: str = "UTC"
    window: float = 604_800.0
    """How far back any moment can be returned to."""
    synchronous: bool = False
    """A commit waits until a second copy of it is on disk."""
    keep: Keep = field(default_factory=Keep)
    proof: tuple[ProofQuery, ...] = ()
    mask: tuple[Mask, ...] = ()
    rate: int | None = None
    """Bytes a second that a backup may read, and may write; None: as fast as it goes."""
    proof_rate: int | None = PROOF_RATE
    """The same of a proof."""
    rpo: float | None = None
    """Seconds of writes that may be lost; None: as each scenario of a drill has it."""
    rto: float | None = None
    """Seconds from an accident to the end of the smoke test."""
    drill: str = ""
    """When recoveries are rehearsed; "": by hand only."""
    drill_scenarios: tuple[str, ...] = DRILLS
    """Those that are rehearsed by the clock, in turn."""
