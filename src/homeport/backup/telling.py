"""Progress of long work, told not too often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeport.backup.files import model as files_model
from homeport.backup.physical.model import Progress
from homeport.kernel.clock import Clock

EVERY = 0.5
"""Seconds."""
Say = Callable[[str, Mapping[str, Any]], None]


def telling(clock: Clock, say: Say) -> Callable[[str, Progress], None]:
    """Of a cluster."""
    tell = _sometimes(clock, say)
    return lambda repository, p: tell(repository, p.done, p.total, p.rate)


def telling_files(clock: Clock, say: Say) -> Callable[[files_model.Progress], None]:
    tell = _sometimes(clock, say)
    return lambda p: tell(p.repository, p.bytes, p.total_bytes, p.rate)


def _sometimes(clock: Clock, say: Say) -> Callable[[str, int, int, float], None]:
    last = -EVERY

    def tell(repository: str, done: int, total: int, rate: float) -> None:
        nonlocal last
        now = clock.monotonic()
        if now - last >= EVERY or done == total:
            last = now
            say("progress", {"repository": repository, "done": done, "total": total, "rate": round(rate)})

    return tell
