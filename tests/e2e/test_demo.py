"""The README's first command."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_deploys_survives_a_broken_release_and_rolls_back_without_a_failed_request():
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
    assert found["requests_failed"] == 0, found["failures"]
    assert found["orders_lost"] == found["orders_doubled"] == 0
    assert [d["verdict"] for d in found["deploys"]] == ["promoted"] * 3 + ["rolled back", "promoted"]
    assert [d["serving"] for d in found["deploys"]] == ["r1", "r1", "r2", "r2", "r1"]
    assert "Traceback" not in done.stderr.replace("│ Traceback", "")
