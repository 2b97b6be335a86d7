"""The README's first command."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_ships_by_command_and_by_push_and_only_the_bad_canary_fails_requests():
    work = tempfile.mkdtemp(prefix="hp", dir="/tmp")
    try:
        done = subprocess.run(
            [ROOT / "script" / "demo", "--once", "--json", "--data-dir", f"{work}/d"],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout)
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
    assert found["ok"]
    assert "Traceback" not in done.stderr.replace("│ Traceback", "")
