"""Instances: what is asked for and what is seen."""

from dataclasses import dataclass
from enum import Enum

from homeport.kernel.ids import InstanceName


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """All that is needed to start one instance, now or after a reboot."""

    name: InstanceName
    command: str
    """A shell line."""
    directory: str
    environment: tuple[tuple[str, str], ...]
    """Complete: nothing is inherited from Homeport. Holds ``PORT`` where ``port`` is set."""
    port: int | None = None
    user: str | None = None
    memory: int | None = None
    cpu: float | None = None
    stop_grace: float = 10.0
    secrets: tuple[tuple[str, str], ...] = ()
    """More variables, each value sealed (:mod:`homeport.system.seal`): opened only as the process starts."""


class InstanceState(Enum):
    STARTING = "starting"
    """Its process was just started (younger than one second)."""
    RUNNING = "running"
    BACKOFF = "backoff"
    """It ended, and is started again after a pause."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """It ended and will not be started again by itself."""
    ORPHANED = "orphaned"
    """It runs, but the supervisor that started it is gone: to be replaced."""


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """One instance as observed."""

    name: InstanceName
    state: InstanceState
    pid: int | None = None
    since: float = 0.0
    """Seconds it has been in this state."""
    exit: str = ""
    """How its process last ended: "status 1", "signal 9 (SIGKILL)", ""."""
    known: bool = True
    """Its supervisor has it. Else it was only written down: whoever was about to start it was cut off."""
