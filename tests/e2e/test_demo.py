"""The README's first command."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ports import directory

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1200
"""Seconds; it takes about 140 on two cores that do nothing else."""


def run(*options: str) -> tuple[int, str, str]:
    """What the demo ends with: (status, output, what it told meanwhile). One that hangs is asked to end, which
    takes down what it started."""
    argv = [ROOT / "script" / "demo", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            out, told = child.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            child.terminate()
            out, told = child.communicate()
    return child.returncode, out, told


@pytest.mark.timeout(LIMIT + 60)
def test_the_demo_ships_by_command_and_by_push_only_the_bad_canary_fails_requests_and_a_table_comes_back():
    work = directory(below="d")
    work.chmod(0o755)  # where tests run as root, PostgreSQL runs as another user
    try:
        status, out, told = run("--once", "--json", "--data-dir", f"{work}/d")
        assert status == 0, told[-3000:]
        found = json.loads(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    assert found["requests_sent"] > 1000
    assert found["failed_otherwise"] == 0, found["failures"]
    assert found["requests_failed"] == found["failed_by_bad_canary"]
    assert found["orders_lost"] == found["orders_doubled"] == 0
    assert [d["verdict"] for d in found["deploys"]] == ["promoted"] * 3 + ["rolled back", "promoted"]
    assert [d["serving"] for d in found["deploys"]] == ["r1", "r1", "r2", "r2", "r1"]
    bad, good = found["pushes"]
    assert (bad["state"], bad["release"], bad["serving"]) == ("failed", "r4", "r1")
    assert "deploy production" in bad["reason"] and "requests failed" in bad["reason"]
    assert bad["failed"] == bad["failed_by_canary"] > 0
    assert (good["state"], good["release"], good["serving"], good["failed"]) == ("passed", "r5", "r5", 0)
    assert list(good["stages"]) == [
        "check", "build", "deploy staging", "smoke staging", "deploy production", "verify production"
    ]  # fmt: skip
    assert [(m["release"], m["contract"], m["state"]) for m in found["migrations"]] == [
        ("r1", False, "applied"), ("r1", False, "applied"), ("r1", False, "applied"),
        ("r5", False, "applied"), ("r5", False, "applied"), ("r5", True, "applied"),
    ]  # fmt: skip
    back = found["recovery"]
    assert (back["orders_lost"], back["failed"]) == (0, 0), back["causes"]
    assert back["orders_back"] == back["orders_before"] > 0 and back["orders_after"] > 0
    assert back["rows"] >= back["orders_back"] and back["kept"].startswith("shop_production_before_")
    assert back["refused_without_table"] > 0 and back["refused_read_only"] > 0
    assert back["read_only_seconds"] > 0
    assert any(p["what"].startswith("cluster main") and p["rows"] for p in back["proven"])
    assert (found["ok"], found["stopped"]) == (True, "")
    assert "Traceback" not in told.replace("│ Traceback", "")
