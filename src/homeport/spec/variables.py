"""Declared environment variables: which values fit one, and what a declaration may say. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from homeport.kernel.units import parse_duration
from homeport.kernel.variables import LARGEST_VALUE, is_name, is_reserved
from homeport.spec.model import VARIABLE_TYPES, Variable
from homeport.spec.values import LARGEST, ShellLine, VariableValue, controls, quoted, shown

LONGEST_MATCHED = 4096
"""Characters of a value that has a pattern: also an expression without nested repeats may take a time that
grows with the square of the length, or faster."""
_LONGEST_WHOLE = 20
_LONGEST_DURATION = 60
_MOST_OPTIONS = 100
_LONGEST_OPTION = 200
_LONGEST_LIST = 300

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\x00-\x20\x7f]+")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")

PLACES = ("default", "required", "from")
"""The keys of a declaration that say together where the value comes from."""


def name_problem(name: str) -> str | None:
    """Why no variable of the file can have this name, or None."""
    if not is_name(name):
        return 'must be a name of at most 128 letters, digits and "_", no digit first'
    if is_reserved(name):
        return "is reserved: Homeport sets it itself"
    return None


def problem(variable: Variable, value: str) -> str | None:
    """Why ``value`` does not fit the declaration, as words that begin with "must"; None when it fits.

    The words never repeat the value, be it secret or not. The cost is bounded for a value of any size.
    """
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return "must be UTF-8 text"
    if size > LARGEST_VALUE:
        return f"must be of at most 64 KB ({LARGEST_VALUE:,} bytes)"
    return _type_problem(variable.type, value) or _choice_problem(variable, value)


def _type_problem(type_: str, value: str) -> str | None:
    match type_:
        case "int":
            fits = len(value) <= _LONGEST_WHOLE and _WHOLE.fullmatch(value) and abs(int(value)) <= LARGEST
            return None if fits else "must be a whole number"
        case "bool":
            return None if value in ("true", "false") else "must be true or false"
        case "url":
            return None if _URL.fullmatch(value) else 'must be a URL, such as "https://example.com"'
        case "duration":
            return None if _is_duration(value) else 'must be a duration, such as "30s" or "10m"'
        case _:
            return None


def _is_duration(value: str) -> bool:
    try:
        return len(value) <= _LONGEST_DURATION and isfinite(parse_duration(value))
    except ValueError:
        return False


def _choice_problem(variable: Variable, value: str) -> str | None:
    if variable.one_of and value not in variable.one_of:
        return f"must be one of {_listed(variable.one_of)}"
    if variable.pattern:
        if len(value) > LONGEST_MATCHED:
            return f"must be of at most {LONGEST_MATCHED} characters, since it has a pattern"
        if not re.search(variable.pattern, value):
            return f"must match {_printable(variable.pattern)}"
    return None


def _listed(options: tuple[str, ...]) -> str:
    words: list[str] = []
    for option in options:
        words.append(option if _PLAIN.fullmatch(option) else quoted(option))
        if sum(map(len, words)) > _LONGEST_LIST:
            return ", ".join((*words, "…"))
    return ", ".join(words)


def _printable(text: str) -> str:
    return text if text.isprintable() else quoted(text)


@dataclass(frozen=True, slots=True)
class Options:
    words: str = "array of values"

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            example = f"[{quoted('test')}, {quoted('live')}]"
            got = "an empty array" if value == [] else shown(value)
            raise ValueError(f"must be an array of the values it may have, such as {example}, got {got}")
        if len(value) > _MOST_OPTIONS:
            raise ValueError(f"must be at most {_MOST_OPTIONS} values, got {len(value)}")
        return tuple(dict.fromkeys(VariableValue(longest=_LONGEST_OPTION).read(item) for item in value))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value is read from at each rollout."""

    words: str = '"file:/PATH" or "command:LINE"'

    def read(self, value: object) -> str:
        kind, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not colon or kind not in ("file", "command"):
            raise ValueError(
                'must be "file:" and an absolute path, or "command:" and a shell command, such as '
                f'"file:/run/secrets/token", got {shown(value)}'
            )
        if kind == "command":
            return f"command:{ShellLine().read(rest)}"
        if not rest.startswith("/") or rest.endswith("/") or controls(rest) or len(rest) > 1000:
            raise ValueError(f'must name a file by its absolute path after "file:", got {shown(value)}')
        return value if isinstance(value, str) else ""


def contradictions(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a declaration, its values read, says against itself: (key, reason)."""
    found = []
    if values.get("required") and "default" in values:
        found.append(("required", "has no use: the variable has a default; take one of the two out"))
    if "from" in values and "default" in values:
        found.append(
            ("from", "stands against the default: the value comes from one of the two; take one out")
        )
    if "from" in values and values.get("secret") is False:
        found.append(("secret", 'must not be false: what "from" brings is always a secret'))
    without_default = {k: v for k, v in values.items() if k != "default"}
    if values.get("secret") and "default" in values:
        found.append(
            ("default", "must not be here: the variable is a secret, set with `homeport secrets set`")
        )
    elif "default" in values:
        why = problem(declaration("", without_default), values["default"])
        found += [("default", why)] if why else []
    unchosen = declaration("", {k: v for k, v in without_default.items() if k != "one_of"})
    misfits = (problem(unchosen, option) for option in values.get("one_of", ()))
    found += [("one_of", f"{why}, each of them") for why in misfits if why][:1]
    return found


def declaration(name: str, values: Mapping[str, Any]) -> Variable:
    """The variable of a declaration whose values are read. What comes from outside is a secret."""
    return Variable(
        name,
        values.get("default"),
        required=values.get("required", False),
        secret=values.get("secret", False) or "from" in values,
        type=values.get("type", VARIABLE_TYPES[0]),
        pattern=values.get("pattern", ""),
        one_of=values.get("one_of", ()),
        description=values.get("description", ""),
        source=values.get("from", ""),
    )
