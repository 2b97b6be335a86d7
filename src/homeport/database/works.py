"""What a child can be asked to do, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeport.database import works_looking, works_migrations, works_schemas, works_trial
from homeport.kernel.clock import Clock

Say = Callable[[str, Mapping[str, Any]], None]
Work = Callable[[Mapping[str, Any], Say, Clock], Any]
"""(request, say, clock) to a result, both of them JSON. ``say`` tells what happens meanwhile."""

WORKS: dict[str, Work] = {
    "look": works_migrations.look,
    "migrate": works_migrations.migrate,
    "undo": works_migrations.undo,
    "tool": works_migrations.tool,
    "plan": works_schemas.planned,
    "verify": works_schemas.verify,
    "repair": works_schemas.repair,
    "dump": works_schemas.dump,
    "check": works_schemas.check,
    "lint": works_schemas.linted,
    "trial": works_trial.trial,
    "trial-tool": works_trial.trial_tool,
    "servers": works_looking.servers,
    "sizes": works_looking.sizes,
    "insight": works_looking.insight,
    "snapshot": works_looking.snapshot,
    "upkeep": works_looking.upkeep,
}
