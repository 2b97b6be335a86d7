"""What the values of keys about canaries and pipelines may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from homeport.spec.routes import Host
from homeport.spec.values import LARGEST, Percent, UrlPath, controls, quoted, shown

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_CHECK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_URL = re.compile(r"https?://(?P<place>[^/?]*).*", re.DOTALL)
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:]*)(:(?P<port>[0-9]{1,5}))?")

PLACEHOLDERS = ("{release}", "{side}")
"""What may stand in the URL of a signal for what is asked about."""

OWN_HEADERS = ("connection", "content-length", "te", "trailer", "transfer-encoding", "upgrade")
"""Headers of a request that Homeport sets itself."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Rising shares of the requests. Held with 100 % as the last one, whether or not that is written."""

    words: str = "array of rising percentages"
    most: int = 20

    def read(self, value: object) -> tuple[float, ...]:
        if not isinstance(value, list) or not value:
            got = "an empty one" if value == [] else shown(value)
            raise ValueError(f'must be an array of percentages, such as ["5%", "25%", "100%"], got {got}')
        if len(value) > self.most:
            raise ValueError(f"must be at most {self.most} percentages, got {len(value):,}")
        shares: list[float] = []
        for item in value:
            share = Percent("0%", "100%").read(item)
            if share <= (shares[-1] if shares else 0.0):
                raise ValueError(f"must rise from above 0% to at most 100%, got {shown(item)} in it")
            shares.append(share)
        return tuple(shares) if shares[-1] == 1.0 else (*shares, 1.0)


@dataclass(frozen=True, slots=True)
class SignalUrl:
    """Where a signal is asked for: an address with its scheme, and nothing secret in it."""

    words: str = "URL"
    longest: int = 2000

    def read(self, value: object) -> str:
        match = _URL.fullmatch(value) if isinstance(value, str) else None
        if not isinstance(value, str) or match is None:
            raise ValueError(
                f'must be a URL, such as "https://metrics.example.com/rate?release={{release}}", got {shown(value)}'
            )
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        if not value.isascii() or controls(value) or " " in value or "#" in value or "\\" in value:
            raise ValueError(
                'must hold no spaces, control characters, "#", "\\" or letters beyond ASCII (write %20 and the like), '
                f"got {shown(value)}"
            )
        rest = value
        for placeholder in PLACEHOLDERS:
            rest = rest.replace(placeholder, "")
        if "{" in rest or "}" in rest:
            known = " and ".join(PLACEHOLDERS)
            raise ValueError(f"must hold no braces but those of {known}, got {shown(value)}")
        self._check_place(match["place"])
        return value

    def _check_place(self, place: str) -> None:
        if "@" in place:
            raise ValueError(
                "must hold no user and password: they do not belong into this file; use a command that reads them "
                "from a secret"
            )
        match = _PLACE.fullmatch(place)
        if match is None or (match["port"] is not None and not 1 <= int(match["port"]) <= 65535):
            raise ValueError(
                f'must name a host, and maybe a port, such as "metrics.example.com:9090", got {shown(place)}'
            )
        if not match["host"].startswith("["):
            Host().read(match["host"])


