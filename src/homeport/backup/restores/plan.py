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
SCHEMA = "note which migrations it lacks"
AGREE = "let logins agree with the secrets"
BESIDE = "take the tables out of it"
FILES = "put the files in their place"
TIDY_FILES = "remove what was only beside"
RESTART = "restart what uses them"
MERGE = "bring rows over"
COMPARE = "compare with what serves"
DUMP = "load the dump beside it"
TIDY_DUMP = "remove what is left of it"


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
        Step(SCHEMA, "here:restore-schema", needs=(SWITCH,)),
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


def looking_at_all(cluster: str, run: str, target: Mapping[str, Any], repository: str) -> tuple[Step, ...]:
    """What the return of a cluster would lose: a copy is made to find out, and removed."""
    of = {"cluster": cluster, "run": run}
    return (
        Step(COPY, "restore-copy", {**of, "target": dict(target), "repository": repository}),
        Step(COMPARE, "restore-compare-cluster", of, needs=(COPY,)),
        Step(TIDY, "restore-tidy-look", of, always=True),
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


def _dump_tidying(place: Place, dump: Mapping[str, Any], *, switches: bool) -> Step:
    request = {**dump, "place": place.document(), "switches": switches}
    return Step(TIDY_DUMP, "restore-dump-tidy", request, always=True)


def dump_in_place(
    place: Place, dump: Mapping[str, Any], why: Mapping[str, Any], *, hold: bool
) -> tuple[Step, ...]:
    """A database that somebody else runs, out of a dump; as :func:`in_place`, without a copy of its server."""
    request = {**dump, "place": place.document()}
    steps = [Step(HOLD, "here:restore-hold")] if hold else []
    steps += [
        Step(DUMP, "restore-dump-take", request, needs=(HOLD,) if hold else ()),
        Step(SWITCH, "restore-dump-switch", {**request, "why": dict(why)}, needs=(DUMP,)),
        Step(SCHEMA, "here:restore-schema", needs=(SWITCH,)),
        _dump_tidying(place, dump, switches=True),
    ]
    if hold:
        # Where it did not come to a switch, what served lets everybody in again before writers go on.
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return tuple(steps)


def dump_looking(place: Place, dump: Mapping[str, Any], problems: Sequence[str]) -> tuple[Step, ...]:
    """``problems``: what stands in the way of a return, told with what it would lose."""
    request = {**dump, "problems": list(problems)}
    return (
        Step(COMPARE, "restore-dump-compare", request),
        _dump_tidying(place, dump, switches=False),
    )


def dump_beside(place: Place, dump: Mapping[str, Any], tables: Sequence[str]) -> tuple[Step, ...]:
    """Tables of a dump into a schema of their own; what serves stays as it is."""
    request = {**dump, "place": place.document(), "tables": list(tables)}
    return (
        Step(BESIDE, "restore-dump-tables", request),
        _dump_tidying(place, dump, switches=False),
    )


def whole(
    cluster: str, run: str, target: Mapping[str, Any], repository: str, *, synchronous: bool, hold: bool
) -> tuple[Step, ...]:
    """A cluster with all that is in it. Passwords of then are made those of now before anybody is let in."""
    of = {"cluster": cluster, "run": run, "synchronous": synchronous}
    steps = [Step(HOLD, "here:restore-hold")] if hold else []
    copy = {**of, "target": dict(target), "repository": repository}
    steps += [
        Step(COPY, "restore-copy", copy, needs=(HOLD,) if hold else ()),
        Step(PLACE, "restore-place", of, needs=(COPY,)),
        Step(AGREE, "here:restore-agree", of, needs=(PLACE,)),
    ]
    if hold:
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return (*steps, Step(TIDY, "restore-tidy-cluster", of, always=True))


def looking_at_files(request: Mapping[str, Any]) -> tuple[Step, ...]:
    """Which files a return would change."""
    return (Step(COMPARE, "restore-files-look", request),)


def files(request: Mapping[str, Any], *, hold: bool, restart: bool) -> tuple[Step, ...]:
    """Files; instances are restarted since they may have the former ones open."""
    steps = [Step(HOLD, "here:restore-hold")] if hold else []
    steps.append(Step(FILES, "restore-files", request, needs=(HOLD,) if hold else ()))
    if restart:
        steps.append(Step(RESTART, "here:restore-restart", needs=(FILES,)))
    # Where it did not pass, what was there comes back before anybody writes again.
    steps.append(Step(TIDY_FILES, "restore-files-tidy", request, always=True))
    if hold:
        steps.append(Step(RELEASE, "here:restore-release", always=True))
    return tuple(steps)
