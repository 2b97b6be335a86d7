"""Which gates a run has to pass, by the commit's own pipeline and by what serves. Pure.

A commit cannot take away the gate that it would have to pass: what *serves* an environment counts as well.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from homeport.kernel.ids import EnvironmentName
from homeport.rollout.pipeline.model import Placed
from homeport.spec.model import Spec, Stage
from homeport.spec.pipelines import APPROVAL_TIMEOUT, default_name, stages_of, unlike


def required(serving: Spec | None, spec: Spec, environment: EnvironmentName) -> bool:
    """Whether a deploy to an environment needs a person's approval.

    ``serving`` is the whole spec of the release that serves the environment, ``spec`` that of the new one.
    """
    return any(s is not None and bool(s.for_environment(environment).gate) for s in (serving, spec))


def placed(
    stages: Sequence[Stage],
    spec: Spec,
    serving: Mapping[EnvironmentName, Spec],
    waiting: Container[int] = (),
) -> tuple[Placed, ...]:
    """The stages of a run in order, with the gates that what serves asks for.

    ``stages`` are those of the commit's pipeline, ``serving`` the whole specs of what serves, by environment,
    ``waiting`` the positions of gates that wait now: they stay, whatever begins to serve.
    """
    found: list[Placed] = []
    for index, stage in enumerate(stages):
        position = 2 * index + 1
        if stage.kind == "approve":
            target = _guarded(stages, index)
            guards = None if target is None else 2 * target + 1
            environment = stage.environment or (stages[target].environment if target is not None else None)
            before = _approval(serving.get(environment), environment) if environment else None
            found.append(Placed(position, _stricter(replace(stage, environment=environment), before), guards))
            continue
        environment = stage.environment
        if (
            stage.kind == "deploy"
            and environment is not None
            and not _is_guarded(stages, index)
            and (required(serving.get(environment), spec, environment) or position - 1 in waiting)
        ):
            before = _approval(serving.get(environment), environment)
            name = unlike([s.name for s in stages], default_name("approve", environment))
            timeout = before.timeout if before else APPROVAL_TIMEOUT
            own = Stage("approve", name, environment, timeout=timeout)
            found.append(Placed(position - 1, _stricter(own, before), position))
        found.append(Placed(position, stage))
    return tuple(found)


def _guarded(stages: Sequence[Stage], index: int) -> int | None:
    """The deploy that an approve stage lets through: the next one, when it is to its environment."""
    wanted = stages[index].environment
    for later in range(index + 1, len(stages)):
        if stages[later].kind == "deploy":
            return later if wanted in (None, stages[later].environment) else None
    return None


def _is_guarded(stages: Sequence[Stage], index: int) -> bool:
    return any(
        stage.kind == "approve" and _guarded(stages, earlier) == index
        for earlier, stage in enumerate(stages[:index])
    )


def _approval(serving: Spec | None, environment: EnvironmentName) -> Stage | None:
    """The approve stage before an environment in the pipeline of what serves it."""
    stages = stages_of(serving) if serving is not None else ()
    for index, stage in enumerate(stages):
        if stage.kind == "approve":
            target = _guarded(stages, index)
            if environment in (stage.environment, stages[target].environment if target is not None else None):
                return stage
    return None


def _stricter(stage: Stage, serving: Stage | None) -> Stage:
    """What both ask for. Where no person is in both lists, the list of what serves holds."""
    if serving is None:
        return stage
    if not serving.people:
        people = stage.people
    else:
        people = tuple(p for p in serving.people if p in stage.people) or serving.people
    items = (*stage.items, *(i for i in serving.items if i not in stage.items))
    return replace(stage, people=people, own=stage.own and serving.own, items=items)
