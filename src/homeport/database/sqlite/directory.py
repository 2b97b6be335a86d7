"""The migrations of a release for SQLite, read from its directory."""

from __future__ import annotations

from pathlib import Path

from homeport.database.migrations.errors import UNREADABLE
from homeport.database.migrations.files import LIMIT
from homeport.database.migrations.model import Migration
from homeport.database.sqlite.files import parse_all


def read(directory: Path) -> tuple[Migration, ...]:
    """As :func:`homeport.database.migrations.directory.read`, with SQLite's SQL."""
    try:
        paths = [p for p in directory.iterdir() if p.suffix == ".sql" and not p.name.startswith(".")]
        return parse_all([(p.name, _head(p)) for p in paths])
    except OSError as error:
        where = error.filename or directory
        raise UNREADABLE.error(
            f"cannot read the migrations in {directory}: {where}: {error.strerror}",
            hint="[database.NAME] migrations names a directory of the release",
        ) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LIMIT + 1)
