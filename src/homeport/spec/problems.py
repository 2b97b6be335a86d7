"""The errors of one file, collected so that all of them are told at once, each with line and path."""

from __future__ import annotations

import re
from collections.abc import Mapping

from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.spec.layers import Layer
from homeport.spec.locate import Element, Path, line_of
from homeport.spec.values import quoted

INVALID = declare("spec.invalid", Kind.INVALID, "A homeport.toml is not valid; the details name each error.")

MOST_TOLD = 100
"""Errors beyond this number are counted, not told."""
MANY_TOLD = 20
HINT = "homeport init --keys describes every key"

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")


def path_text(path: Path) -> str:
    """A path as TOML would write it: ``routes."shop.example.com"``; long keys are clipped.

    An element of an array is in brackets, from 1: ``pipeline.stage[2].kind``.
    """
    text = ""
    for part in path:
        if isinstance(part, Element):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else _clipped(part))
    return text


def _stem(reason: str) -> str:
    return reason.partition(";")[0]


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

    @property
    def is_long(self) -> bool:
        """Whether there are so many already that further ones need not be found at any cost."""
        return len(self._found) >= MANY_TOLD

    def under(self, path: Path) -> bool:
        """Whether there is an error at ``path`` or below it."""
        return any(p[: len(path)] == path for p, _ in self._found)

    def has(self, path: Path, reason: str) -> bool:
        """Whether that very error was found, whatever was guessed to be meant."""
        return any(p == path and _stem(r) == _stem(reason) for p, r in self._found)

    def written_at(self, path: Path) -> Path:
        return path

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


class EnvironmentProblems:
    """Errors of the document that an environment comes to, merged over that of ``parent``.

    Each is told once, in ``told``: not again when the parent has it too and the environment did not write
    the value anew. What is told stands at the place where the environment wrote it, or would have.
    """

    def __init__(self, told: Problems, layer: Layer, parent: Problems | EnvironmentProblems) -> None:
        self._told = told
        self._layer = layer
        self._parent = parent
        self._found = Problems("")

    def add(self, path: Path, reason: str) -> None:
        written = self._layer.value_at(path)
        if written is not None or not self._parent.has(path, reason):
            self._told.add(self._layer.path + (written or path), reason)
        self._found.add(path, reason)

    @property
    def is_full(self) -> bool:
        return self._told.is_full

    @property
    def is_long(self) -> bool:
        return self._told.is_long

    def under(self, path: Path) -> bool:
        return self._found.under(path)

    def has(self, path: Path, reason: str) -> bool:
        return self._found.has(path, reason)

    def written_at(self, path: Path) -> Path:
        """The place in the file of the value that stands at ``path`` of the merged document."""
        written = self._layer.value_at(path)
        return self._parent.written_at(path) if written is None else self._layer.path + written

    def __len__(self) -> int:
        return len(self._found)


def unreadable(file: str, line: int, reason: str) -> HomeportError:
    """The file cannot be read as TOML at all, so this is its only error."""
    return _error(file, 1, [f"{file}:{line}: {reason}"])


def _error(file: str, count: int, details: list[str]) -> HomeportError:
    return INVALID.error(
        f"cannot read {file}: {count} {'error' if count == 1 else 'errors'}", hint=HINT, details=details
    )
