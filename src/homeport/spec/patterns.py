"""Regular expressions of declared variables, without those that take exponential time.

Python's ``re`` tries every way to match. Where a repetition holds a repetition, as in ``(a+)+``, there can
be two to the power of the value's length of them, so a short value could stop the whole control plane; such
an expression is refused. One with many repetitions side by side that take the same characters, as in
``a*a*a*a*b``, is not: its time is a power of the value's length, which is bounded where it is matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from re import _constants, _parser  # type: ignore[attr-defined]  # the parsed form has no public name
from typing import Any

from homeport.spec.values import shown

_LONGEST = 500
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
_CLASSES = {
    _constants.CATEGORY_DIGIT: re.compile(r"\d"),
    _constants.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    _constants.CATEGORY_SPACE: re.compile(r"\s"),
    _constants.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    _constants.CATEGORY_WORD: re.compile(r"\w"),
    _constants.CATEGORY_NOT_WORD: re.compile(r"\W"),
}
_FEW = 3
"""A repetition of at most so many rounds multiplies the ways by a number that does not grow."""

Node = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression of Python's ``re``."""

    words: str = "regular expression"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(f'must be a regular expression, such as "^sk_", got {shown(value)}')
        if len(value) > _LONGEST:
            raise ValueError(
                f"must be a regular expression of at most {_LONGEST} characters, got {len(value)}"
            )
        why = ""
        try:
            re.compile(value)
            if any(_is_endless(node) for node in _nodes(_parser.parse(value))):
                why = "it repeats what repeats itself or has choices, which may take forever to match"
        except re.error as error:
            where = f" at character {error.pos + 1}" if error.pos is not None else ""
            why = f"{error.msg[:100]}{where}"
        except (OverflowError, RecursionError, Warning) as error:
            why = str(error)[:100] or "it nests too deep"
        if why:
            why = "".join(c if c.isprintable() else "?" for c in why)
            raise ValueError(f"must be a regular expression, got {shown(value)}: {why}")
        return value


def _is_endless(node: Node) -> bool:
    """Whether ``node`` repeats what can itself match in several ways, with nothing to tell rounds apart."""
    operation, argument = node
    if operation not in _REPEATS or argument[1] <= _FEW:
        return False
    body = list(argument[2])
    if not any(_varies(inner) for inner in _nodes(body)):
        return False
    body = _unwrapped(body)
    for end in (0, -1):
        if body and body[end][0] is _constants.LITERAL:
            rest = body[1:] if end == 0 else body[:-1]
            apart = not any(_takes(inner, code) for inner in _nodes(rest) for code in _cases(body[end][1]))
            varying = [inner for inner in _nodes(rest) if _varies(inner)]
            if apart and len(varying) == 1 and _is_plain(varying[0]):
                return False
    return True


def _is_plain(node: Node) -> bool:
    """Whether what varies is the length of one repetition, or a choice between different words."""
    operation, argument = node
    if operation is not _constants.BRANCH:
        return True
    words = [tuple(part) for part in argument[1]]
    literal = all(part[0] is _constants.LITERAL for word in words for part in word)
    return literal and len(set(words)) == len(words)


def _varies(node: Node) -> bool:
    operation, argument = node
    return operation is _constants.BRANCH or (operation in _REPEATS and argument[0] != argument[1])


def _unwrapped(body: list[Node]) -> list[Node]:
    """The sequence inside of groups that hold all of ``body``."""
    while len(body) == 1 and body[0][0] is _constants.SUBPATTERN:
        body = list(body[0][1][3])
    return body


def _cases(code: int) -> set[int]:
    """A character in lower and upper case, since the expression may take them for the same."""
    return {code, *(ord(c) for c in (chr(code).lower(), chr(code).upper()) if len(c) == 1)}


def _takes(node: Node, code: int) -> bool:
    """Whether ``node``, taken alone, may match the character; in doubt it may."""
    operation, argument = node
    if operation is _constants.LITERAL:
        return bool(argument == code)
    if operation is _constants.NOT_LITERAL:
        return bool(argument != code)
    if operation is _constants.IN:
        negated = argument[0][0] is _constants.NEGATE
        return any(_member(item, code) for item in argument) is not negated
    return operation in (_constants.ANY, _constants.GROUPREF, _constants.GROUPREF_EXISTS)


def _member(item: Node, code: int) -> bool:
    operation, argument = item
    if operation is _constants.LITERAL:
        return bool(argument == code)
    if operation is _constants.RANGE:
        return bool(argument[0] <= code <= argument[1])
    if operation is _constants.CATEGORY:
        return _CLASSES[argument].match(chr(code)) is not None
    return False


def _nodes(tree: Iterable[Node]) -> Iterator[Node]:
    """Every part of a parsed expression, however deep, each before what is in it."""
    for node in tree:
        yield node
        yield from _nodes(_inside(node[1]))


def _inside(argument: Any) -> Iterator[Node]:
    """The parts that the argument of an operation holds; they stand in lists and tuples of many shapes."""
    if isinstance(argument, _parser.SubPattern):
        yield from argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _inside(item)
