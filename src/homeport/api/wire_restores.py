"""What goes over the wire about restores."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from homeport.api.wire import Asked, Name, ReleaseName, Wire

Label = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9_.-]*$")]
At = Annotated[
    AwareDatetime,
    Field(strict=False, ge=datetime(1969, 12, 31, tzinfo=UTC), lt=datetime(9999, 1, 2, tzinfo=UTC)),
]
"""With its zone; JSON has no times, so that it is read from text."""
Confirm = Annotated[str, StringConstraints(max_length=100)]


Table = Annotated[str, StringConstraints(min_length=1, max_length=130)]
SchemaName = Annotated[str, StringConstraints(max_length=63)]
"""One that no restore made is not found, as one that is gone."""


class MomentRequest(Asked):
    at: At | None = Field(None, description="a time; one of the three, or none for the newest there is")
    backup: Label = Field("", description="the moment at which a backup ended", examples=["20261121-030000F"])
    before_deploy: ReleaseName | None = Field(
        None, description="the moment before a release changed the schema"
    )
    repository: Name | None = Field(None, description="read this one; else whichever has it")


class RestoreRequest(Asked):
    database: Name | None = Field(None, description="by its name in homeport.toml; the only one, or main")
    to: MomentRequest = Field(default_factory=lambda: MomentRequest.model_validate({}))
    plan: bool = Field(False, description="only find out what would be lost")
    stay_writable: bool = Field(False, description="do not switch the environment to read-only meanwhile")
    rollback: ReleaseName | None = Field(
        None, description="roll back to this release, and take the data back to before the one after it"
    )
    rollback_to_last: bool = Field(False, description="as rollback, to the release that last served well")
    tables: list[Table] = Field(
        default_factory=list,
        max_length=100,
        description="only these, into a schema beside those that serve",
        examples=[["users", "public.orders"]],
    )
    files: bool = Field(False, description="the storage's files, not a database")
    paths: list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]] = Field(
        default_factory=list,
        max_length=100,
        description="of the storage, only these",
        examples=[["uploads/a.png"]],
    )
    confirm: Confirm = Field("", description="the app's name, once more; not for a plan, nor for tables")


class ClusterRestoreRequest(Asked):
    to: MomentRequest = Field(default_factory=lambda: MomentRequest.model_validate({}))
    plan: bool = Field(False, description="only find out what would be lost, of every database in it")
    stay_writable: bool = Field(False, description="do not switch its environments to read-only meanwhile")
    confirm: list[Confirm] = Field(
        default_factory=list, max_length=500, description="the name of every app with a database in it"
    )


class MergeRequest(Asked):
    schema_: SchemaName = Field(alias="schema", description="where the tables are")
    missing: bool = Field(False, description="rows that are not there any more, and tables that are gone")
    changed: bool = Field(False, description="rows that are otherwise now")
    confirm: Confirm = Field("", description="the app's name, once more")


class BackedUpFileOut(Wire):
    path: str = Field(description="in the storage, as --path takes it")
    kind: Literal["file", "link", "sqlite"]
    bytes: int


class BackedUpFilesOut(Wire):
    repository: str
    snapshot: str
    at: datetime
    files: list[BackedUpFileOut] = Field(description="the first 10,000 that fit, by path")
    found: int = Field(description="how many fit")
    bytes: int = Field(description="of all that fit")
    of: int = Field(description="how many the backup has")


class KeptOut(Wire):
    name: str = Field(examples=["shop_production_before_20261121t163000"])
    kind: Literal["database", "schema", "cluster", "files"]
    cluster: str
    database: str
    app: str = Field(description='"": of every one in the cluster')
    environment: str
    run: str
    at: datetime | None = Field(description="when its run began; null: that is not known any more")
    bytes: int


class AllKeptOut(Wire):
    kept: list[KeptOut]
    problems: list[str]


class DroppedOut(Wire):
    name: str
