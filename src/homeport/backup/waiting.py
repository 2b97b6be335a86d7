"""Waiting for another piece of work on the same cluster or files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from homeport.backup.files.errors import WORKING
from homeport.backup.physical.errors import BUSY
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

PATIENCE = 3600.0
"""Seconds to wait for a proof, a restore or a backup of the same."""
AGAIN = 0.5
SELDOM = 5.0
"""Seconds between two tries, at first and in the end."""
T = TypeVar("T")


Say = Callable[[str, Mapping[str, Any]], None]


def _nobody(kind: str, values: Mapping[str, Any]) -> None:
    return None


def patiently(clock: Clock, work: Callable[[], T], say: Say = _nobody, *, patience: float = PATIENCE) -> T:
    """Do it as soon as nobody else is at it; ``say`` tells that it waits.

    Raises what it raises, and ``backup.busy`` when that takes more than ``patience`` seconds.
    """
    began = clock.monotonic()
    deadline = began + patience
    while True:
        try:
            return work()
        except HomeportError as e:
            if e.type not in (BUSY, WORKING) or clock.monotonic() > deadline:
                raise
            say("progress", {"waits": e.sentence})
        clock.sleep(min(SELDOM, AGAIN + (clock.monotonic() - began) / 10))
