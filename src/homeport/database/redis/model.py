"""A Redis server for each cache of each environment: what it is called, and what it is to be."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from homeport.kernel.ids import AppName, EnvironmentName
from homeport.kernel.secret import Secret

OLDEST = 7
"""The first major version whose users can be given single subcommands."""
LONGEST_SERVICE = 120
"""Characters of the name of a program that runs beside apps."""
ADMIN = "homeport"
"""The user that Homeport itself logs in as. No app's user is called so: those have a dot."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which cache it is. Names hold no dots, so the joined ones tell them apart."""

    app: AppName
    environment: EnvironmentName
    cache: str

    @property
    def directory(self) -> str:
        return f"{self.app}.{self.environment}.{self.cache}"

    @property
    def service(self) -> str:
        name = f"redis.{self.directory}"
        if len(name) <= LONGEST_SERVICE:
            return name
        return f"{name[: LONGEST_SERVICE - 11]}-{sha256(name.encode()).hexdigest()[:10]}"

    @property
    def user(self) -> str:
        """Whom the app logs in as."""
        return f"{self.app}.{self.environment}"


@dataclass(frozen=True, slots=True)
class Settings:
    port: int
    memory: int
    """Bytes."""
    persistent: bool


@dataclass(frozen=True, slots=True)
class Access:
    """SHA-256 of passwords, in hex; that is all that a server and its files know of them."""

    admin: str
    app: tuple[str, ...]
    """Every one of them is valid: while a password is changed, the old and the new."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A cache that answers. ``variable`` is where the app finds ``url``."""

    name: str
    variable: str
    url: Secret


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """A cache as observed now."""

    app: AppName
    environment: EnvironmentName
    name: str
    port: int | None
    """None: its configuration cannot be read."""
    running: bool
    used: int | None
    """Bytes that its keys take; None when it does not answer."""
    limit: int | None
    keys: int | None
    persistent: bool | None
    """Of a running one."""
