"""What a stage of a run said: its output, and of one that made a change the change's steps."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from homeport.cli import progress, screen

BEFORE_OUTPUT = ("change.started", "build.started", "build.reused")


def chosen(run: dict[str, Any], name: str | None) -> dict[str, Any] | None:
    """The stage meant, as the API chooses it: by its name or kind, else the one that began last."""
    begun = [s for s in run["stages"] if s["started_at"]]
    if name is None:
        return max(begun, key=lambda s: str(s["started_at"]), default=None)
    return next((s for key in ("name", "kind") for s in begun if s[key] == name), None)


def tell(text: str, stage: dict[str, Any] | None, records: Sequence[dict[str, Any]]) -> None:
    lines = text.splitlines()
    for record in records:
        if record["kind"] in BEFORE_OUTPUT:
            _step(record)
    checks = stage["found"].get("details", {}).get("checks", []) if stage is not None else []
    for line in failed_first(lines, checks):
        click.echo(screen.printable(line))
    for record in records:
        if record["kind"] not in BEFORE_OUTPUT:
            _step(record)


def _step(record: dict[str, Any]) -> None:
    told = record["data"]
    line = progress.sentence(record["kind"], told)
    if line is not None:
        click.echo(line)
    if record["kind"] in ("change.failed", "hook.finished"):
        for text in told["lines"]:
            click.echo(f"  {screen.dim('│')} {screen.printable(text)}")
    if record["kind"] == "change.failed":
        click.echo(f"  {screen.printable(told['reason'])}")


def failed_first(lines: Sequence[str], checks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of checks that ran side by side: those that failed one after the other, then the rest as it was."""
    failed = [f"{c['name']} │ " for c in checks if not c["ok"]]
    if len(checks) < 2:
        failed = []
    for mark in failed:
        yield from (line for line in lines if line.startswith(mark))
    yield from (line for line in lines if not line.startswith(tuple(failed)))
