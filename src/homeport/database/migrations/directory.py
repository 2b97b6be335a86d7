"""The migrations of a release, read from its directory."""

from pathlib import Path

from homeport.database.migrations.errors import UNREADABLE
from homeport.database.migrations.files import LIMIT, parse_all
from homeport.database.migrations.model import Migration


def read(directory: Path) -> tuple[Migration, ...]:
    """Every ``*.sql`` file of a directory, in order; subdirectories are not looked at.

    A file is read to one byte past the limit. Raises ``database.migrations_unreadable`` and
    ``database.migration_invalid``.
    """
    try:
        paths = [p for p in directory.iterdir() if p.suffix == ".sql" and not p.name.startswith(".")]
        return parse_all([(p.name, _head(p)) for p in paths])
    except OSError as e:
        where = e.filename or directory
        raise UNREADABLE.error(
            f"cannot read the migrations in {directory}: {where}: {e.strerror}",
            hint="[database.NAME] migrations names a directory of the release",
        ) from e


def _head(path: Path) -> bytes:
    with path.open("rb") as f:
        return f.read(LIMIT + 1)
