"""Pending migrations before squawk, the linter of PostgreSQL migrations."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from homeport.database.migrations.errors import LINT_FAILED
from homeport.database.migrations.model import Migration
from homeport.database.migrations.rules import LEFT_OUT, OPT_IN, Finding, judge
from homeport.system.process import run

SECONDS = 30.0


def beside_python() -> Path:
    """squawk, as the package squawk-cli installs it beside this interpreter."""
    return Path(sys.executable).parent / "squawk"


def lint(migrations: Sequence[Migration], *, program: Path, server: str = "15") -> tuple[Finding, ...]:
    """What is dangerous in the up sections, file by file; down sections run when things are bad already.

    ``server`` is PostgreSQL's version, such as "15.6". Raises ``database.migration_lint_failed``.
    """
    return tuple(f for m in migrations for f in judge(m, _found(m, program, server)))


def _found(migration: Migration, program: Path, server: str) -> list[tuple[str, int, str, str]]:
    # squawk's own comments would silence a rule without a reason; the text keeps its length.
    text = "\n" * (migration.up.line - 1) + migration.up.text.replace("squawk-ignore", "squawk_ignore")
    argv = [
        str(program), "--reporter", "json", "--pg-version", server, "--stdin-filepath", migration.filename,
        *(f"--exclude={rule}" for rule in LEFT_OUT), *(f"--include={rule}" for rule in OPT_IN),
    ]  # fmt: skip
    if migration.up.lone is None:
        argv.append("--assume-in-transaction")
    result = run(argv, timeout=SECONDS, cwd=Path("/"), stdin=text.encode(), check=False)
    try:
        found = json.loads(result.stdout)
        return [
            (f["rule_name"], f["line"] + 1, f["message"], f["help"] or "")
            for f in found
            # PostgreSQL's own parser has the last word on syntax.
            if f["rule_name"] != "syntax-error"
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise LINT_FAILED.error(
            f"cannot lint {migration.filename}: squawk ended with status {result.returncode}",
            details=result.stderr.strip().splitlines()[-5:],
        ) from e
