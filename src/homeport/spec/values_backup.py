"""What the values of ``[backup]`` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeport.kernel.variables import is_name
from homeport.spec.values import controls, quoted, shown
from homeport.spec.variables import name_problem

_SCHEME = "secret:"
_ENDPOINT = re.compile(r"https://(?P<host>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(:(?P<port>[0-9]{1,5}))?/?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_PART = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_COLUMN = re.compile(
    rf"((?P<database>[a-z][a-z0-9-]{{0,39}}):)?((?P<schema>{_PART})\.)?(?P<table>{_PART})\.(?P<column>{_PART})"
)


@dataclass(frozen=True, slots=True)
class SecretName:
    """Which secret holds a value; held as the secret's name. What else was written is never shown: it may be
    the value."""

    such_as: str
    words: str = '"secret:NAME"'

    def read(self, value: object) -> str:
        name = value.removeprefix(_SCHEME) if isinstance(value, str) else ""
        if not isinstance(value, str) or not value.startswith(_SCHEME) or not is_name(name):
            raise ValueError(
                f'must be "secret:" and the name of a secret, such as "secret:{self.such_as}", which '
                f"`homeport secrets set {self.such_as}` sets"
            )
        if name_problem(name):
            raise ValueError(f"must name a secret of yours: {shown(name)} is reserved")
        return name


@dataclass(frozen=True, slots=True)
class MachinePath:
    """A path of the machine, as it is."""

    what: str
    such_as: str

    @property
    def words(self) -> str:
        return f"absolute path of a {self.what}"

    def read(self, value: object) -> str:
        must = (
            f"must be the absolute path of a {self.what}, such as {quoted(self.such_as)}, got {shown(value)}"
        )
        if not isinstance(value, str) or controls(value) or len(value) > 500 or not value.startswith("/"):
            raise ValueError(must)
        parts = [part for part in value.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise ValueError(must)
        return "/" + "/".join(parts)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an S3-compatible store answers. What stands before an "@" is never shown: it may be a password."""

    words: str = "https URL of a host"

    def read(self, value: object) -> str:
        if isinstance(value, str) and "@" in value:
            raise ValueError(
                'must hold no user or password: set them with `homeport secrets set`, and name them in "key" and '
                '"secret_key"'
            )
        match = _ENDPOINT.fullmatch(value.lower()) if isinstance(value, str) else None
        if match is None or not 0 < int(match["port"] or 443) < 65536:
            raise ValueError(
                'must be "https://" and a host, with or without a port, such as '
                f'"https://s3.eu-central-1.amazonaws.com", got {shown(value)}'
            )
        return match[0].rstrip("/")


@dataclass(frozen=True, slots=True)
class Bucket:
    words: str = "name of a bucket"

    def read(self, value: object) -> str:
        if isinstance(value, str) and _BUCKET.fullmatch(value) and ".." not in value:
            return value
        raise ValueError(
            'must be the name of a bucket, such as "shop-backups": 3 to 63 of a-z, 0-9, "." and "-", got '
            f"{shown(value)}"
        )


@dataclass(frozen=True, slots=True)
class Prefix:
    words: str = "path in the bucket"

    def read(self, value: object) -> str:
        text = value.strip("/") if isinstance(value, str) else ""
        is_plain = not {".", ".."} & set(text.split("/"))
        if isinstance(value, str) and len(text) <= 200 and is_plain and _PREFIX.fullmatch(text):
            return text
        raise ValueError(
            'must be a path in the bucket, such as "machines/one": letters, digits, "_", "." and "-", got '
            f"{shown(value)}"
        )


@dataclass(frozen=True, slots=True)
class Region:
    words: str = "region"

    def read(self, value: object) -> str:
        if isinstance(value, str) and _REGION.fullmatch(value):
            return value
        raise ValueError(f'must be a region, such as "eu-central-1", got {shown(value)}')


@dataclass(frozen=True, slots=True)
class Query:
    """One statement for the database to answer; how it ends is the database's to say."""

    words: str = "SQL query"
    longest: int = 4000

    def read(self, value: object) -> str:
        text = value.strip().rstrip(";").rstrip() if isinstance(value, str) else ""
        if not text or "\0" in text or len(text) > self.longest:
            raise ValueError(
                f'must be an SQL query of at most {self.longest} characters, such as "SELECT count(*) FROM orders", '
                f"got {shown(value)}"
            )
        return text


@dataclass(frozen=True, slots=True)
class MaskedColumn:
    """A column of a table; held as (database, schema and table, column)."""

    words: str = "column"

    def read(self, value: object) -> tuple[str, str, str]:
        match = _COLUMN.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                'must be a table and its column, such as "users.email" or "crm.users.email", in a database other '
                f'than main "reports:users.email", got {shown(value)}'
            )
        return match["database"] or "main", f"{match['schema'] or 'public'}.{match['table']}", match["column"]
