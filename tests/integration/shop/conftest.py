"""The shop as a release: a copy of it, built by its own build command."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory."""
    directory = tmp_path_factory.mktemp("shop") / "r1"
    left_out = shutil.ignore_patterns(".venv", "data", "__pycache__")
    shutil.copytree(ROOT / "examples" / "shop", directory, ignore=left_out)
    command = tomllib.loads((directory / "homeport.toml").read_text())["build"]["command"]
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME") or k.startswith(("PIP_", "SSL_"))}
    subprocess.run(["/bin/sh", "-c", command], cwd=directory, env=kept, check=True, timeout=90)
    return directory
