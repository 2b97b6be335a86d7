"""What the value of a key may be. Each type reads a TOML value, or says what it must be instead."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from homeport.kernel.ids import NAME
from homeport.kernel.text import did_you_mean, nearest
from homeport.kernel.units import parse_duration, parse_size

LARGEST = 2**63 - 1
"""TOML promises whole numbers of 64 bits and no more."""


class Type(Protocol):
    """What a value may be. Ranges are held as people write them, so that messages show them so."""

    @property
    def words(self) -> str:
        """For the reference: ``duration, 1s to 24h``."""
        ...

    def read(self, value: object) -> object:
        """The value as the model holds it. Raises ValueError with a reason that begins with "must"."""
        ...


def shown(value: object) -> str:
    """A value for an error message: short, on one line, nothing unprintable."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            clipped = value if len(value) <= 60 else value[:57] + "…"
            return quoted(clipped)
        case int() if not -LARGEST <= value <= LARGEST:
            return "a number beyond 64 bits"
        case int() | float():
            return str(value)
        case dict():
            return "a table"
        case list():
            return "an array"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return "something else"


def quoted(text: str) -> str:
    """``text`` as a TOML basic string on one line, with everything unprintable escaped."""
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c.isprintable():
        return c
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c)
    return named or (f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}")


def controls(text: str) -> bool:
    """Whether ``text`` holds ASCII control characters."""
    return any(ord(c) < 32 or ord(c) == 127 for c in text)


@dataclass(frozen=True, slots=True)
class Name:
    words: str = "name"
    longest: int = 40

    def read(self, value: object) -> str:
        if isinstance(value, str) and NAME.fullmatch(value) and len(value) <= self.longest:
            return value
        raise ValueError(
            f"must be a name: 1 to {self.longest} of a-z, 0-9 and inner hyphens, a letter first, "
            f"such as {quoted('shop')}, got {shown(value)}"
        )


