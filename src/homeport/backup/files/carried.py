"""Proofs and manifests of backups, which travel with the backups that they are of: one text in each repository.

A machine that is brought back knows by them what was proven when, and what older backups have to hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from homeport.backup.files import commands, proving
from homeport.backup.files.errors import BROKEN, RUN_FAILED
from homeport.backup.files.restic import Restic
from homeport.backup.files.service import FileBackups
from homeport.kernel.errors import HomeportError
from homeport.system import files

FORMAT = 1
_PATTERNS = ("backups/files/proofs/*.json", "backups/*/records/*")
_PATH = re.compile(r"backups/(files/proofs|[a-z0-9][a-z0-9-]*/records)/[A-Za-z0-9][A-Za-z0-9_.-]*")


def collect(data: Path) -> str:
    """All that is known of backups in a data directory, of every repository."""
    found: dict[str, str] = {}
    for pattern in _PATTERNS:
        for path in sorted(data.glob(pattern)):
            name = str(path.relative_to(data))
            if _PATH.fullmatch(name) and path.is_file():
                try:
                    found[name] = path.read_text("utf-8")
                except FileNotFoundError:
                    continue  # its backup was removed just now
    return json.dumps({"format": FORMAT, "files": found}, separators=(",", ":"))


def place(text: str, data: Path) -> int:
    """Where they belong below ``data``; returns how many. Raises ValueError for what is no such text."""
    said = json.loads(text)
    if not isinstance(said, dict) or said.get("format") != FORMAT or not isinstance(said.get("files"), dict):
        raise ValueError("not the records of backups, or those of a newer Homeport")
    for name, content in said["files"].items():
        if not _PATH.fullmatch(name) or not isinstance(content, str):
            raise ValueError(f"{name[:100]!r} is no record of a backup")
    for name, content in said["files"].items():
        path = data / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_atomic(path, content, mode=0o600)
    return len(said["files"])


def keep(backups: FileBackups, repositories: Iterable[str]) -> int:
    """What is known now into every repository; how many records. Raises as :meth:`FileBackups.backup`."""
    names = tuple(repositories)
    failed: dict[str, HomeportError] = {}
    with backups.alone("keep records of backups"):
        text = collect(backups.layout.data)
        for name in names:
            try:
                backups.restic(name).put(
                    commands.keep_records(), text, "keep records of backups in repository"
                )
            except HomeportError as e:
                failed[name] = e
    if failed and len(names) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise RUN_FAILED.error(
            f"cannot keep records of backups: they are not in {', '.join(failed)}",
            hint="; ".join(dict.fromkeys(e.hint for e in failed.values() if e.hint)),
            details=[proving.told(e) for e in failed.values()],
        )
    return len(json.loads(text)["files"])


def bring_back(restic: Restic, data: Path, told: Callable[[str], None]) -> int:
    """The newest that can be read, into ``data``; how many records. 0 where there are none.

    ``told`` hears of newer ones that cannot be read. Raises what says that the repository cannot be reached.
    """
    doing = "read records of backups in repository"
    for id in reversed(restic.records()):
        try:
            return place(restic.read(commands.records(id), doing), data)
        except ValueError as e:
            told(f"records of backups: {e}")
        except HomeportError as e:
            if e.type is not BROKEN:
                raise
            told(f"records of backups: {proving.told(e)}")
    return 0
