"""Printing for people: columns, times, colours that vanish where there is no terminal."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click

from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_duration

GOOD, BAD, CAREFUL, DIM = "green", "red", "yellow", "bright_black"
COLOURS = {
    "up": GOOD,
    "degraded": CAREFUL,
    "down": BAD,
    "empty": DIM,
    "running": GOOD,
    "starting": CAREFUL,
    "backoff": BAD,
    "stopped": BAD,
    "gone": BAD,
    "orphaned": CAREFUL,
    "ready": GOOD,
    "building": CAREFUL,
    "failed": BAD,
    "pruned": DIM,
}


def word(text: str) -> str:
    """A state in its colour."""
    return click.style(text, fg=COLOURS[text]) if text in COLOURS else text


def dim(text: str) -> str:
    return click.style(text, fg=DIM)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns; styled cells are measured without their style. Nothing for no rows."""
    if not rows:
        return
    table = [[dim(h) for h in head], *rows]
    widths = [max(len(click.unstyle(row[i])) for row in table) for i in range(len(head))]
    for row in table:
        cells = [
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def error(problem: HomeportError) -> None:
    """Sentence, details and hint, on stderr."""
    click.echo(f"{click.style('error:', fg=BAD, bold=True)} {printable(problem.sentence)}", err=True)
    for line in problem.details:
        click.echo(f"  {printable(line)}", err=True)
    if problem.hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {printable(problem.hint)}", err=True)


def note(text: str) -> None:
    click.echo(f"{click.style('note:', fg=CAREFUL)} {text}", err=True)


def printable(text: str) -> str:
    """Text of an app or a user without what would move the cursor or recolour the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in text)


def ago(text: str | None, now: datetime) -> str:
    """How long ago an ISO 8601 time was."""
    if text is None:
        return ""
    return f"{format_duration(max(0.0, (now - datetime.fromisoformat(text)).total_seconds()))} ago"


def clock_time(text: str) -> str:
    """The local time of day, with milliseconds, of an ISO 8601 time."""
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S.%f")[:-3]


def is_terminal() -> bool:
    return sys.stdout.isatty()
