"""Values from outside: a file, or what a command prints. Read when a rollout begins."""

import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from homeport.guard import rules
from homeport.guard.errors import SOURCE_FAILED
from homeport.kernel.errors import HomeportError
from homeport.kernel.variables import LARGEST_VALUE
from homeport.system import process

TIMEOUT = 30.0
"""Seconds that a command may take."""
SIDE_BY_SIDE = 16
_MAX_RAW = LARGEST_VALUE + 2
"""Bytes, with a final newline that is no part of the value."""
_LINES = 10
"""Of a command's stderr, told when it fails."""

Run = Callable[[str], process.Captured]


def shell(line: str) -> process.Captured:
    """Run a line by ``/bin/sh``, as Homeport's own user. Raises OSError."""
    return process.capture(("/bin/sh", "-c", line), timeout=TIMEOUT, limit=_MAX_RAW)


def read(source: str, *, run: Run = shell) -> str:
    """The value at ``file:/absolute/path``, or what ``command:LINE`` prints; one final newline is not part of it.

    Raises ``guard.source_failed``. Its details are the last lines of the command's stderr, in which no line
    of its stdout stands.
    """
    kind, _, rest = source.partition(":")
    if kind == "file" and rest.startswith("/"):
        raw = _file(source, rest)
    elif kind == "command" and rest.strip():
        raw = _command(source, rest, run)
    else:
        raise _failed(source, 'a source is "file:/absolute/path" or "command:LINE"')
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _failed(source, "the value is not UTF-8 text") from None
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    problem = rules.value_problem(value)
    if problem is not None:
        raise _failed(source, f"the value {problem}")
    return value


def read_all(sources: Mapping[str, str], *, run: Run = shell) -> tuple[dict[str, str], list[str]]:
    """The values of ``sources`` by name, read side by side, and what is wrong with the others, by name."""
    values: dict[str, str] = {}
    problems: list[str] = []
    if not sources:
        return values, problems
    with ThreadPoolExecutor(min(len(sources), SIDE_BY_SIDE), "guard-source") as pool:
        begun = {name: pool.submit(read, source, run=run) for name, source in sources.items()}
    for name, future in begun.items():
        try:
            values[name] = future.result()
        except HomeportError as e:
            last = f" (its last line: {e.details[-1]})" if e.details else ""
            problems.append(f"{name}: {e.sentence}{last}")
    return values, problems


def _file(source: str, path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(fd, "rb") as f:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _failed(source, "it is no regular file")
            raw = f.read(_MAX_RAW + 1)
    except (OSError, ValueError) as e:
        raise _failed(source, getattr(e, "strerror", None) or "it is no path") from None
    if len(raw) > _MAX_RAW:
        raise _failed(source, "it has more than 64 KB")
    return raw


def _command(source: str, line: str, run: Run) -> bytes:
    try:
        done = run(line)
    except (OSError, ValueError) as e:
        raise _failed(source, f"it cannot be run: {e}") from None
    if done.stopped == "limit":
        raise _failed(source, "it printed more than 64 KB", done)
    if done.stopped is not None:
        raise _failed(source, f"it ran longer than {TIMEOUT:g} s", done)
    if done.returncode != 0:
        how = f"status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise _failed(source, f"it ended with {how}", done)
    return done.stdout


def _failed(source: str, why: str, done: process.Captured | None = None) -> HomeportError:
    shown = source if len(source) <= 100 else f"{source[:99]}…"
    hint = "run it as the user that Homeport runs as; its environment is that of homeport up" if done else ""
    return SOURCE_FAILED.error(f"cannot read {shown}: {why}", hint=hint, details=_last_lines(done))


def _last_lines(done: process.Captured | None) -> list[str]:
    if done is None:
        return []
    printed = {line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines()} - {""}
    lines = []
    for line in done.stderr.decode("utf-8", "replace").splitlines()[-_LINES:]:
        for value in sorted(printed, key=len, reverse=True):
            line = line.replace(value, "…")
        if line.strip():
            lines.append(line.rstrip()[:500])
    return lines
