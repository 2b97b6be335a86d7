"""Proofs, digests of files and runs of restic, kept beside. What is lost of them is made anew."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from homeport.backup import checked
from homeport.backup.files.model import Layout, Run
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.system import files


@dataclass(frozen=True, slots=True)
class Proof:
    """A backup restored and looked at."""

    repository: str
    snapshot: str
    series: str
    at: datetime
    seconds: float
    failures: tuple[str, ...]
    """() when it is proven; each names what is wrong."""
    files: int = 0
    bytes: int = 0
    tables: int = 0
    rows: int = 0
    moving: int = 0
    """Files that changed while they were backed up, and were not compared."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds of each."""

    @property
    def passed(self) -> bool:
        return not self.failures

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"at": text_time(self.at)}

    @staticmethod
    def of(document: dict[str, Any]) -> Proof:
        """Raises KeyError, TypeError, ValueError for what is none."""
        values = dict(document)
        values["at"] = parse_time(values["at"])
        values["failures"] = tuple(values["failures"])
        return Proof(**values)


@dataclass(frozen=True, slots=True)
class Identity:
    """What changes when a file does."""

    device: int
    inode: int
    bytes: int
    modified: int
    """Nanoseconds; and :attr:`changed`, which no program sets."""
    changed: int


Known = dict[str, tuple[Identity, str]]
"""By path: what a file was, and its digest then."""


class Records:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def prepare(self) -> None:
        top = self._layout.directory
        top.parent.mkdir(mode=0o755, exist_ok=True)
        for directory in (top, self._layout.runs, self._layout.keys, self._layout.proofs, self._layout.known):
            directory.mkdir(mode=0o700, exist_ok=True)

    # Proofs

    def keep_proof(self, proof: Proof) -> None:
        path = self._proof(proof.repository, proof.snapshot)
        files.write_atomic(path, checked.text(proof.document()), mode=0o600)

    def proof(self, repository: str, snapshot: str) -> Proof | None:
        """The last one."""
        return _proof(_read(self._proof(repository, snapshot)))

    def proofs(self, repository: str) -> dict[str, Proof]:
        """By snapshot."""
        found = (_proof(_read(p)) for p in self._layout.proofs.glob(f"{repository}.*.json"))
        return {p.snapshot: p for p in found if p is not None}

    def forget_proof(self, repository: str, snapshot: str) -> None:
        self._proof(repository, snapshot).unlink(missing_ok=True)

    def _proof(self, repository: str, snapshot: str) -> Path:
        return self._layout.proofs / f"{repository}.{snapshot}.json"

    # Digests

    def known(self, series: str) -> Known:
        found: Known = {}
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            for path, (numbers, digest) in (_read(self._known(series)) or {}).items():
                found[path] = (Identity(*map(int, numbers)), str(digest))
        return found

    def keep_known(self, series: str, known: Known) -> None:
        document = {
            p: [[i.device, i.inode, i.bytes, i.modified, i.changed], d] for p, (i, d) in known.items()
        }
        files.write_atomic(self._known(series), json.dumps(document, separators=(",", ":")), mode=0o600)

    def _known(self, series: str) -> Path:
        return self._layout.known / f"{series}.json"

    # Runs

    def keep_run(self, run: Run) -> None:
        path = self._layout.runs / f"{run.began:%Y%m%dT%H%M%S%f}-{run.pid}.json"
        files.write_atomic(path, json.dumps({"pid": run.pid, "began": text_time(run.began)}), mode=0o600)

    def runs(self) -> tuple[Run, ...]:
        found = []
        for path in sorted(self._layout.runs.glob("*.json")):
            with suppress(KeyError, TypeError, ValueError):
                said = _read(path)
                found.append(Run(int(said["pid"]), parse_time(said["began"])))
        return tuple(found)

    def forget_runs(self, before: datetime) -> None:
        """Those that began before."""
        for path in self._layout.runs.glob("*.json"):
            if path.name < f"{before:%Y%m%dT%H%M%S%f}":
                path.unlink(missing_ok=True)


def _read(path: Path) -> Any:
    with suppress(HomeportError):
        return files.read_json(path)
    return None


def _proof(document: Any) -> Proof | None:
    with suppress(KeyError, TypeError, ValueError):
        return Proof.of(checked.document(document)) if document is not None else None
    return None
