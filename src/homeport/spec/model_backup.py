"""``[backup]`` as frozen values. Times in seconds."""

from dataclasses import dataclass, field

MASKS = ("email", "name", "phone", "address", "text", "number", "date", "ip", "hash", "null", "keep")
"""What a column's values become in a clone; "keep" says that they may stay as they are."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups are kept: the newest of each of the last hours, days, weeks and months that have one."""

    hourly: int = 24
    daily: int = 30
    weekly: int = 12
    monthly: int = 12


@dataclass(frozen=True, slots=True)
class Repository:
    """Where backups go."""

    name: str
    path: str = ""
    """A directory of this machine; "" is an S3-compatible store."""
    endpoint: str = ""
    """With S3: ``https://HOST`` with or without a port."""
    bucket: str = ""
    prefix: str = ""
    """Within the bucket."""
    region: str = ""
    key: str = ""
    """The secret that holds the access key's id."""
    secret_key: str = ""
    """The secret that holds the access key's secret."""
    passphrase: str = ""
    """The secret that holds the passphrase; "" is the passphrase that Homeport was given for all."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A query of the app's own, put to what was restored."""

    name: str
    query: str
    expect: str = ""
    """The text of the first row's first value; "" asks only that there is a row."""
    database: str = "main"


@dataclass(frozen=True, slots=True)
class Mask:
    """What a clone shows instead of a column's values."""

    column: str
    """``TABLE.COLUMN`` or ``SCHEMA.TABLE.COLUMN``."""
    rule: str
    """One of :data:`MASKS`."""
    database: str = "main"


@dataclass(frozen=True, slots=True)
class Backup:
    """How an app's data is backed up."""

    keep: Keep = field(default_factory=Keep)
