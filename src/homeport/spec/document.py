"""The text of ``homeport.toml`` to plain TOML values and the line of each key."""

from __future__ import annotations

import re
import tomllib

from homeport.kernel.units import format_size
from homeport.spec.locate import Path, locate
from homeport.spec.problems import unreadable

LARGEST_FILE = 256_000
"""Bytes."""
_MOST_DOTS = 200
"""In one line. ``tomllib`` takes time and memory cubic in the parts of a dotted key: 16 s for 32,000."""

_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\s*$")
_PLAINER = {
    "Cannot overwrite a value": "a key is written twice, or is both a value and a table",
    "Invalid statement": 'a line must be a key and its value (key = "value"), or a table ([table])',
    "Invalid initial character for a key part": "a key must be here; a table in { } stands in one line",
    "Invalid value": 'this is not a TOML value; text stands in quotes: key = "value"',
    "Unterminated string": "a string is not closed",
    "Expected '=' after a key in a key/value pair": 'a key needs "=" and a value after it',
}


def read_document(text: str, *, file: str) -> tuple[dict[str, object], dict[Path, int]]:
    """The values of ``text`` and the line of each key.

    Raises HomeportError ``spec.invalid`` when the text is not TOML, not text, or too large. A byte order
    mark and Windows line ends are accepted.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise unreadable(file, text.count("\n", 0, error.start) + 1, "the file is not UTF-8 text") from None
    if size > LARGEST_FILE:
        raise unreadable(
            file, 1, f"the file is {format_size(size)} large; at most {format_size(LARGEST_FILE)} are read"
        )
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MOST_DOTS and not line.lstrip().startswith("#"):
            raise unreadable(file, number, f'the line holds more than {_MOST_DOTS} "."')
    try:
        return tomllib.loads(text), locate(text)
    except tomllib.TOMLDecodeError as error:
        raise unreadable(file, *_syntax_error(str(error), text)) from None
    except RecursionError:
        raise unreadable(file, 1, "tables or arrays lie too deep inside each other") from None
    except ValueError:  # the limit of Python on the digits of a whole number
        raise unreadable(file, 1, "a number has too many digits") from None


def _syntax_error(message: str, text: str) -> tuple[int, str]:
    """Line and reason from the words of ``tomllib``, whose errors have no fields before Python 3.14."""
    place = _PLACE.search(message)
    reason = message[: place.start()] if place else message
    line, column = len(text.rstrip("\n").split("\n")), ""
    if place and place["line"]:
        line, column = int(place["line"]), f" (column {place['column']})"
    plain = _PLAINER.get(reason, reason[:200])
    return line, f"not valid TOML: {plain}{column}"
