"""A new ``state.db`` in a moment: migrated once in each process, and copied after that."""

import shutil
import tempfile
from pathlib import Path

from sqlalchemy.engine import Engine

from homeport.journal.store import open_engine

_made: list[bytes] = []


def fresh(path: Path) -> Engine:
    """As ``open_engine`` of a file that is not there yet."""
    assert not path.exists()
    if not _made:
        directory = Path(tempfile.mkdtemp(prefix="hp"))
        try:
            # Closing the last connection brings all of it into the one file.
            open_engine(directory / "state.db").dispose()
            _made.append((directory / "state.db").read_bytes())
        finally:
            shutil.rmtree(directory)
    path.write_bytes(_made[0])
    return open_engine(path)
