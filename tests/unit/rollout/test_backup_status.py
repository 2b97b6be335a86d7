"""How it is told whether everything could be brought back."""

from datetime import UTC, datetime

import pytest

from homeport.cli import backup_view

AT = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ok", "recoverable", "says"),
    [
        (True, True, "✓ everything could be brought back\n"),
        (False, True, "✗ everything could be brought back, but:\n"),
        (False, False, "✗ not everything could be brought back\n"),
    ],
)
def test_the_status_tells_the_two_apart(
    capsys: pytest.CaptureFixture[str], ok: bool, recoverable: bool, says: str
) -> None:
    found = {
        "ok": ok, "recoverable": recoverable, "repositories": [{"name": "r", "place": "/b", "lock": None}],
        "problems": [] if ok else ["the last backup failed: it"], "warnings": [], "last": None, "proven_at": None,
        "looks": [], "running": [], "files": [],
    }  # fmt: skip
    backup_view.status(found, AT)
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backed_up", "says"),
    [
        (True, "the last 3.0 s of cluster main, with the machine; at most 1 m wanted"),
        (False, "all of cluster main, with the machine, until it has a backup"),
    ],
)
def test_of_a_cluster_without_a_backup_all_would_be_lost(
    capsys: pytest.CaptureFixture[str], backed_up: bool, says: str
) -> None:
    look = {"cluster": "main", "lost": 3, "rpo": 60.0, "backed_up": backed_up}
    found = {
        "ok": True, "recoverable": True, "repositories": [{"name": "r", "place": "/b", "lock": None}],
        "problems": [], "warnings": [], "last": None, "proven_at": None, "looks": [look], "running": [], "files": [],
    }  # fmt: skip
    backup_view.status(found, AT)
    assert says in capsys.readouterr().out
