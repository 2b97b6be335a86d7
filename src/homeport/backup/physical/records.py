"""Manifests and proofs of backups, as files beside the cluster's other ones. No row's content is in them."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from homeport.backup import checked
from homeport.backup.physical.manifest import Manifest
from homeport.backup.physical.plan import Served
from homeport.backup.physical.proof import Proof
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.system import files

SERVED = "served"
"""The file that says which timeline served when; no repository's files are named so."""


class Records:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, repository: str, label: str, kind: str) -> Path:
        return self._directory / f"{repository}.{label}.{kind}.json"

    def _read(self, repository: str, label: str, kind: str) -> Any:
        """None for what is not there or is not what was written: it is made anew with the next backup or proof."""
        with suppress(HomeportError, TypeError, ValueError):
            return checked.document(files.read_json(self._path(repository, label, kind)))
        return None

    def keep_manifest(self, repository: str, label: str, manifest: Manifest) -> None:
        files.write_atomic(
            self._path(repository, label, "manifest"), checked.text(manifest.document()), mode=0o600
        )

    def manifest(self, repository: str, label: str) -> Manifest | None:
        found = self._read(repository, label, "manifest")
        with suppress(KeyError, TypeError, ValueError):
            return Manifest.of(found) if found is not None else None
        return None

    def damaged_manifest(self, repository: str, label: str) -> Path | None:
        """The file of one that is there and is no manifest any more."""
        path = self._path(repository, label, "manifest")
        return path if path.exists() and self.manifest(repository, label) is None else None

    def keep_proof(self, proof: Proof) -> None:
        files.write_atomic(
            self._path(proof.repository, proof.label, "proof"), checked.text(proof.document()), mode=0o600
        )

    def proof(self, repository: str, label: str) -> Proof | None:
        """The last one."""
        found = self._read(repository, label, "proof")
        with suppress(KeyError, TypeError, ValueError):
            return Proof.of(found) if found is not None else None
        return None

    def keep_served(self, served: Sequence[Served]) -> None:
        """Oldest first."""
        document = [asdict(s) | {"since": text_time(s.since)} for s in served]
        files.write_atomic(self._directory / SERVED, json.dumps(document), mode=0o600)

    def served(self) -> tuple[Served, ...]:
        """Returns to earlier moments, oldest first."""
        with suppress(HomeportError, KeyError, TypeError, ValueError):
            found = files.read_json(self._directory / SERVED) or ()
            return tuple(Served(**(one | {"since": parse_time(one["since"])})) for one in found)
        return ()

    def forget_all_but(self, repository: str, labels: Iterable[str]) -> None:
        """Those of backups that are no more."""
        kept = {self._path(repository, label, kind) for label in labels for kind in ("manifest", "proof")}
        for path in self._directory.glob(f"{repository}.*.json"):
            if path not in kept:
                path.unlink(missing_ok=True)