@dataclass(frozen=True, slots=True)
class Flag:
    words: str = "true or false"

    def read(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        hint = ", without quotes" if value in ("true", "false") else ""
        raise ValueError(f"must be true or false{hint}, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class ShortText:
    """One line of text for people or for another part to read."""

    longest: int

    @property
    def words(self) -> str:
        return f"text, at most {self.longest} characters"

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be text in quotes, got {shown(value)}")
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        if controls(value):
            raise ValueError(f"must be one line without control characters, got {shown(value)}")
        return value.strip()


@dataclass(frozen=True, slots=True)
class ShellLine:
    """One line for ``sh``. Several lines would go on after one of them failed, so they are refused."""

    words: str = "shell command"
    longest: int = 10_000

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be a shell command in quotes, got {shown(value)}")
        if not value.strip():
            raise ValueError("must be a shell command, got an empty one; leave the key out for none")
        if "\n" in value or "\r" in value:
            raise ValueError(
                'must be one line: join the steps with "&&", and end a line of a """ string '
                "with a backslash to go on below"
            )
        if controls(value.replace("\t", "")):
            raise ValueError(f"must hold no control characters, got {shown(value)}")
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        return value.strip()


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of the release, below its top or the top itself. Held without "./" and final "/"."""

    words: str = "directory"

    def read(self, value: object) -> str:
        return _path_below(value, "directory", "public") or "."


@dataclass(frozen=True, slots=True)
class File:
    """A path below the top of the release, never the top itself. Held without "./" and final "/"."""

    what: str = "file"
    such_as: str = "tmp/alive"

    @property
    def words(self) -> str:
        return f"{self.what} below the release's top"

    def read(self, value: object) -> str:
        path = _path_below(value, self.what, self.such_as)
        if not path:
            raise ValueError(
                f"must lie below the top of the release, such as {quoted(self.such_as)}, got {shown(value)}"
            )
        return path


def _path_below(value: object, what: str, such_as: str) -> str:
    if not isinstance(value, str) or not value or controls(value) or len(value) > 500:
        raise ValueError(f"must be a {what} of the release, such as {quoted(such_as)}, got {shown(value)}")
    if "\\" in value:
        raise ValueError(f'must part directories with "/", got {shown(value)}')
    if value.startswith(("/", "~")):
        raise ValueError(
            f"must be relative to the top of the release, such as {quoted(such_as)}, got {shown(value)}"
        )
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f'must stay inside the release: no "..", got {shown(value)}')
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class UrlPath:
    words: str = "URL path"
    longest: int = 1000

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value.startswith("/"):
            raise ValueError(
                f'must be a URL path that begins with "/", such as "/health", got {shown(value)}'
            )
        if "#" in value:
            raise ValueError(f'must hold no "#": it is never sent to a server, got {shown(value)}')
        if not value.isascii() or controls(value) or " " in value:
            raise ValueError(
                f"must hold no spaces, control characters or letters beyond ASCII (write %20 and the like), "
                f"got {shown(value)}"
            )
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        return value


@dataclass(frozen=True, slots=True)
class User:
    words: str = "system user"

    def read(self, value: object) -> str:
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", value):
            return value
        raise ValueError(f'must be the name of a system user, such as "www-data", got {shown(value)}')


@dataclass(frozen=True, slots=True)
class Whole:
    low: int
    high: int

    @property
    def words(self) -> str:
        return f"whole number, {self.low} to {self.high}"

    def read(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        raise ValueError(f"must be a whole number from {self.low} to {self.high}, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float

    @property
    def words(self) -> str:
        return f"number, {self.low:g} to {self.high:g}"

    def read(self, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
            return float(value)
        raise ValueError(f"must be a number from {self.low:g} to {self.high:g}, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class Duration:
    low: str
    high: str

    @property
    def words(self) -> str:
        return f"duration, {self.low} to {self.high}"

    def read(self, value: object) -> float:
        must = (
            f'must be a duration from {self.low} to {self.high}, such as "30s" or "10m", got {shown(value)}'
        )
        if not isinstance(value, str):
            raise ValueError(must)
        try:
            seconds = parse_duration(value)
        except (ValueError, OverflowError):
            raise ValueError(must) from None
        if not parse_duration(self.low) <= seconds <= parse_duration(self.high):
            raise ValueError(must)
        return seconds


@dataclass(frozen=True, slots=True)
class Size:
    low: str
    high: str

    @property
    def words(self) -> str:
        return f"size, {self.low} to {self.high}"

    def read(self, value: object) -> int:
        must = f'must be a size from {self.low} to {self.high}, such as "512MB" or "2GB", got {shown(value)}'
        if not isinstance(value, str):
            raise ValueError(must)
        try:
            size = parse_size(value)
        except (ValueError, OverflowError):
            raise ValueError(must) from None
        if not parse_size(self.low) <= size <= parse_size(self.high):
            raise ValueError(must)
        return size


_PERCENT = re.compile(r"(?P<number>[0-9]{1,6}(\.[0-9]{1,6})?) ?%")


@dataclass(frozen=True, slots=True)
class Percent:
    """A share, held as a number of which 1 is 100 %."""

    low: str
    high: str

    @property
    def words(self) -> str:
        return f"percentage, {self.low} to {self.high}"

    def read(self, value: object) -> float:
        must = f'must be a percentage from {self.low} to {self.high}, such as "5%", got {shown(value)}'
        if not isinstance(value, str):
            raise ValueError(must + _meant(value))
        share = _share(value)
        if share is None:
            raise ValueError(must + _hint(f"{value}%"))
        if not (_share(self.low) or 0.0) <= share <= (_share(self.high) or 0.0):
            raise ValueError(must)
        return share


def _meant(value: object) -> str:
    """A hint for a bare number, 5 or 0.05 for "5%"."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        return ""
    return _hint(f"{value * 100 if isinstance(value, float) and value <= 1 else value:g}%")


def _hint(percentage: str) -> str:
    return "" if _share(percentage) is None else f": write {quoted(percentage)}"


def _share(text: str) -> float | None:
    match = _PERCENT.fullmatch(text)
    return float(Decimal(match["number"]) / 100) if match else None


@dataclass(frozen=True, slots=True)
class OrFalse:
    """``inner``, or false for nothing of it; that is None in the model."""

    inner: Type
    meaning: str
    """What false says, for messages."""

    @property
    def words(self) -> str:
        return f"{self.inner.words}, or false"

    def read(self, value: object) -> object:
        if value is False:
            return None
        try:
            return self.inner.read(value)
        except ValueError as error:
            raise ValueError(f"{error} (false means: {self.meaning})") from None


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[str, ...]

    @property
    def words(self) -> str:
        return " or ".join(quoted(option) for option in self.options)

    def read(self, value: object) -> str:
        if isinstance(value, str) and value in self.options:
            return value
        hint = ""
        if isinstance(value, str) and len(value) <= 60 and nearest(value, self.options):
            hint = f"; {did_you_mean(value, self.options)}"
        raise ValueError(f"must be {self.words}, got {shown(value)}{hint}")


@dataclass(frozen=True, slots=True)
class VariableValue:
    """A value of an environment variable. It may be private, so it never stands in a message."""

    words: str = "string, whole number or true/false"
    longest: int = 32_000

    def read(self, value: object) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case int() if -LARGEST <= value <= LARGEST:
                return str(value)
            case str():
                pass
            case _:
                raise ValueError("must be a string, a whole number, true or false")
        if any(c in value for c in "\0\n\r"):
            raise ValueError("must be one line: no line break and no NUL")
        if len(value.encode()) > self.longest:
            raise ValueError(f"must be of at most {self.longest} bytes")
        return value
