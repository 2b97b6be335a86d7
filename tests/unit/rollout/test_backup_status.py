"""Which failed backups stand in the way of no return, and how it is told."""

from datetime import UTC, datetime

import pytest

from homeport.backup.judgement import only_tidying_failed
from homeport.backup.model import FAILED, MAKING, PASSED, Run, Step
from homeport.cli import backup_view

AT = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)
WORKS = ("cluster", "files", "prove", "prove-files", "records", "locks", "prune")


@pytest.mark.parametrize(
    ("failed", "only"),
    [
        ((), False),
        (("prune",), True),
        (("prune", "locks"), True),
        (("prune", "prove"), False),
        (("cluster",), False),
    ],
)
def test_where_only_tidying_failed_all_can_be_brought_back(failed: tuple[str, ...], only: bool) -> None:
    steps = tuple(Step(w, w, state=FAILED if w in failed else PASSED) for w in WORKS)
    run = Run("b-0123456789", "backup", "all", MAKING, {}, "me", FAILED, steps, "", AT, AT)
    assert only_tidying_failed(run) is only


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
