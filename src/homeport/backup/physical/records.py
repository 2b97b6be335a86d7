"""Manifests and proofs of backups, as files beside the cluster's other ones. No row's content is in them."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from homeport.backup.physical.manifest import Manifest
from homeport.backup.physical.proof import Proof
from homeport.kernel.errors import HomeportError
from homeport.system import files


class Records:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, repository: str, label: str, kind: str) -> Path:
        return self._directory / f"{repository}.{label}.{kind}.json"

    def _read(self, repository: str, label: str, kind: str) -> Any:
        """None for what is not there or cannot be read: it is made anew with the next backup or proof."""
        with suppress(HomeportError):
            return files.read_json(self._path(repository, label, kind))
        return None

    def keep_manifest(self, repository: str, label: str, manifest: Manifest) -> None:
        files.write_atomic(
            self._path(repository, label, "manifest"), json.dumps(manifest.document()), mode=0o600
        )

    def manifest(self, repository: str, label: str) -> Manifest | None:
        found = self._read(repository, label, "manifest")
        with suppress(KeyError, TypeError, ValueError):
            return Manifest.of(found) if found is not None else None
        return None

    def keep_proof(self, proof: Proof) -> None:
        files.write_atomic(
            self._path(proof.repository, proof.label, "proof"), json.dumps(proof.document()), mode=0o600
        )

    def proof(self, repository: str, label: str) -> Proof | None:
        """The last one."""
        found = self._read(repository, label, "proof")
        with suppress(KeyError, TypeError, ValueError):
            return Proof.of(found) if found is not None else None
        return None

    def forget_all_but(self, repository: str, labels: Iterable[str]) -> None:
        """Those of backups that are no more."""
        kept = {self._path(repository, label, kind) for label in labels for kind in ("manifest", "proof")}
        for path in self._directory.glob(f"{repository}.*.json"):
            if path not in kept:
                path.unlink(missing_ok=True)
