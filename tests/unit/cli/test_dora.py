"""The measures as people see them."""

import click
import pytest

from homeport.cli import dora

SPREAD = {"count": 0, "median": None, "p90": None}
FOUND = {
    "app": "shop",
    "environment": "production",
    "since": "2026-10-22T09:00:00.000000Z",
    "until": "2026-11-21T09:00:00.000000Z",
    "deployments": 0,
    "per_day": None,
    "lead_time": SPREAD,
    "exposed": 0,
    "taken_back": 0,
    "rolled_back": 0,
    "failure_rate": None,
    "restore": SPREAD,
    "unrestored": 0,
    "kept_back": 0,
    "cancelled": 0,
    "stages": [],
    "definition": "https://dora.dev/",
}


def shown(capsys, **more):
    dora._show(FOUND | more)
    return click.unstyle(capsys.readouterr().out).splitlines()


def test_too_little_data_is_no_zero(capsys):
    lines = shown(capsys)
    assert lines[0] == "shop production, 2026-10-22 09:00 to 2026-11-21 09:00 UTC"
    table = [line.split("  ") for line in lines[3:7]]
    assert [[x.strip() for x in row if x.strip()][1] for row in table] == ["—"] * 4


def test_figures_and_stages(capsys):
    stage = {"kind": "check", "name": "check", "environment": None, "passed": 9, "failed": 1}
    lines = shown(
        capsys,
        per_day=0.5,
        deployments=15,
        lead_time={"count": 12, "median": 1800.0, "p90": 7200.0},
        exposed=16,
        taken_back=1,
        rolled_back=1,
        failure_rate=0.125,
        restore={"count": 2, "median": 42.0, "p90": None},
        kept_back=3,
        stages=[stage | {"seconds": {"count": 10, "median": 20.5, "p90": 31.0}}],
    )
    text = "\n".join(" ".join(line.split()) for line in lines)
    for line in (
        "deployment frequency 3.5 a week 15 deployments",
        "lead time for changes 30 m 2 h 12 commits",
        "change failure rate 12.5 % 2 of 16 failed",
        "time to restore 42.0 s — 2 failures",
        "1 taken back under requests, 1 rolled back after promotion, 3 failed before any request, not counted",
        "check 20.5 s 31.0 s 9 1",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("per_day", "said"),
    [
        (None, "—"),
        (2.0, "2 a day"),
        (1.0, "1 a day"),
        (0.5, "3.5 a week"),
        (0.1, "3 in 30 d"),
        (0.0, "0 in 30 d"),
    ],
)
def test_frequency_is_told_in_a_fitting_unit(per_day, said):
    assert dora._frequency(per_day) == said
