"""The steps of a drill, and which is due. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from homeport.backup.drills.model import NAMES, PHASES, REPORT, TIDY
from homeport.backup.model import Step
from homeport.spec.schedule import Schedule


def steps(
    scenario: str, cluster: str, questions: Sequence[Mapping[str, Any]], passphrase: str
) -> tuple[Step, ...]:
    """``passphrase``: "", "right" or "wrong", as a person who was asked had it."""
    request = {"scenario": scenario, "cluster": cluster, "passphrase": passphrase}
    found: list[Step] = []
    for phase in PHASES:
        more = {"questions": [dict(q) for q in questions]} if phase == PHASES[-1] else {}
        needs = (found[-1].name,) if found else ()
        found.append(Step(phase, "drill", {**request, **more, "phase": phase}, needs=needs))
    found.append(Step(TIDY, "drill-tidy", {"cluster": cluster}, always=True))
    found.append(Step(REPORT, "here:drill-report", always=True))
    return tuple(found)


def next_scenario(last: Mapping[str, datetime], possible: Sequence[str] = NAMES) -> str:
    """That which was rehearsed longest ago; those that never were come first, in their order."""
    never = [name for name in possible if name not in last]
    return never[0] if never else min(possible, key=lambda name: last[name])


def is_due(line: str, since: datetime, now: datetime) -> bool:
    """``since``: when the schedule was set, or a drill began by it."""
    return bool(Schedule(line).due(since, now, most=1))
