"""Backups, runs, drills and what restores kept, as people read them."""

from datetime import timedelta
from typing import get_args

import pytest
from cli_rig import NOW

from homeport.api.wire_backups import RunKind
from homeport.cli import backup_view, drill, restore_view
from homeport.cli.backup import KINDS

PROOF = {"failures": [], "files": 3, "bytes": 150_000, "tables": 0, "rows": 0, "series": "shop.production"}


def step(result):
    return {"name": "prove", "state": "passed", "started_at": NOW.isoformat(), "seconds": 1.0, "result": result, "error": None}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "3 files, 150 KB, SHA-256 as they were"),
        ({"tables": 2, "rows": 7}, "3 files, 150 KB, SHA-256; 2 tables, 7 rows as they were"),
        ({"series": "shop.production.main", "tables": 2, "rows": 7}, "2 tables, 7 rows as they were"),
        ({"files": 0}, "0 tables, 0 rows as they were"),
    ],
)
def test_a_proof_says_what_it_compared(capsys, more, said):
    backup_view._step(step(PROOF | more))
    assert capsys.readouterr().out.rstrip().endswith("  " + said)


RUN = {
    "id": "b-0123456789", "kind": "drill", "subject": "table-dropped", "state": "failed", "actor": "ada",
    "reason": "report: cannot call table-dropped passed", "steps": [], "cancel": "", "request": {},
    "started_at": NOW.isoformat(), "finished_at": (NOW + timedelta(seconds=61)).isoformat(),
}  # fmt: skip
MISSED = {
    "code": "drill.targets_missed", "hint": "", "details": [],
    "sentence": "cannot call table-dropped passed: its steps did, and it missed its target: back after 14.9 s, 1.0 s wanted",
}  # fmt: skip


def test_a_drill_that_missed_its_target_is_told_so(capsys):
    backup_view.ended(RUN | {"steps": [step({}) | {"state": "failed", "error": MISSED}]})
    assert capsys.readouterr().err.splitlines() == [
        "error: drill table-dropped passed its steps and missed its target: back after 14.9 s, 1.0 s wanted",
        "hint: homeport drill show b-0123456789",
    ]


def test_a_run_that_failed_names_the_command_that_says_more(capsys):
    backup_view.ended(RUN)
    assert "hint: homeport drill show b-0123456789" in capsys.readouterr().err
    backup_view.ended(RUN | {"kind": "restore"})
    assert "hint: homeport backup show b-0123456789" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("backup", "show"), "homeport backup runs"),
        (("backup", "cancel"), "homeport backup runs"),
        (("drill", "show"), "homeport drill history"),
    ],
)
def test_what_can_be_no_run_is_not_found(cli, command, hint):
    said = cli.run(*command, "../x y", status=4).output
    assert "error: cannot find run '../x y'" in said and hint in said
    assert cli.client.sent == []


LONG = "prove shop.production in offsite: cannot restore shop.production: restic ended with status 1, and no word"
PASSED_AT = {"at": NOW.isoformat(), "passed": True, "seconds": 1.0, "failures": []}


def test_without_runs_it_says_so(cli):
    cli.client.answers["/v1/backups/runs"] = []
    assert cli.run("backup", "runs").output == "no runs yet\n"


