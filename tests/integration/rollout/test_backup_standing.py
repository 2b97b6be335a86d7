"""How backups stand, told while one of them ends."""

import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup import runs
from homeport.backup.model import MAKING, PASSED, RUNNING, Run
from homeport.backup.port import Wanted
from homeport.guard.vault import Vault
from homeport.journal.store import Store
from homeport.rollout.backups.services import BackupServices

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RUN = Run("b-0123456789", "backup", "all", MAKING, {}, "homeport", RUNNING, (), "", NOW, None)


def test_a_run_that_ends_meanwhile_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Any = SimpleNamespace(now=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None)
    store = Store(fresh(tmp_path / "state.db"), clock)
    parts: Any = SimpleNamespace(
        data_dir=tmp_path,
        state=SimpleNamespace(store=store),
        vault=Vault(store, tmp_path / "secrets.key"),
        clock=clock,
    )
    services = BackupServices.of(parts, threading.Event())
    monkeypatch.setattr(services.backups, "wanted", Wanted)
    with store.transaction("homeport") as tx:
        runs.insert(tx, RUN)
    before = services.backups.runs.list

    def listed(**given: Any) -> tuple[Run, ...]:
        """It ends just after it was read."""
        found = before(**given)
        with store.transaction("homeport") as tx:
            runs.update(tx, replace(RUN, state=PASSED, finished_at=NOW))
        return found

    monkeypatch.setattr(services.backups.runs, "list", listed)
    status = services.status()
    assert RUN.id in {r.id for r in (*status.running, status.last) if r is not None}
