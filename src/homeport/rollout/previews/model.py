"""Previews: environments of branches, with a time to live."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from homeport.kernel.ids import AppName, EnvironmentName
from homeport.spec.model import PREVIEW

MAX_NAME = 25
"""Characters of a preview's name: with what stands before it, it is still the name of an environment."""


@dataclass(frozen=True, slots=True)
class Preview:
    """One preview as it stands in the state."""

    app: AppName
    environment: EnvironmentName
    name: str
    branch: str
    commit: str
    actor: str
    """Who made it."""
    created_at: datetime
    expires_at: datetime
    """From then on it is taken away."""
    used_at: datetime
    """When it was deployed, or had a request, last; up to a minute late."""
    asleep: bool
    """Its instances are stopped until a request comes."""

    @property
    def key(self) -> tuple[AppName, EnvironmentName]:
        return self.app, self.environment


class PreviewState(Enum):
    """What people are told of a preview."""

    STARTING = "starting"
    """Nothing serves yet, and a change is at it."""
    SERVING = "serving"
    ASLEEP = "asleep"
    WAKING = "waking"
    FAILED = "failed"
    """Nothing serves: its deploy failed, its instances are down, or they did not wake."""
    REMOVING = "removing"


def environment_of(name: str) -> EnvironmentName:
    """The environment of a preview with this name."""
    return EnvironmentName(f"{PREVIEW}{name}")
