"""Which stages hold for an app, whether or not its file names any. Pure."""

from __future__ import annotations

from collections.abc import Container

from homeport.spec.model import Spec, Stage

APPROVAL_TIMEOUT = 7 * 86400.0
"""Seconds that an ``approve`` stage waits where it does not say."""


def stages_of(spec: Spec) -> tuple[Stage, ...]:
    """The stages that a commit passes: those of the file, else a build and a deploy to the default environment.

    Before each deploy to an environment with a gate there is an ``approve`` stage for that environment: where
    the file has none between that deploy and the one before it, a plain one. ``spec`` is the app's own.
    """
    default = spec.default_environment
    stages = spec.pipeline.stages or (
        Stage("build", "build"),
        Stage("deploy", default_name("deploy", default), default),
    )
    names = {stage.name for stage in stages}
    result: list[Stage] = []
    approved: set[str | None] = set()
    """The environments with an approval since the last deploy."""
    for stage in stages:
        if stage.kind == "approve":
            approved.add(stage.environment)
        elif stage.kind == "deploy":
            name = stage.environment or default
            if spec.for_environment(name).gate == "approval" and name not in approved:
                label = unlike(names, default_name("approve", name))
                names.add(label)
                result.append(Stage("approve", label, name, timeout=APPROVAL_TIMEOUT))
            approved.clear()
        result.append(stage)
    return tuple(result)


def default_name(kind: str, environment: str | None) -> str:
    """What a stage is called that has no name: "deploy staging"."""
    return f"{kind} {environment}" if environment else kind


def unlike(taken: Container[str], name: str) -> str:
    """``name``, with a number behind it where it is taken: "check 2"."""
    result, n = name, 1
    while result in taken:
        n += 1
        result = f"{name} {n}"
    return result