RUNS = [RUN | {"subject": "all", "kind": "backup", "reason": LONG}, RUN | {"subject": "shop.production.main"}]
BACKUPS = {
    "clusters": [
        {"cluster": "main", "repository": "offsite", "label": "20261121-030000F_20261121-040000I", "kind": "incr",
         "stopped_at": NOW.isoformat(), "bytes": 10**8, "stored_bytes": 10**7, "proof": PASSED_AT}
    ],
    "files": [
        {"series": "shop.production", "repository": "offsite", "snapshot": "a" * 64, "finished": True,
         "at": NOW.isoformat(), "bytes": 150_000, "proof": None}
    ],
    "problems": [],
}  # fmt: skip
KEPT = {
    "kept": [
        {"name": "shop_production_before_20261121t163000", "kind": "database", "cluster": "main", "database": "main",
         "app": "shop", "environment": "production", "run": "b-0123456789", "at": NOW.isoformat(), "bytes": 10**8},
        {"name": "before-b-0123456789", "kind": "cluster", "cluster": "main", "database": "all",
         "app": "", "environment": "", "run": "b-0123456789", "at": None, "bytes": 10**8},
    ],
    "problems": [],
}  # fmt: skip
DRILLED = {
    "run": "b-0123456789", "scenario": "repository-unreachable", "passed": False, "at": NOW.isoformat(), "rpo": 1.5,
    "rto": 14.9, "actor": "homeport", "wrong": ["back after 14.9 s, 1.0 s wanted, and more words than fit a line"],
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, None])
def test_tables_fit_and_keep_names_and_reasons_whole(terminal, capsys, width):
    terminal(width)
    for show, has in (
        (lambda: backup_view.runs(RUNS, NOW), ("b-0123456789", "failed", LONG)),
        (
            lambda: backup_view.backups(BACKUPS, NOW),
            ("20261121-030000F_20261121-040000I", "proven", "a" * 10),
        ),
        (lambda: restore_view.kept(KEPT), ("shop_production_before_20261121t163000", "2026-11-21", "shop")),
        (lambda: drill._history([DRILLED], NOW), ("repository-unreachable", "failed", DRILLED["wrong"][0])),
    ):
        show()
        out = capsys.readouterr().out
        assert width is None or max(map(len, out.splitlines())) <= width
        assert all(word in " ".join(out.split()) for word in has)


def test_the_size_of_files_is_told_where_it_is_known(capsys):
    backup_view.backups(BACKUPS, NOW)
    assert "150 KB" in capsys.readouterr().out


def day(day, **more):
    none = dict.fromkeys(("rpo", "proof_age", "restore", "drill_rpo", "rto"))
    return (
        {"day": day} | none | dict.fromkeys(("proofs", "proofs_failed", "drills", "drills_failed"), 0) | more
    )


def test_days_before_the_first_are_left_out_and_those_between_are_not(capsys):
    days = [day("2026-11-21", rpo=1.0), day("2026-11-20"), day("2026-11-19", proofs=1), day("2026-11-18")]
    backup_view.history([{"cluster": "main", "days": days}])
    out = capsys.readouterr().out
    assert "2026-11-20" in out and "2026-11-19" in out and "2026-11-18" not in out
    backup_view.history([{"cluster": "main", "days": days[3:]}])
    assert "2026-11-18" in capsys.readouterr().out


def test_runs_can_be_asked_for_by_every_kind_that_the_api_has():
    assert get_args(RunKind) == KINDS


def test_files_of_a_backup_are_told_with_how_many_there_are(capsys):
    files = [
        {"path": "uploads/a\x1b.png", "kind": "file", "bytes": 1500},
        {"path": "uploads/here", "kind": "link", "bytes": 0},
        {"path": "data/shop.db", "kind": "sqlite", "bytes": 8192},
    ]
    found = {
        "repository": "local",
        "snapshot": "feedfacefeedface",
        "at": (NOW - timedelta(hours=2)).isoformat(),
    }
    backup_view.files(found | {"files": files, "found": 3, "bytes": 9692, "of": 3}, NOW)
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "    1.5 KB  uploads/a�.png",
        "      link  uploads/here",
        "   8.19 KB  data/shop.db  (SQLite)",
    ]
    assert told.err.startswith("note: 3 files, 9.69 KB, in backup feedfacefe of 2 h ago (")
    backup_view.files(found | {"files": files, "found": 20_000, "bytes": 9692, "of": 30_000}, NOW)
    told = capsys.readouterr()
    assert "note: and 19997 more: name a part of the path" in told.err
    assert "note: 20000 of 30000 files" in told.err
