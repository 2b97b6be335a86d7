"""What the receiver ends with while somebody copies it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.backup.drills import ground as grounds
from homeport.backup.drills.ground import Ground
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.wal import Archive, segment
from homeport.system.clock import RealClock

NAME = "00000001000000000000000A"
GONE = "00000001000000000000000B"


@pytest.fixture
def received(tmp_path: Path) -> Path:
    """It was listed as partial; now it is whole."""
    directory = tmp_path / "received"
    directory.mkdir()
    (directory / NAME).write_bytes(b"the newest writes")
    return directory


def test_it_is_given_to_a_copy_all_the_same(received: Path, tmp_path: Path) -> None:
    program: Any = None
    copy = Copy(program, tmp_path, 15, RealClock(), throwaway=True)
    (copy.files / "pg_wal").mkdir(parents=True)
    copy.add_log({segment(name): received / f"{name}.partial" for name in (NAME, GONE)})
    (found,) = (copy.files / "pg_wal").iterdir()
    assert (found.name, found.read_bytes()) == (NAME, b"the newest writes")


def test_it_is_kept_for_a_drill_all_the_same(
    received: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    names = (f"{NAME}.partial", f"{GONE}.partial")
    monkeypatch.setattr(grounds, "received_files", lambda _: names)
    physical = SimpleNamespace(layout=SimpleNamespace(received=received))
    box: Any = SimpleNamespace(data_dir=tmp_path, physical=lambda _: physical)
    ground: Any = Ground(box, "main")
    ground.program = lambda: SimpleNamespace(
        layout=SimpleNamespace(received=kept),
        settings=SimpleNamespace(repositories=[SimpleNamespace(name="r1")]),
        archive=lambda _: Archive("15-1", frozenset()),
    )
    assert ground.keep_received() == 1
    (found,) = kept.iterdir()
    assert found.read_bytes() == b"the newest writes"
