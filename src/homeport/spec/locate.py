"""On which line of TOML text each key stands, which ``tomllib`` does not say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Self

Path = tuple[str, ...]
"""The keys that lead to a value: ``("processes", "web", "replicas")``.

Of an array's elements the key is an :class:`Element`.
"""


class Element(str):
    """Which element of an array it is, from 1: ``("pipeline", "stage", Element(2), "kind")``."""

    __slots__ = ()

    def __new__(cls, number: int) -> Self:
        return super().__new__(cls, str(number))


_TOKEN = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<space>[ \t\r]+)
    | (?P<comment>\#[^\n]*)
    | (?P<long>\"{3}(?:\\.|[^\\])*?\"{3}\"{0,2} | '{3}.*?'{3}'{0,2})
    | (?P<quoted>"(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<word>[^\s\[\]{}=,."'\#]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 8
"""Keys below this depth are not told apart: no key of homeport.toml lies that deep."""


def locate(text: str) -> dict[Path, int]:
    """The line (from 1) where each table and key of ``text`` is first named.

    ``text`` must be TOML that ``tomllib`` accepts; of other text the answer is incomplete or wrong,
    but there is one. Of the elements of arrays, those that are tables have lines of their own.
    """
    found: dict[Path, int] = {}
    scanner = _Scanner(text)
    table: Path = ()
    counts: dict[Path, int] = {}
    """How many tables each array of tables has so far."""
    while scanner.skip_blank():
        line = scanner.line
        if scanner.kind == "mark" and scanner.token == "[":
            brackets = 0
            while scanner.token == "[":
                scanner.advance()
                brackets += 1
            table = _within(scanner.key(), counts, another=brackets > 1)
            _note(found, (), table, line)
            scanner.to_end_of_line()
        else:
            _pair(scanner, table, found)
            scanner.to_end_of_line()
    return found


def line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of ``path``, or of the nearest table around it that is written down, or 1."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def _within(key: Path, counts: dict[Path, int], *, another: bool) -> Path:
    """The path of a table, each array of tables on the way at its last element, or at ``another`` one."""
    path: Path = ()
    for n, part in enumerate(key[:_DEEPEST], 1):
        path = (*path, part)
        if another and n == len(key):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, Element(counts[path]))
    return path


def _note(found: dict[Path, int], base: Path, key: Path, line: int) -> None:
    for end in range(1, min(len(key), _DEEPEST) + 1):
        found.setdefault((*base, *key[:end])[:_DEEPEST], line)


def _pair(scanner: _Scanner, base: Path, found: dict[Path, int]) -> None:
    """Read ``key = value``; the keys of an inline table count as keys of their own."""
    line = scanner.line
    key = scanner.key()
    _note(found, base, key, line)
    if scanner.token == "=":
        scanner.advance()
    scanner.skip_space()
    _value(scanner, (*base, *key), found)


def _value(scanner: _Scanner, path: Path, found: dict[Path, int]) -> None:
    """Read the value at ``path``, and what is in it."""
    if scanner.token == "{" and len(path) < _DEEPEST:
        scanner.advance()
        while scanner.skip_blank() and scanner.token != "}":
            if scanner.token == ",":
                scanner.advance()
            else:
                _pair(scanner, path, found)
        scanner.advance()
    elif scanner.token == "[" and len(path) < _DEEPEST:
        scanner.advance()
        number = 1
        while scanner.skip_blank() and scanner.token != "]":
            if scanner.token == ",":
                number += 1
                scanner.advance()
                continue
            element = (*path, Element(number))
            if scanner.token == "{":
                _note(found, path, element[-1:], scanner.line)
            _element(scanner, element, found)
        scanner.advance()
    else:
        scanner.skip_value()


def _element(scanner: _Scanner, path: Path, found: dict[Path, int]) -> None:
    """Read one value inside of an array, which may stand on a line of its own."""
    if scanner.token in ("{", "["):
        _value(scanner, path, found)
    else:
        scanner.advance()


class _Scanner:
    """A position in TOML text. ``token`` is "" at the end of the text."""

    def __init__(self, text: str) -> None:
        self._tokens = self._read(text)
        self.line = 1
        self.kind = ""
        self.token = ""
        self.advance()

    def _read(self, text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _TOKEN.finditer(text):
            token = match[0]
            yield match.lastgroup or "", token, line
            line += token.count("\n")

    def advance(self) -> None:
        self.kind, self.token, self.line = next(self._tokens, ("", "", self.line))

    def skip_space(self) -> None:
        while self.kind == "space":
            self.advance()

    def skip_blank(self) -> bool:
        """Go on to the next token that means something; False at the end."""
        while self.kind in ("space", "newline", "comment"):
            self.advance()
        return self.token != ""

    def to_end_of_line(self) -> None:
        while self.token and self.kind != "newline":
            self.advance()

    def key(self) -> Path:
        """A dotted key. Always takes a token, so that whoever loops over keys comes to an end."""
        parts: list[str] = []
        while True:
            self.skip_space()
            parts.append(_unquoted(self.token) if self.kind == "quoted" else self.token)
            self.advance()
            self.skip_space()
            if self.token != ".":
                return tuple(parts)
            self.advance()

    def skip_value(self) -> None:
        """Go past one value: to the end of its line or, inside of others, to ",", "}" or "]"."""
        depth = 0
        while self.token:
            if depth == 0 and (self.kind == "newline" or self.token in (",", "}", "]")):
                return
            if self.kind == "mark":
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(self.token, 0)
            self.advance()


def _unquoted(token: str) -> str:
    try:
        return str(tomllib.loads(f"key = {token}")["key"])
    except ValueError:
        return token
