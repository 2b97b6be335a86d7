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
    found: FileBackups,
    repositories: Sequence[str],
    app: str,
    source: str,
    target: str,
    *,
    run: str,
    replace: bool,
) -> dict[str, Any]:
    """The newest proven backup of ``source``'s files; cut off anywhere, it is done again.

    What ``target`` had is kept, unless ``replace``. Raises ``backup.not_proven_yet``, and what a restore does.
    """
    repository, snapshot = _newest(found, repositories, app, source)
    there, here = f"{STORAGE}/{app}/{source}", f"{STORAGE}/{app}/{target}"
    tidy(found, run, app, source, target)
    restored = found.restore(repository, snapshot.id, (there,), name=run)
    _rename(restored.tree, there, here)
    kept = found.layout.replaced / run / here
    # Where it is there, this was done already, and nobody heard of it.
    former = kept if os.path.lexists(kept) else found.put_back(restored, here)
    # From here on it is not taken back.
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


def tidy(found: FileBackups, run: str, app: str, source: str, target: str) -> None:
    """What stood in the place of files that a call brought which was cut off stands there again."""
    tree = found.layout.restored / run
    here = f"{STORAGE}/{app}/{target}"
    if tree.is_dir():
        _rename(tree, f"{STORAGE}/{app}/{source}", here)
    found.take_back(run, (here,))


def _rename(tree: Path, there: str, here: str) -> None:
    """Within what was restored, from where the source has it to where the target does."""
    if os.path.lexists(tree / there):
        (tree / here).parent.mkdir(parents=True, exist_ok=True)
        os.rename(tree / there, tree / here)


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
