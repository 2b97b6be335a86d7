"""Size budgets: how large the files of a built release may be."""

import fnmatch
import os
import re
import stat
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from homeport.kernel.units import format_size
from homeport.rollout.pipeline.stages import shell
from homeport.rollout.pipeline.stages.work import CANCELLED, Found, Work
from homeport.spec.model import Budget

LEVEL = 6
"""Of gzip, as servers compress by default."""
LARGEST = 5
"""Files that are named for each budget."""
MOST = 500_000
"""Files and directories that are looked at."""
_CHUNK = 1 << 18


class _Stopped(Exception):
    pass


class _TooMany(Exception):
    pass


def run(work: Work) -> Found:
    """Measure the release's files against the stage's budgets.

    Files count by their length, or by what gzip makes of each. A link counts as the file that it leads to,
    where that lies within the release; others count as nothing. A pattern that matches no file fails: it
    would hold whatever is built.
    """
    if not work.stage.budgets:
        return Found(True)
    if work.release_directory is None:
        return Found(False, "there is no built release to measure")
    try:
        root = work.release_directory.resolve(strict=True)
        paths = sorted(_files(root))
        measured = [(b, _measure(work, b, paths)) for b in work.stage.budgets]
    except _Stopped:
        stopped = work.stop() or CANCELLED
        return Found(False, shell.why(stopped), stopped=stopped)
    except _TooMany:
        return Found(False, f"the release has more than {MOST} files and directories, links followed")
    except OSError as e:
        return Found(False, f"the release's files cannot be read: {e.strerror or e}")
    return found(work, measured)


def found(work: Work, measured: list[tuple[Budget, dict[str, int]]]) -> Found:
    """What the sizes of each budget's files, by path, come to."""
    reasons, lines, details = [], [], []
    for budget, sizes in measured:
        total = sum(sizes.values())
        largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST]
        what = " with gzip" if budget.gzip else ""
        if not sizes:
            problem = f"{budget.pattern} matches no file"
        elif total > budget.most:
            problem = (
                f"{budget.pattern}: {format_size(total)}{what}, "
                f"{format_size(budget.most)} are allowed ({format_size(total - budget.most)} too many)"
            )
            lines += [f"{format_size(size):>8}  {path}" for path, size in largest]
        else:
            problem = ""
        reasons.append(problem)
        mark = f"✗ {problem}" if problem else f"✓ {budget.pattern}: {format_size(total)}{what}"
        work.log.write(f"{mark}\n".encode())
        detail: dict[str, Any] = {
            "pattern": budget.pattern,
            "ok": not problem,
            "problem": problem,
            "bytes": total,
            "most": budget.most,
            "gzip": budget.gzip,
            "files": len(sizes),
            "largest": [[path, size] for path, size in largest],
        }
        details.append(detail)
    failed = [r for r in reasons if r]
    return Found(not failed, "; ".join(failed), tuple(lines[:20]), {"budgets": details})


def matches(pattern: str, path: str) -> bool:
    """Whether a file's path is meant: ``*``, ``?`` and ``[…]`` stay within a part of it, ``**`` is any parts.

    A pattern that ends with ``**`` means all files below.
    """
    parts = [p for p in pattern.split("/") if p not in ("", ".")]
    # Which beginnings of the pattern the parts so far may have used up.
    reached = _skip(parts, {0})
    for name in path.split("/"):
        step = set()
        for i in reached:
            if i < len(parts) and parts[i] == "**":
                step |= {i, i + 1} if i + 1 == len(parts) else {i}
            elif i < len(parts) and _part(parts[i]).match(name):
                step.add(i + 1)
        reached = _skip(parts, step)
    return len(parts) in reached and bool(parts)


@lru_cache(maxsize=256)
def _part(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def _skip(parts: list[str], reached: set[int]) -> set[int]:
    """With those added that ``**`` reaches as no part at all; at the end it has to be one."""
    found = set(reached)
    for i in sorted(reached):
        while i < len(parts) - 1 and parts[i] == "**":
            i += 1
            found.add(i)
    return found


def _files(root: Path) -> Iterator[str]:
    """Regular files below, relative to ``root``; those of a linked directory under each of its paths."""
    seen = 0
    # Each with the real directories that lead to it, so that a link to one of them is not followed.
    left: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while left:
        prefix, chain = left.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST:
                    raise _TooMany
                path = f"{prefix}{entry.name}"
                if entry.is_symlink() and not _within(root, entry.path):
                    continue
                if entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real not in chain:
                        left.append((f"{path}/", (*chain, real)))
                elif entry.is_file():
                    yield path


def _within(root: Path, path: str) -> bool:
    try:
        return Path(path).resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _measure(work: Work, budget: Budget, paths: list[str]) -> dict[str, int]:
    assert work.release_directory is not None
    sizes = {}
    for path in paths:
        if matches(budget.pattern, path):
            sizes[path] = _size(work, work.release_directory / path, budget.gzip)
    return sizes


def _size(work: Work, path: Path, gzip: bool) -> int:
    if not gzip:
        return path.stat().st_size
    # 31: a gzip member with the largest window, as gzip itself writes it without a name.
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    size = 0
    asked_at = work.clock.monotonic()
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return 0
        while chunk := file.read(_CHUNK):
            size += len(packer.compress(chunk))
            if work.clock.monotonic() - asked_at > 0.25:
                asked_at = work.clock.monotonic()
                if work.stop() is not None:
                    raise _Stopped
    return size + len(packer.flush())
