"""What is seen before a recovery begins, and what ``homeport up`` says where one was cut off."""

from pathlib import Path
from typing import Any

import pytest

from homeport.kernel.errors import HomeportError
from homeport.main import lifecycle, settings
from homeport.main.recovering import check_first


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def place(path: Path) -> dict[str, str]:
    return {"path": str(path), "endpoint": "", "bucket": "", "prefix": "", "region": "", "ca": ""}


def test_a_directory_without_a_repository_is_refused(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    for _ in range(2):
        with refused("backup.no_repository"):
            check_first(data, place(backups))
        backups.mkdir(exist_ok=True)
    (backups / "files").mkdir()
    (backups / "files" / "config").touch()
    check_first(data, place(backups))


def test_where_homeport_runs_it_is_to_be_ended_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config").touch()
    monkeypatch.setattr(lifecycle, "supervisor_pid", lambda _: 7)
    with refused("backup.directory_not_empty") as caught:
        check_first(tmp_path / "data", place(tmp_path))
    assert "homeport down first" in caught.value.hint
    assert "homeport restore --cluster NAME --plan" in caught.value.hint


@pytest.mark.parametrize("left", [".recovering", "recovering.json"])
def test_a_recovery_that_was_cut_off_is_to_be_called_again(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    with refused("main.recovery_unfinished") as caught:
        settings.claim(tmp_path)
    assert caught.value.hint.startswith("homeport recover again")