@dataclass(frozen=True, slots=True)
class JsonPath:
    """Names of keys and numbers of elements, parted by dots."""

    words: str = "JSON path"
    longest: int = 200

    def read(self, value: object) -> str:
        if not isinstance(value, str) or controls(value) or not all(value.split(".")):
            raise ValueError(f'must be a JSON path, such as "data.orders.0.rate", got {shown(value)}')
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        return value


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value that can be compared with one of a JSON answer."""

    words: str = "string, number or true/false"

    def read(self, value: object) -> str | int | float | bool:
        match value:
            case bool() | str():
                return value
            case int() if -LARGEST <= value <= LARGEST:
                return value
            case float() if isfinite(value):
                return value
            case dict():
                raise ValueError(
                    "must be a string, a number, true or false, got a table: a path with dots stands in quotes, "
                    'such as "order.id" = 1'
                )
        raise ValueError(f"must be a string, a number, true or false, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class AppPath:
    """The path of a request to the app itself, with its query."""

    words: str = "URL path"

    def read(self, value: object) -> str:
        if isinstance(value, str) and (value.startswith(("//", "/\\")) or "://" in value.partition("?")[0]):
            raise ValueError(
                'must be a path of the app that begins with one "/", without scheme and host, such as "/health", '
                f"got {shown(value)}"
            )
        path = UrlPath().read(value)
        if "\\" in path:
            raise ValueError(f'must hold no "\\" (write %5C), got {shown(path)}')
        return path


@dataclass(frozen=True, slots=True)
class HeaderName:
    sent: bool
    """Whether it is sent, rather than expected in an answer."""

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not _HEADER.fullmatch(value):
            raise ValueError(
                'must be the name of a header, such as "Content-Type"; one with other than letters, digits and "-" '
                "stands in quotes"
            )
        if self.sent and value.lower() == "host":
            raise ValueError('must not be among the headers: write host = "…" in the request')
        if self.sent and value.lower() in OWN_HEADERS:
            raise ValueError("must not be among the headers: Homeport sets it itself")
        return value


@dataclass(frozen=True, slots=True)
class HeaderValue:
    words: str = "text"
    longest: int = 4000

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value.isascii() or controls(value):
            raise ValueError(
                f"must be text in quotes without control characters and letters beyond ASCII, got {shown(value)}"
            )
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        return value.strip()


@dataclass(frozen=True, slots=True)
class LongText:
    """Text of any number of lines, up to so many bytes in UTF-8."""

    longest: int
    empty: bool = False
    """Whether it may be empty."""

    @property
    def words(self) -> str:
        return f"text, at most {self.longest:,} bytes"

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be text in quotes, got {shown(value)}")
        if not value and not self.empty:
            raise ValueError("must not be empty: leave the key out")
        if len(value.encode()) > self.longest:
            raise ValueError(f"must be of at most {self.longest:,} bytes, got {len(value.encode()):,}")
        return value


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text that is not empty, kept for people to read."""

    longest: int

    @property
    def words(self) -> str:
        return f"text, at most {self.longest} characters"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be text in quotes, got {shown(value)}")
        if len(value) > self.longest:
            raise ValueError(f"must be of at most {self.longest} characters, got {len(value)}")
        if not value.isprintable():
            raise ValueError(f"must be one line without control characters, got {shown(value)}")
        return value.strip()


@dataclass(frozen=True, slots=True)
class CheckName:
    """What a command of a stage is called."""

    words: str = "name"

    def read(self, value: object) -> str:
        if isinstance(value, str) and _CHECK.fullmatch(value):
            return value
        raise ValueError(
            'must be a name of at most 40 letters, digits, "-" and "_", a letter or digit first, such as lint'
        )


@dataclass(frozen=True, slots=True)
class FilePattern:
    """Which files of a release are meant: relative to its top, with ``*`` and ``**``."""

    words: str = "pattern of files"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 500:
            raise ValueError(f'must be a pattern of files, such as "dist/**/*.js", got {shown(value)}')
        parts = value.split("/")
        if value.startswith(("/", "~")) or "\\" in value or ".." in parts or not all(parts):
            raise ValueError(
                f'must be relative to the top of the release, without "..", "\\" and empty parts, got {shown(value)}'
            )
        if any("**" in part and part != "**" for part in parts):
            raise ValueError(
                f'must have "**" as a whole part, such as {quoted("dist/**/*.js")}, got {shown(value)}'
            )
        return value


def word_of(line: str) -> str:
    """What a shell line is called by its first word: ``.venv/bin/pytest -q`` is "pytest"."""
    first = line.split()[0].rpartition("/")[2]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", first).strip("-_")[:40]
    return name if _CHECK.fullmatch(name) else "command"
