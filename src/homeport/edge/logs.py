"""The access log, kept within bounds while HAProxy goes on writing to it."""

import os
import shutil
from pathlib import Path


def rotate(path: Path, max_bytes: int, keep: int) -> bool:
    """Copy a log past ``max_bytes`` to ``path.1`` (older ones move up, ``keep`` stay) and empty it.

    HAProxy holds the file open for appending and cannot be told to open another, hence copy and
    truncate: lines written in the microseconds between the last copy and the truncation are lost.
    Returns whether it was done. A missing log is no error.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size <= max_bytes:
        return False
    if keep < 1:
        os.truncate(path, 0)
        return True
    for n in range(keep - 1, 0, -1):
        older = _numbered(path, n)
        if older.exists():
            os.replace(older, _numbered(path, n + 1))
    part = path.with_name(f".{path.name}.part")
    with open(path, "r+b") as log, open(part, "wb") as copy:
        shutil.copyfileobj(log, copy, 1 << 20)
        while chunk := log.read(1 << 20):
            copy.write(chunk)
        log.truncate(0)
    os.replace(part, _numbered(path, 1))
    return True


def _numbered(path: Path, n: int) -> Path:
    return path.with_name(f"{path.name}.{n}")
