"""``[pipeline]`` and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeport.kernel.ids import EnvironmentName
from homeport.spec.keys_pipeline import (
    BUDGET,
    BUDGET_SIZE,
    CHECK,
    KINDS_OF,
    PIPELINE,
    REQUEST,
    STAGE,
)
from homeport.spec.locate import Path
from homeport.spec.model import STAGES, Budget, Check, Pipeline, Route, SmokeRequest, Stage
from homeport.spec.pipelines import APPROVAL_TIMEOUT, default_name, unlike
from homeport.spec.reading import Reading, Values
from homeport.spec.routes import ANY_HOST
from homeport.spec.values import ShellLine, quoted, shown
from homeport.spec.values_pipeline import CheckName, FilePattern, word_of

MOST_STAGES = 50
MOST_CHECKS = 100
MOST_BUDGETS = 100
MOST_REQUESTS = 200
"""Each in all stages together."""

_WITH_ENVIRONMENT = KINDS_OF["environment"]


@dataclass(frozen=True, slots=True)
class Around:
    """What stages may name."""

    default: EnvironmentName | None
    """The environment that ``[app]`` names; None where that is in doubt."""
    environments: tuple[str, ...]
    """The declared ones."""
    routes: Mapping[str, tuple[Route, ...] | None]
    """Of each environment that can be deployed to; None where they are in doubt."""


@dataclass(slots=True)
class _Draft:
    path: Path
    data: Values
    values: dict[str, Any]
    kind: str = ""
    """ "" where it is in doubt."""
    environment: EnvironmentName | None = None
    """None where there is none, or it is in doubt."""
    requests: tuple[tuple[Path, SmokeRequest], ...] = ()
    checks: tuple[Check, ...] = ()
    budgets: tuple[Budget, ...] = ()
    name: str = ""


def read_pipeline(reading: Reading, document: Values, around: Around) -> Pipeline:
    """The pipeline as the file has it; each stage that is for an environment names it."""
    data = reading.table(document, (PIPELINE,))
    values = reading.keys(PIPELINE, (PIPELINE,), data)
    drafts = [
        _draft(reading, path, stage)
        for path, stage in reading.elements(data, (PIPELINE, "stage"), "stages", MOST_STAGES)
    ]
    _bound(reading, data, drafts)
    _place(reading, around, drafts)
    for draft in drafts:
        _check_hosts(reading, around, draft)
    _check_order(reading, drafts)
    _name(reading, drafts)
    return Pipeline(stages=tuple(map(_stage, drafts)), **values)


def _draft(reading: Reading, path: Path, data: Values) -> _Draft:
    kind = data.get("kind")
    alien = [key for key, kinds in KINDS_OF.items() if key in data and kind in STAGES and kind not in kinds]
    for key in alien:
        reading.problems.add(
            (*path, key),
            f"is for {_either(KINDS_OF[key])}, and the kind of this stage is {quoted(str(kind))}",
        )
    data = {key: value for key, value in data.items() if key not in alien}
    values = reading.keys(STAGE, path, data)
    draft = _Draft(path, data, values, kind=values.pop("kind", ""))
    if not reading.required(("kind",), path, data):
        return draft
    if draft.kind == "check":
        if reading.required(("commands",), path, data):
            draft.checks = _checks(reading, (*path, "commands"), data["commands"])
    elif draft.kind == "build":
        draft.budgets = _budgets(reading, path, data)
    elif draft.kind in KINDS_OF["requests"]:
        draft.requests = _requests(reading, path, data)
        if draft.kind == "smoke" and "requests" not in data and "command" not in data:
            reading.problems.add(path, 'needs "requests", a "command" or both')
    return draft


def _either(words: tuple[str, ...]) -> str:
    *most, last = map(quoted, words)
    return f"{', '.join(most)} or {last}" if most else last


def _checks(reading: Reading, path: Path, value: object) -> tuple[Check, ...]:
    if isinstance(value, str):
        checks = [_check(reading, path, "", value)]
    elif isinstance(value, dict) and value:
        checks = [_check(reading, (*path, name), name, inner) for name, inner in value.items()]
    else:
        such_as = '{ lint = "ruff check .", tests = "pytest -q" }'
        got = "an empty one" if value == {} else shown(value)
        reading.problems.add(
            path, f"must be a shell command, or a table of them by name, such as {such_as}, got {got}"
        )
        return ()
    return tuple(check for check in checks if check is not None)


def _check(reading: Reading, path: Path, name: str, value: object) -> Check | None:
    """``name`` is "" for one that is called by its first word. None when it cannot be read."""
    try:
        if name:
            CheckName().read(name)
        if not isinstance(value, dict):
            line = ShellLine().read(value)
            return Check(name or word_of(line), line)
    except ValueError as error:
        reading.problems.add(path, str(error))
    if not isinstance(value, dict):
        return None
    values = reading.keys(CHECK, path, value)
    fits = reading.required(("command",), path, value) and "command" in values
    return Check(name, **values) if fits else None


def _budgets(reading: Reading, stage: Path, data: Values) -> tuple[Budget, ...]:
    path = (*stage, "budgets")
    table = reading.table(data, path)
    budgets = (_budget(reading, (*path, pattern), value) for pattern, value in table.items())
    return tuple(budget for budget in budgets if budget is not None)


def _budget(reading: Reading, path: Path, value: object) -> Budget | None:
    try:
        pattern = FilePattern().read(path[-1])
        if not isinstance(value, dict):
            return Budget(pattern, BUDGET_SIZE.read(value))
    except ValueError as error:
        reading.problems.add(path, str(error))
        return None
    values = reading.keys(BUDGET, path, value)
    fits = reading.required(("most",), path, value) and "most" in values
    return Budget(pattern, **values) if fits else None


def _requests(reading: Reading, stage: Path, data: Values) -> tuple[tuple[Path, SmokeRequest], ...]:
    path = (*stage, "requests")
    if data.get("requests") == []:
        reading.problems.add(path, 'must hold a request, such as { path = "/health" }')
    found = (
        (place, _request(reading, place, table))
        for place, table in reading.elements(data, path, "requests", MOST_REQUESTS)
    )
    return tuple((place, request) for place, request in found if request is not None)


def _request(reading: Reading, path: Path, data: Values) -> SmokeRequest | None:
    values = reading.keys(REQUEST, path, data)
    if "json" in values:
        values["expect_json"] = values.pop("json")
    fits = reading.required(("path",), path, data) and "path" in values
    return SmokeRequest(**values) if fits else None


def _bound(reading: Reading, data: Values, drafts: list[_Draft]) -> None:
    """How much there may be in all stages together."""
    counts = (
        ("commands", MOST_CHECKS, sum(len(draft.checks) for draft in drafts)),
        ("budgets", MOST_BUDGETS, sum(len(draft.budgets) for draft in drafts)),
        ("requests", MOST_REQUESTS, sum(len(draft.requests) for draft in drafts)),
    )
    for what, most, count in counts:
        if count > most:
            reading.problems.add(
                (PIPELINE, "stage"), f"have {count:,} {what} in all; at most {most} are possible"
            )


def _place(reading: Reading, around: Around, drafts: list[_Draft]) -> None:
    """Give each stage the environment that it is for."""
    known = tuple(dict.fromkeys((*around.environments, *filter(None, (around.default,)))))
    for draft in drafts:
        named = draft.values.pop("environment", None)
        if named is not None and named not in known and around.default is not None:
            reading.problems.add(
                (*draft.path, "environment"),
                f"no environment {shown(named)} in this file{reading.guess(named, known)}",
            )
        elif named is not None:
            draft.environment = EnvironmentName(named)
        elif draft.kind == "deploy" and "environment" not in draft.data:
            draft.environment = around.default
    in_doubt = any(not draft.kind for draft in drafts)
    for n, draft in enumerate(drafts):
        if draft.kind not in _WITH_ENVIRONMENT or "environment" in draft.data or draft.kind == "deploy":
            continue
        before = [other for other in reversed(drafts[:n]) if other.kind == "deploy"]
        after = [other for other in drafts[n:] if other.kind == "deploy"]
        meant = (after or before) if draft.kind == "approve" else before
        if meant:
            draft.environment = meant[0].environment
        elif not in_doubt:
            where = 'a "deploy" stage' if draft.kind == "approve" else 'a "deploy" stage before it'
            reading.problems.add(draft.path, f'needs {where}, or an "environment"')


def _check_hosts(reading: Reading, around: Around, draft: _Draft) -> None:
    """Requests stay with the app: each is for a host that leads to it."""
    routes = around.routes.get(draft.environment) if draft.environment else None
    if routes is None:
        return
    hosts = tuple(dict.fromkeys(route.host for route in routes))
    if not hosts and draft.requests:
        reading.problems.add(
            (*draft.path, "requests"),
            f"have nowhere to go: no route leads to {quoted(draft.environment or '')}",
        )
    elif hosts and ANY_HOST not in hosts:
        for path, request in draft.requests:
            if request.host and request.host not in hosts:
                reading.problems.add(
                    (*path, "host"),
                    f"no route of {quoted(draft.environment or '')} is for {shown(request.host)}"
                    f"{reading.guess(request.host, hosts)}",
                )


def _check_order(reading: Reading, drafts: list[_Draft]) -> None:
    builds = [n for n, draft in enumerate(drafts) if draft.kind == "build"]
    for n in builds[1:]:
        reading.problems.add(
            drafts[n].path, f"is a second build: {reading.place(drafts[builds[0]].path)} makes the release"
        )
    for draft in drafts[: builds[0]] if builds else ():
        if draft.kind == "deploy":
            place = reading.place(drafts[builds[0]].path)
            reading.problems.add(draft.path, f"must come after the build, which is {place}")


def _name(reading: Reading, drafts: list[_Draft]) -> None:
    """Give each stage a name that no other one has."""
    taken: dict[str, _Draft] = {}
    for draft in drafts:
        draft.name = draft.values.pop("name", "")
        if not draft.name:
            continue
        other = taken.setdefault(draft.name, draft)
        if other is not draft:
            place = reading.place((*other.path, "name"))
            reading.problems.add((*draft.path, "name"), f"is the same as {place}")
    for draft in drafts:
        if not draft.name:
            draft.name = unlike(taken, default_name(draft.kind, draft.environment))
            taken[draft.name] = draft


def _stage(draft: _Draft) -> Stage:
    values = dict(draft.values)
    if draft.kind == "approve":
        values.setdefault("timeout", APPROVAL_TIMEOUT)
    return Stage(
        draft.kind,
        draft.name,
        environment=draft.environment,
        checks=draft.checks,
        budgets=draft.budgets,
        requests=tuple(request for _, request in draft.requests),
        **values,
    )
