"""What a backup of files holds: a digest of each file, the rows of each table. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from homeport.journal.store import parse_time, text_time

FORMAT = 1
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class File:
    bytes: int
    sha256: str
    moving: bool = False
    """It changed, or went, while it was backed up: its content is not compared."""


@dataclass(frozen=True, slots=True)
class Database:
    """A SQLite file. It is backed up as a copy of one moment."""

    copy: str
    """Where the copy lies in the snapshot."""
    mode: int
    uid: int
    gid: int
    tables: Mapping[str, int]
    """Rows by table."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Paths are relative to the data directory, in the spelling of :func:`os.fsdecode`."""

    series: str
    at: datetime
    data_dir: str
    """Where it was: what is in releases may hold paths."""
    files: Mapping[str, File]
    """Regular files, copies of databases included, where they lie in the snapshot."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links and what they say."""
    databases: Mapping[str, Database] = field(default_factory=dict)
    """By the path where the database belongs."""
    tables: Mapping[str, int] = field(default_factory=dict)
    """Of a dump: rows by table."""
    sealed: Mapping[str, str] = field(default_factory=dict)
    """Files that are sealed: where they lie, by where they belong once they are opened."""

    @property
    def bytes(self) -> int:
        return sum(f.bytes for f in self.files.values())

    @property
    def rows(self) -> int:
        return sum(self.tables.values()) + sum(sum(d.tables.values()) for d in self.databases.values())

    def text(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "series": self.series,
                "at": text_time(self.at),
                "data_dir": self.data_dir,
                "files": {
                    p: [f.bytes, f.sha256, *([1] if f.moving else [])] for p, f in sorted(self.files.items())
                },
                "links": dict(sorted(self.links.items())),
                "databases": {
                    p: {"copy": d.copy, "mode": d.mode, "uid": d.uid, "gid": d.gid, "tables": dict(d.tables)}
                    for p, d in sorted(self.databases.items())
                },
                "tables": dict(self.tables),
                "sealed": dict(self.sealed),
            },
            separators=(",", ":"),
        )

    @staticmethod
    def of(text: str) -> Manifest:
        """Raises ValueError for what is none, or one of a newer Homeport."""
        try:
            said: Any = json.loads(text)
            if said["format"] != FORMAT:
                raise ValueError(f"a manifest of format {said['format']}")
            return Manifest(
                said["series"],
                parse_time(said["at"]),
                said["data_dir"],
                {p: File(int(v[0]), str(v[1]), len(v) > 2) for p, v in said["files"].items()},
                said["links"],
                {
                    p: Database(d["copy"], int(d["mode"]), int(d["uid"]), int(d["gid"]), d["tables"])
                    for p, d in said["databases"].items()
                },
                said["tables"],
                said["sealed"],
            )
        except (KeyError, TypeError, IndexError, AttributeError) as e:
            raise ValueError(f"no manifest: {e!r}") from e


def compare(manifest: Manifest, files: Mapping[str, File], links: Mapping[str, str]) -> tuple[str, ...]:
    """What of a restored tree differs, at most :data:`MOST_TOLD` lines and how many more.

    Files that the manifest does not know came while the backup was made; they speak against nothing.
    """
    wrong = []
    for path, file in sorted(manifest.files.items()):
        found = files.get(path)
        if file.moving:
            continue
        if found is None:
            wrong.append(f"{path} is missing")
        elif found.bytes != file.bytes:
            wrong.append(f"{path} has {found.bytes:,} bytes instead of {file.bytes:,}")
        elif found.sha256 != file.sha256:
            wrong.append(f"{path} has another content")
    for path, target in sorted(manifest.links.items()):
        if links.get(path) != target:
            wrong.append(f"{path} is no link to {target}" if path in links else f"link {path} is missing")
    return few(wrong)


def compare_rows(what: str, wanted: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    wrong = []
    for table, rows in sorted(wanted.items()):
        if table not in found:
            wrong.append(f"{what}: table {table} is missing")
        elif found[table] != rows:
            wrong.append(f"{what}: table {table} has {found[table]:,} rows instead of {rows:,}")
    wrong += [f"{what}: table {table} was not there" for table in sorted(found.keys() - wanted.keys())]
    return few(wrong)


def few(lines: list[str]) -> tuple[str, ...]:
    if len(lines) <= MOST_TOLD:
        return tuple(lines)
    return (*lines[:MOST_TOLD], f"and {len(lines) - MOST_TOLD:,} more")
