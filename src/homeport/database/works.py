"""What a child can be asked to do, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeport.database import works_migrations
from homeport.kernel.clock import Clock

Say = Callable[[str, Mapping[str, Any]], None]
Work = Callable[[Mapping[str, Any], Say, Clock], Any]
"""(request, say, clock) to a result, both of them JSON. ``say`` tells what happens meanwhile."""

WORKS: dict[str, Work] = {
    "look": works_migrations.look,
    "migrate": works_migrations.migrate,
    "undo": works_migrations.undo,
    "tool": works_migrations.tool,
}
