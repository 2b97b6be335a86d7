"""The steps of a restore. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeport.backup.model import Step
from homeport.backup.restores.model import Place

HOLD = "hold writers"
BACK = "roll the release back"
COPY = "restore a copy of the cluster"
TAKE = "take the database out of it"
SWITCH = "switch to it"
RELEASE = "let writers go on"
TIDY = "remove the copy"
PLACE = "put it in the cluster's place"
AGREE = "let logins agree with the secrets"
BESIDE = "take the tables out of it"
FILES = "put the files in their place"
RESTART = "restart what uses them"
MERGE = "bring rows over"
COMPARE = "compare with what serves"


def copying(place: Place, target: Mapping[str, Any], repository: str, needs: Sequence[str] = ()) -> Step:
    request = {"cluster": place.cluster, "run": place.run, "target": dict(target), "repository": repository}
    return Step(COPY, "restore-copy", request, needs=tuple(needs))


def tidying(place: Place, *, switches: bool) -> Step:
    return Step(TIDY, "restore-tidy", {"place": place.document(), "switches": switches}, always=True)


def in_place(
    place: Place,
    target: Mapping[str, Any],
    repository: str,
    why: Mapping[str, Any],
    *,
    hold: bool,
    rollback: str = "",
) -> tuple[Step, ...]:
    """Writers are held before the copy is made: it is the newest that they wrote.

    ``rollback``: a release that goes back first, since it is known to work with the schema of both, and since what
    is wrong with the one after it writes no more from then on.
    """
    document = place.document()
    steps: list[Step] = []
    if rollback:
        steps.append(Step(BACK, "here:restore-rollback", {"release": rollback}))
    if hold:
        steps.append(Step(HOLD, "here:restore-hold", needs=(BACK,) if rollback else ()))
    first = (HOLD,) if hold else (BACK,) if rollback else ()
    steps += [
        copying(place, target, repository, first),
        Step(TAKE, "restore-take", {"place": document}, needs=(COPY,)),
        Step(SWITCH, "restore-switch", {"place": document, "why": dict(why)}, needs=(TAKE,)),
    ]
    if hold:
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return (*steps, tidying(place, switches=True))


def looking(place: Place, target: Mapping[str, Any], repository: str) -> tuple[Step, ...]:
    """What would be lost: a copy is made to find out, and removed."""
    return (
        copying(place, target, repository),
        Step(COMPARE, "restore-compare", {"place": place.document()}, needs=(COPY,)),
        tidying(place, switches=False),
    )


def beside(
    place: Place, target: Mapping[str, Any], repository: str, tables: Sequence[str]
) -> tuple[Step, ...]:
    """Tables into a schema of their own; what serves stays as it is."""
    request = {"place": place.document(), "tables": list(tables)}
    return (
        copying(place, target, repository),
        Step(BESIDE, "restore-tables", request, needs=(COPY,)),
        tidying(place, switches=False),
    )


def whole(
    cluster: str, run: str, target: Mapping[str, Any], repository: str, *, synchronous: bool, hold: bool
) -> tuple[Step, ...]:
    """A cluster with all that is in it. Passwords of then are made those of now before anybody is let in."""
    of = {"cluster": cluster, "run": run}
    steps = [Step(HOLD, "here:restore-hold")] if hold else []
    copy = {**of, "target": dict(target), "repository": repository}
    steps += [
        Step(COPY, "restore-copy", copy, needs=(HOLD,) if hold else ()),
        Step(PLACE, "restore-place", {**of, "synchronous": synchronous}, needs=(COPY,)),
        Step(AGREE, "here:restore-agree", of, needs=(PLACE,)),
    ]
    if hold:
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return (*steps, Step(TIDY, "restore-tidy-cluster", of, always=True))


def files(request: Mapping[str, Any], *, hold: bool, restart: bool) -> tuple[Step, ...]:
    """Files; instances are restarted since they may have the former ones open."""
    steps = [Step(HOLD, "here:restore-hold")] if hold else []
    steps.append(Step(FILES, "restore-files", request, needs=(HOLD,) if hold else ()))
    if restart:
        steps.append(Step(RESTART, "here:restore-restart", needs=(FILES,)))
    if hold:
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return tuple(steps)
