"""What goes over the wire about migrations of databases."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from homeport.api.wire import Asked, Name, ReleaseName, Wire

Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,40}$")]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^/\x00]+$")]
Base64 = Annotated[str, StringConstraints(max_length=14_000_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class MigrationFile(Asked):
    name: FileName = Field(examples=["20261120120000_add_orders.sql"])
    content: Base64 = Field(description="the file in base64")


class DatabaseRequest(Asked):
    """Which database, and by which files: those given, or of a release, or of the one that serves."""

    database: Name | None = Field(
        None, description='default: the only one that has migrations, or else "main"'
    )
    release: ReleaseName | None = None
    files: Annotated[list[MigrationFile], Field(max_length=5000)] | None = None


class PlanRequest(DatabaseRequest):
    direction: Literal["up", "down"] = "up"
    to: Version | None = Field(
        None, description='up: this version and none above; down: those above it, "0" is all of them'
    )
    versions: Annotated[list[Version], Field(max_length=5000)] = Field([], description="down: just these")
    steps: Annotated[int, Field(ge=1, le=5000)] | None = Field(
        None, description="down: so many, counted from the last one"
    )
    out_of_order: bool = Field(False, description="up: also those older than one that was applied")


class MigrateRequest(Asked):
    database: Name | None = None
    direction: Literal["up", "down"] = "up"
    to: Version | None = None
    versions: Annotated[list[Version], Field(max_length=5000)] = Field([])
    out_of_order: bool = False
    confirm: Annotated[str, StringConstraints(max_length=100)] = Field(
        "", description="down, in production or behind a gate: the environment's name, once more"
    )


class LintRequest(DatabaseRequest):
    engine: Literal["postgresql", "sqlite"] = "postgresql"
    every: bool = Field(
        False, description="all files; else those that are pending, where there is a database"
    )


class RepairOut(Wire):
    act: Literal["accept", "forget", "done", "again", "adopt"]
    version: str
    sentence: str
    details: list[str]


class RepairAgreed(Asked):
    act: Literal["accept", "forget", "done", "again", "adopt"]
    version: Annotated[str, StringConstraints(max_length=255)]
    sentence: Annotated[str, StringConstraints(max_length=2000)]
    details: Annotated[
        list[Annotated[str, StringConstraints(max_length=100_000)]], Field(max_length=1000)
    ] = Field([])


class RepairRequest(DatabaseRequest):
    choice: Literal["", "done", "again"] = Field(
        "", description="what is known of a statement that was cut off, and that nothing shows the end of"
    )
    adopt: bool = Field(False, description="take over what dbmate's own table says")
    agreed: Annotated[list[RepairAgreed], Field(max_length=5000)] | None = Field(
        None, description="what an earlier call proposed: do it; null proposes"
    )


class ProblemFound(Wire):
    code: str
    sentence: str
    hint: str
    details: list[str]


class MigrationOut(Wire):
    version: str
    description: str
    state: Literal["applied", "pending", "rolled back", "changed", "missing", "out of order", "unfinished"]
    contract: bool
    applied_at: datetime | None
    rolled_back_at: datetime | None
    duration: float | None = Field(description="seconds")
    by: str
    release: str


class MigrationsOut(Wire):
    """How every migration stands, by file and by the database's own table."""

    database: str
    statuses: list[MigrationOut]
    problems: list[ProblemFound] = Field(description="why a run would do nothing")
    waiting: list[str] = Field(description="contracts that run when their release has served its watch")
    failed: list[str] = Field(description="contracts that failed: homeport migrate up tries them again")


class StepOut(Wire):
    act: Literal["run", "record", "finalize", "clean"]
    version: str
    filename: str
    direction: str
    contract: bool
    statements: list[str] = Field(description="the beginning of each")


class PlanOut(Wire):
    database: str
    steps: list[StepOut]
    sql: str = Field(description="what would be sent")
    waiting: list[str]


class DifferenceOut(Wire):
    kind: str
    name: str
    sentence: str
    diff: list[str] = Field(description="- by the migrations, + there")


class VerifyOut(Wire):
    database: str
    differences: list[DifferenceOut]


class RepairsOut(Wire):
    database: str
    repairs: list[RepairOut]
    done: bool


class SchemaOut(Wire):
    database: str
    sql: str


class LintFinding(Wire):
    filename: str
    line: int
    rule: str
    level: Literal["blocking", "incompatible", "advice"]
    sentence: str
    hint: str
    allowed: str = Field(description='why it is allowed; "" where it is not')
    stops: bool


class LintOut(Wire):
    database: str | None = Field(description="null: all files, whatever was applied")
    files: list[str]
    findings: list[LintFinding]


class SchemaTrial(Wire):
    """What pending migrations did to a scratch database with the real one's schema."""

    report: dict[str, Any]
