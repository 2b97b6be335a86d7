"""The errors of one file, collected so that all of them are told at once, each with line and path."""

from __future__ import annotations

import re
from collections.abc import Mapping

from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.spec.locate import Path, line_of
from homeport.spec.values import quoted

INVALID = declare("spec.invalid", Kind.INVALID, "A homeport.toml is not valid; the details name each error.")

MOST_TOLD = 100
"""Errors beyond this number are counted, not told."""
HINT = "docs/reference/configuration.md describes every key"

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")


def path_text(path: Path) -> str:
    """A path as TOML would write it: ``routes."shop.example.com"``; long keys are clipped."""
    return ".".join(part if _BARE.fullmatch(part) else _clipped(part) for part in path)


def _clipped(part: str) -> str:
    return quoted(part if len(part) <= 60 else part[:57] + "…")


class Problems:
    """Errors of the file ``file``, found in any order, told by line."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[tuple[Path, str]] = []
        self._untold = 0

    def add(self, path: Path, reason: str) -> None:
        if self.is_full:
            self._untold += 1
        else:
            self._found.append((path, reason))

    @property
    def is_full(self) -> bool:
        """Whether further errors are only counted, so that their reasons need not be worked out."""
        return len(self._found) >= MOST_TOLD

    def under(self, path: Path) -> bool:
        """Whether there is an error at ``path`` or below it."""
        return any(p[: len(path)] == path for p, _ in self._found)

    def __len__(self) -> int:
        return len(self._found) + self._untold

    def error(self, lines: Mapping[Path, int]) -> HomeportError:
        placed = sorted(
            (line_of(path, lines), n, path, reason) for n, (path, reason) in enumerate(self._found)
        )
        details = [
            f"{self._file}:{line}: at '{path_text(path)}': {reason}" for line, _, path, reason in placed
        ]
        if self._untold:
            details.append(f"{self._file}: and {self._untold} more")
        return _error(self._file, len(self), details)


def unreadable(file: str, line: int, reason: str) -> HomeportError:
    """The file cannot be read as TOML at all, so this is its only error."""
    return _error(file, 1, [f"{file}:{line}: {reason}"])


def _error(file: str, count: int, details: list[str]) -> HomeportError:
    return INVALID.error(
        f"cannot read {file}: {count} {'error' if count == 1 else 'errors'}", hint=HINT, details=details
    )
