"""An environment's storage, as it was backed up, in the place of another one's. No mask reaches files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeport.backup.clone.errors import NOT_PROVEN_YET
from homeport.backup.files.model import Snapshot, environment_series
from homeport.backup.files.service import FileBackups
from homeport.kernel.errors import HomeportError
from homeport.system import files

STORAGE = "storage"


def bring(
    found: FileBackups, repositories: Sequence[str], app: str, source: str, target: str, *, replace: bool
) -> dict[str, Any]:
    """The newest proven backup of ``source``'s files; cut off anywhere, it is done again.

    What ``target`` had is kept, unless ``replace``. Raises ``backup.not_proven_yet``, and what a restore does.
    """
    repository, snapshot = _newest(found, repositories, app, source)
    # Nobody else brings files back meanwhile: what lies there was left by one who was killed.
    for left in found.layout.restored.glob(f"{snapshot.id[:12]}-*"):
        files.remove_tree(left, within=found.layout.data)
    there, here = f"{STORAGE}/{app}/{source}", f"{STORAGE}/{app}/{target}"
    restored = found.restore(repository, snapshot.id, (there,))
    try:
        (restored.tree / here).parent.mkdir(parents=True, exist_ok=True)
        os.rename(restored.tree / there, restored.tree / here)
        former = found.put_back(restored, here)
    finally:
        found.discard(restored)
    if former is not None and replace:
        files.remove_tree(_top(found, former), within=found.layout.data)
        former = None
    return {
        "files": restored.files,
        "bytes": restored.bytes,
        "snapshot": snapshot.id,
        "former": str(former) if former else None,
    }


def _newest(found: FileBackups, repositories: Sequence[str], app: str, source: str) -> tuple[str, Snapshot]:
    series = environment_series(app, source)
    proven: list[tuple[str, Snapshot]] = []
    problems: list[str] = []
    for repository in repositories:
        try:
            snapshots, _ = found.restic(repository).snapshots()
        except HomeportError as e:
            problems.append(e.sentence)
            continue
        proofs = found.records.proofs(repository)
        for snapshot in snapshots:
            proof = proofs.get(snapshot.id)
            if snapshot.series == series and proof is not None and proof.passed:
                proven.append((repository, snapshot))
    if not proven:
        raise NOT_PROVEN_YET.error(
            f"cannot clone the files of {source} of {app}: no backup of them was proven by a restore",
            hint="homeport backup run makes one and proves it; homeport backup list",
            details=problems,
        )
    return max(proven, key=lambda x: x[1].at)


def _top(found: FileBackups, former: Path) -> Path:
    """Below ``replaced``: all that this one put there."""
    return found.layout.replaced / former.relative_to(found.layout.replaced).parts[0]
