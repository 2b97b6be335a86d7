"""Printing for people: columns, times, colours that vanish where there is no terminal."""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
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
    "asleep": DIM,
    "serving": GOOD,
    "waking": CAREFUL,
    "removing": CAREFUL,
    "running": GOOD,
    "starting": CAREFUL,
    "backoff": BAD,
    "crash-looping": BAD,
    "stopped": BAD,
    "gone": BAD,
    "orphaned": CAREFUL,
    "ready": GOOD,
    "building": CAREFUL,
    "failed": BAD,
    "pruned": DIM,
    "serves": GOOD,
    "in progress": CAREFUL,
    "built": DIM,
    "never served": BAD,
    "build failed": BAD,
}


def word(text: str) -> str:
    """A state in its colour."""
    return click.style(text, fg=COLOURS[text]) if text in COLOURS else text


def dim(text: str) -> str:
    return click.style(text, fg=DIM)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere and nothing need fit."""
    return shutil.get_terminal_size().columns if is_terminal() else None


def columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    shorten: Mapping[str, int] | None = None,
    drop: Sequence[str] = (),
    under: Sequence[str] = (),
) -> None:
    """Left-aligned columns that fit the terminal; styled cells are measured without their style.

    Where they do not fit, those named in ``shorten`` lose their ends, down to so many characters; then
    those named in ``drop`` are left out, the first one first. All others stay whole. ``under`` has a text
    for each row, or "", that is printed below it, whole. Nothing for no rows.
    """
    if not rows:
        return
    room = width()
    table = [[dim(h) if h else "" for h in head], *rows]
    least = [(shorten or {}).get(h) for h in head]
    keep = [i for i in range(len(head)) if any(click.unstyle(row[i]) for row in rows)]
    widths = _widths(table, keep, least, room)
    for name in drop:
        if room is None or _total(widths) <= room:
            break
        keep = [i for i in keep if head[i] != name]
        widths = _widths(table, keep, least, room)
    indent = min(widths[keep[0]] + len(GAP), 9) if keep else 0
    for row, below in zip(table, ("", *under) if under else [""] * len(table), strict=True):
        cells = [_cut(row[i], widths[i]) for i in keep]
        click.echo(
            GAP.join(
                cell + " " * (widths[i] - len(click.unstyle(cell)))
                for i, cell in zip(keep, cells, strict=True)
            ).rstrip()
        )
        for line in wrapped(below, indent):
            click.echo(dim(click.unstyle(line)))


GAP = "  "


def _widths(
    table: Sequence[Sequence[str]], keep: Sequence[int], least: Sequence[int | None], room: int | None
) -> dict[int, int]:
    """The width of each column kept, the shortened ones as wide as there is room for."""
    widths = {i: max(len(click.unstyle(row[i])) for row in table) for i in keep}
    for i in reversed(keep):
        minimum = least[i]
        over = _total(widths) - room if room is not None else 0
        if minimum is not None and over > 0:
            widths[i] = max(min(minimum, widths[i]), widths[i] - over)
    return widths


def _total(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _cut(cell: str, width: int) -> str:
    """A cell without its end, where it is wider; that costs it its style."""
    plain = click.unstyle(cell)
    return cell if len(plain) <= width else f"{plain[: width - 1].rstrip()}…"


def wrapped(text: str, indent: int) -> list[str]:
    """Lines of ``text``, each indented, broken between words where the terminal ends; that costs its style."""
    room = width()
    prefix = " " * indent
    plain = click.unstyle(text)
    if room is None or len(plain) + indent <= room:
        return [prefix + text] if plain else []
    return textwrap.wrap(
        plain,
        max(room, indent + 20),
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_on_hyphens=False,
        break_long_words=False,
    )


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


def local_time(text: str) -> str:
    """An ISO 8601 time by the local clock, to the second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def is_terminal() -> bool:
    return sys.stdout.isatty()
