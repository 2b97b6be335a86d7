"""Restores as people read them: what a plan says, and what a run of the past was asked for."""

from typing import Any

import pytest

from homeport.cli import backup_view, restore_view

AT = "2026-11-21T16:30:00+00:00"
LOSS = {"table": "public.hens", "now": 200, "then": 150, "lost": 50, "back": 0, "changed": 0, "why": ""}
COPY = {
    "repository": "r", "label": "20261121-030000F", "last_commit_at": "2026-11-21T16:26:48+00:00",
    "heartbeat_at": None, "passed_over": [],
}  # fmt: skip


def step(name: str, result: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "passed", "started_at": AT, "finished_at": AT, "seconds": 1.0, "progress": {},
        "result": result, "error": None,
    }  # fmt: skip


def run(request: dict[str, Any], *results: Any) -> dict[str, Any]:
    steps = [step(f"step {n}", result) for n, result in enumerate(results)]
    return {
        "id": "b-0123456789", "kind": "restore", "subject": "shop production", "state": "passed", "reason": "",
        "actor": "me", "cancel": "", "started_at": AT, "finished_at": "2026-11-21T16:30:20+00:00",
        "request": {"app": "shop", "environment": "production", "database": "main", **request}, "steps": steps,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "ago"),
    [({"kind": "newest"}, "(3 m 12 s)"), ({"kind": "time", "at": "2026-11-21T16:29:00+00:00"}, "(1 m)")],
)
def test_a_plan_tells_the_time_between_and_that_nothing_was_changed(
    capsys: pytest.CaptureFixture[str], target: dict[str, Any], ago: str
) -> None:
    found = run({"target": target, "plan": True}, COPY, {"losses": [LOSS], "tables": 2, "migrations": []})
    restore_view.ended(found)
    said = capsys.readouterr().out
    assert "everything written since " in said and f"{ago} would be gone" in said
    assert "nothing was changed" in said.splitlines()[-1] and "passed after" not in said
    found["steps"][1]["result"]["losses"] = []
    restore_view.ended(found)
    assert "would be gone" not in (quiet := capsys.readouterr().out) and "would go back to" in quiet


def test_a_table_that_was_not_counted_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    loss = LOSS | {"lost": None, "back": None, "changed": None, "why": "it has no primary key"}
    restore_view.ended(run({"plan": True}, COPY, {"losses": [loss], "tables": 2, "migrations": []}))
    said = capsys.readouterr()
    assert "not counted" in said.out
    assert "rows of public.hens were not counted one by one: it has no primary key" in said.out + said.err


def test_a_merge_tells_which_table_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    merged = [
        {"table": "public.hens", "inserted": 10, "updated": 0, "created": False, "left": "", "problems": []},
        {"table": "public.log", "inserted": 0, "updated": 0, "created": False, "left": "it has no primary key", "problems": []},
    ]  # fmt: skip
    restore_view.ended(run({"schema": "restored_x", "missing": True, "changed": False}, {"merged": merged}))
    said = capsys.readouterr()
    assert "public.hens got 10 row(s)" in said.out
    assert "public.log is as it was: it has no primary key" in said.out + said.err


def test_a_run_of_the_past_tells_what_was_asked_and_what_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    restore_view.shown(
        run(
            {"target": {"kind": "backup", "label": "20261121-030000F"}, "plan": False},
            COPY,
            {"kept": "shop_before"},
        )
    )
    said = capsys.readouterr().out
    assert "asked: database main, to the end of backup 20261121-030000F" in said
    assert "shop_before is what served before" in said and "homeport restore drop shop_before" in said
    restore_view.shown(
        run({"target": {"kind": "newest"}, "plan": True}, COPY, {"losses": [LOSS], "tables": 2})
    )
    said = capsys.readouterr().out
    assert "asked: database main, to the newest moment there was, only to see (--plan)" in said
    assert "public.hens" in said


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ({"plan": True, "target": {}}, "restore --plan"),
        ({"plan": False, "tables": ["hens"]}, "restore --table"),
        ({"schema": "restored_x"}, "restore merge"),
        ({"plan": False, "paths": ["a"]}, "restore --files"),
        ({"plan": False, "target": {}}, "restore"),
    ],
)
def test_a_list_of_runs_tells_which_restore_it_was(request_: dict[str, Any], what: str) -> None:
    assert backup_view.what(run(request_)) == what


def test_files_tell_where_the_former_ones_lie(capsys: pytest.CaptureFixture[str]) -> None:
    done = {
        "kept_files": "b-0123456789", "kept_in": ["/d/backups/replaced/b-0123456789/storage/shop/production"],
        "files": 3, "bytes": 30, "at": AT, "moving": 0, "snapshot": "0123456789ab", "repository": "r",
    }  # fmt: skip
    restore_view.ended(run({"paths": ["storage/shop/production"], "plan": False}, done))
    assert "the former files are in /d/backups/replaced/" in capsys.readouterr().out


def test_a_plan_of_files_names_those_that_would_change(capsys: pytest.CaptureFixture[str]) -> None:
    looked = {
        "goes": {"files": 1, "names": ["storage/shop/production/new"]}, "comes": {"files": 0, "names": []},
        "changes": {"files": 50, "names": [f"f{n}" for n in range(50)]}, "databases": ["storage/shop/production/x.db"],
        "files": 51, "at": AT, "from": "0123456789abcdef", "repository": "r",
    }  # fmt: skip
    restore_view.ended(run({"paths": ["storage/shop/production"], "plan": True}, {"looked_at": looked}))
    said = capsys.readouterr().out
    assert "1 file would go, and be kept beside:\n    storage/shop/production/new\n" in said
    assert "50 files would be as they were then:" in said and "and 10 more" in said
    assert "x.db is a SQLite file" in said and "nothing was changed" in said.splitlines()[-1]
