"""Migrations: files, what the database says of them, and what is done."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

TABLE = "homeport_migrations"
OWN_SCHEMA = "homeport"
"""What a provisioned database has of Homeport's own, and no migration makes."""


class Lone(Enum):
    """A statement that no transaction may hold, by how it is recognised after it was cut off."""

    CREATE_INDEX = "create index concurrently"
    DROP_INDEX = "drop index concurrently"
    REINDEX = "reindex"
    DETACH = "detach partition concurrently"
    REPEATABLE = "repeatable"
    """Running it again is right: VACUUM, CLUSTER, ALTER SYSTEM."""
    WHOLE = "whole"
    """It happens or does not, and nothing simple tells which: databases, tablespaces, subscriptions."""
    BATCHES = "batches"
    """DO and CALL without a transaction: what they committed before they failed stays."""

    @property
    def is_concurrent(self) -> bool:
        """It waits for others without making them wait."""
        return self in (Lone.CREATE_INDEX, Lone.DROP_INDEX, Lone.REINDEX)


TELLTALE = re.compile(r"password|secret|token|connection\s+'", re.IGNORECASE)
"""Words of a statement that may hold a secret."""


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    """Without its semicolon."""
    line: int
    """Of the file, from 1."""
    lone: Lone | None = None
    name: tuple[str, str] = ("", "")
    """Of the index or partition that a lone statement makes or takes away: (schema or "", name)."""
    table: tuple[str, str] = ("", "")
    """Of the table that the index or partition belongs to: (schema or "", name)."""

    @property
    def is_secret(self) -> bool:
        """Whether it may hold a secret, so that neither it nor PostgreSQL's words on it are shown."""
        return TELLTALE.search(self.text) is not None

    @property
    def summary(self) -> str:
        """Its beginning, as one line of at most 80 characters; its first words where it may hold a secret."""
        if self.is_secret:
            return " ".join(self.text[:60].split()[:2]) + " …"
        line = " ".join(self.text[:400].split())
        return line if len(line) <= 80 else f"{line[:79]}…"


@dataclass(frozen=True, slots=True)
class Section:
    text: str
    line: int
    """Of the file, where ``text`` begins, from 1."""
    statements: tuple[Statement, ...] = ()

    @property
    def lone(self) -> Statement | None:
        """Its only statement, where that runs outside a transaction."""
        if len(self.statements) == 1 and self.statements[0].lone is not None:
            return self.statements[0]
        return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """``-- homeport:allow RULE because REASON``."""

    rule: str
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class Migration:
    """A file, checked."""

    version: str
    description: str
    filename: str
    source: str
    """Its text with ``\\n`` for line ends."""
    checksum: str
    up: Section
    down: Section | None
    contract: bool = False
    """It takes away what the release before still needs."""
    allowances: tuple[Allowance, ...] = ()

    def section(self, direction: Direction) -> Section | None:
        return self.up if direction is Direction.UP else self.down


class Direction(Enum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of a version."""

    version: str
    description: str
    filename: str
    checksum: str
    source: str
    """The file as it was when it was applied: for the diff, and for a down when the file is gone."""
    applied_at: datetime | None
    duration: float | None
    """Seconds."""
    by: str
    release: str
    rolled_back_at: datetime | None
    running: Direction | None = None
    """A lone statement of it was begun and its end was not recorded: under way, or cut off."""
    started_at: datetime | None = None

    @property
    def is_applied(self) -> bool:
        return self.applied_at is not None and self.rolled_back_at is None


class Subset(Enum):
    ALL = "all"
    EXPAND = "expand"
    """All but those marked ``contract``."""
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted of :func:`homeport.database.migrations.plan.plan`."""

    direction: Direction = Direction.UP
    subset: Subset = Subset.ALL
    to: str = ""
    """UP: this version and none above. DOWN: those above this version ("0" is all of them)."""
    versions: tuple[str, ...] = ()
    """DOWN: just these, the last first."""
    out_of_order: bool = False


class Remnant(Enum):
    """What is there of the object of a lone statement."""

    ABSENT = "absent"
    INVALID = "invalid"
    """An index that a CONCURRENTLY left half made, or a partition whose detaching is pending."""
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Seen:
    remnant: Remnant
    invalid: tuple[tuple[str, str], ...] = ()
    """Indexes (schema, name) that the statement left and that must go before it can run again."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a migration behaves towards others. Times in seconds."""

    lock_timeout: float = 2.0
    statement_timeout: float = 900.0
    patience: float = 300.0
    """How long it tries to get the locks on tables before it gives up."""
    wait_for_other: float = 60.0
    """How long it waits for another migration of the database; 0 refuses at once."""
    schema: str = "public"
    """Where the table is."""
    owner: str = ""
    """The role that owns what is made; "" is the one that logs in."""
    by: str = ""
    release: str = ""
    reader: str = ""
    """A role that may read Homeport's table and no more, whatever it may do with others; "" is nobody."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What happens, as it happens. ``kind`` is one of the words below."""

    kind: str
    """waiting, started, statement, retry, cleaned, applied, reverted, resumed."""
    version: str = ""
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """A version that was applied or taken back in this run."""

    version: str
    direction: Direction
    seconds: float
    attempts: int = 1
    """How often it was begun until it got its locks."""


@dataclass(frozen=True, slots=True)
class Status:
    """A migration as people look at it."""

    version: str
    description: str
    state: str
    """applied, pending, rolled back, changed, missing, out of order, unfinished."""
    contract: bool = False
    row: Row | None = None


Note = Callable[[Progress], None]
Cancelled = Callable[[], bool]
