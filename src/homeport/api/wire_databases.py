"""What goes over the wire about databases and caches."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from homeport.api.wire import Asked, ChangeOut, Wire

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
"""As PostgreSQL calls it."""
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,60}$")]


class DatabaseOut(Wire):
    app: str
    environment: str
    name: str
    engine: Literal["postgresql", "sqlite"]
    kind: Literal["provisioned", "attached", "sqlite", "coming"]
    state: Literal["ready", "held", "down", "making", "dropping", "coming", "kept"] = Field(
        description="held: clients wait; kept: no release that serves or is kept warm uses it"
    )
    variable: str = Field(description="the environment variable with its URL")
    cluster: str | None
    database: str | None = Field(description="as PostgreSQL calls it")
    version: str | None
    bytes: int | None
    connections: int | None = Field(description="at the server, now")
    connections_allowed: int | None
    pool: str | None
    clients: int | None = Field(description="at the pooler, now")
    waiting: int | None
    where: str
    rotating_since: datetime | None = Field(description="while the former login is valid still")
    problem: str


class ShellRequest(Asked):
    read_only: bool = False
    caller: Annotated[int, Field(ge=1, lt=2**31)] = Field(description="the process that the login is for")


class ShellOut(Wire):
    program: str
    arguments: list[str]
    environment: dict[str, str] = Field(description="with the password; good while the caller lives")
    user: str | None
    fallback: list[str] = Field(description="where the program is not on the machine")
    note: str


class UrlOut(Wire):
    name: str
    variable: str
    url: str


class IndexSize(Wire):
    name: str
    bytes: int | None


class TableSize(Wire):
    name: str
    kind: str
    rows: float | None = Field(description="estimated")
    bytes: int | None
    indexes: list[IndexSize]


class SizesOut(Wire):
    bytes: int
    exact: bool = Field(description="false: as of the last VACUUM or ANALYZE, since something is locked")
    tables: list[TableSize]


class HoldRequest(Asked):
    timeout: Annotated[float, Field(gt=0, le=60)] = Field(
        10.0, description="seconds that transactions have to end"
    )


class RestartedOut(Wire):
    cluster: str
    seconds: float
    cut_off: list[str] = Field(description="databases whose clients no pooler holds")


class RotateRequest(Asked):
    now: bool = Field(False, description="do not wait for instances that are kept for a way back")


class RotatedDatabaseOut(Wire):
    name: str
    state: Literal["rolling", "overlap", "retired"]
    change: ChangeOut | None = Field(description="that gives the app the new login")


class RotationOut(Wire):
    since: datetime | None = Field(description="null: none is under way, and one login is valid")
    serves: bool = Field(description="the app serves with the new login")
    warm: int = Field(description="instances with the former login that are kept for a way back, or drain")
    others: int = Field(description="other instances, runs and commands that may have it")


class MendOut(Wire):
    statement: str
    locks: str
    safe: bool
    note: str


class InsightFindingOut(Wire):
    rule: str
    severity: Literal["notice", "warning", "critical"]
    what: str
    sentence: str
    mend: MendOut
    figures: dict[str, Any]


class SkippedOut(Wire):
    rule: str
    reason: str


class QueryOut(Wire):
    id: str
    text: str
    user: str
    calls: int
    total: float
    mean: float
    rows: int
    hits: float | None
    share: float
    plan: dict[str, Any] | None
    no_plan: str


class GrowthOut(Wire):
    since: datetime
    before: int
    now: int


class InsightOut(Wire):
    database: str
    version: str
    at: datetime
    statistics_age: float
    figures: dict[str, Any]
    findings: list[InsightFindingOut]
    skipped: list[SkippedOut]
    queries: list[QueryOut]
    rules: list[str]
    growth: GrowthOut | None


class UpkeepOutcome(Wire):
    state: str
    statement: str
    seconds: float
    bytes_before: int | None
    bytes_after: int | None
    dropped: list[str]
    left: list[str]
    problem: str
    hint: str


class UpkeepOut(Wire):
    database: str
    name: str
    kind: str
    target: str
    schedule: str
    timezone: str
    timeout: float
    next: datetime | None
    started_at: datetime | None
    running: bool
    last: UpkeepOutcome | None


class DroppedOut(Wire):
    app: str
    environment: str
    name: str
    database: str
    cluster: str


class CacheOut(Wire):
    app: str
    environment: str
    name: str
    running: bool
    port: int | None
    used: int | None
    limit: int | None
    keys: int | None
    persistent: bool | None
