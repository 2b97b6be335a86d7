"""Progress of long work, told not too often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeport.backup.physical.model import Progress
from homeport.kernel.clock import Clock

EVERY = 0.5
"""Seconds."""


def telling(clock: Clock, say: Callable[[str, Mapping[str, Any]], None]) -> Callable[[str, Progress], None]:
    last = -EVERY

    def tell(repository: str, p: Progress) -> None:
        nonlocal last
        now = clock.monotonic()
        if now - last >= EVERY or p.done == p.total:
            last = now
            say(
                "progress",
                {"repository": repository, "done": p.done, "total": p.total, "rate": round(p.rate)},
            )

    return tell
