"""Secrets as people see them: never their values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Secret:
    """The newest version of a secret of an environment."""

    name: str
    version: int
    actor: str
    created_at: datetime
    source: str = ""
    """Where it was read from, when not given by hand: "file:…" or "command:…"."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a change of keys sealed anew."""

    secrets: int
    """All versions of all secrets."""
    documents: int
    """Files of instances that hold sealed values."""
