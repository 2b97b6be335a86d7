"""Runs and their steps, as frozen values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

RUN = re.compile(r"b-[0-9a-f]{10}")
"""A run's id."""
RUNNING = "running"
PASSED = "passed"
FAILED = "failed"
CANCELLED = "cancelled"
RECOVERED = "homeport recover"
"""Who asks for the end of a run that a recovered state tells of as under way. Its end is known by then: the moment
when that state was backed up."""
WAITING = "waiting"
SKIPPED = "skipped"
PROOFS = ("prove", "prove-files", "prove-dump")
"""Works whose result is a proof."""
COPIES = ("cluster", "files", "dump")
"""Works whose result says what was made in each repository."""
MAKING = "backup"
"""The lane of what writes into repositories."""
STATE = "state"
"""The kind and the lane of what keeps Homeport's own state between backups of everything."""
RETURNING = "restore"
"""The lane of what brings back."""


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of a run's work. It may be cut off anywhere and is then done again."""

    name: str
    work: str
    """Of ``works.WORKS``, in a child; or ``here:`` and what the control plane does itself."""
    request: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Steps without which it makes no sense: it is skipped where one of them did not pass. A proof needs no more than
    that one of them made what is in its own repository."""
    always: bool = False
    """Done even where a step before failed, or the run was cancelled: it puts things back."""
    state: str = WAITING
    started_at: str | None = None
    finished_at: str | None = None
    seconds: float = 0.0
    progress: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: Mapping[str, Any] | None = None
    """{"code", "sentence", "hint", "details"}; beside a result where a part of it was done."""

    @property
    def is_over(self) -> bool:
        return self.state not in (WAITING, RUNNING)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "work": self.work,
            "request": dict(self.request),
            "needs": list(self.needs),
            "always": self.always,
            "state": self.state,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": self.seconds,
            "progress": dict(self.progress),
            "result": self.result,
            "error": dict(self.error) if self.error else None,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Step:
        return cls(**{**document, "needs": tuple(document["needs"])})


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    kind: str
    """"backup", "state", "prove", "restore", "clone" or "drill"."""
    subject: str
    """What it is about: "all", "shop production", …"""
    lane: str
    request: Mapping[str, Any]
    actor: str
    state: str
    steps: tuple[Step, ...]
    cancel: str
    """Who asked for its end; "": nobody."""
    started_at: datetime
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state != RUNNING

    @property
    def made_any(self) -> bool:
        """Whether some repository has something of it."""
        return any(s.work in COPIES and s.result and s.result.get("made") for s in self.steps)

    @property
    def reason(self) -> str:
        """What went wrong, in one line."""
        if wrong := [s for s in self.steps if s.state == FAILED]:
            return reason_of(wrong)
        if self.state != CANCELLED:
            return ""
        if self.cancel:
            return _why_cancelled(self.cancel)
        return reason_of([s for s in self.steps if s.state == CANCELLED][:1])

    def step(self, name: str) -> Step:
        """Raises KeyError."""
        return next((s for s in self.steps if s.name == name), None) or _none(name)

    def with_step(self, step: Step) -> Run:
        return replace(self, steps=tuple(step if s.name == step.name else s for s in self.steps))

    def result_of(self, name: str) -> Any:
        """What a step that passed gave; None where it did not."""
        found = next((s for s in self.steps if s.name == name), None)
        return found.result if found is not None and found.state == PASSED else None


def _none(name: str) -> Step:
    raise KeyError(name)


def next_step(run: Run) -> tuple[Step, str] | None:
    """What to do next, and how: "do" or "skip" or "cancel"; None when all is over. Pure."""
    known = {s.name: s for s in run.steps}
    for step in run.steps:
        if step.is_over:
            continue
        if step.always:
            return step, "do"
        if run.cancel:
            return step, "cancel"
        if not all(need in known and _is_met(known[need], step) for need in step.needs):
            return step, "skip"
        return step, "do"
    return None


def _is_met(need: Step, step: Step) -> bool:
    if need.state == PASSED:
        return True
    if need.state != FAILED or step.work not in PROOFS or need.work not in COPIES or not need.result:
        return False
    return any(made["repository"] == step.request["repository"] for made in need.result["made"])


def outcome(run: Run) -> str:
    """Of a run all of whose steps are over."""
    states = [s.state for s in run.steps]
    if FAILED in states:
        return FAILED
    return CANCELLED if CANCELLED in states else PASSED


def _why_cancelled(by: str) -> str:
    return "it was under way when this state was backed up" if by == RECOVERED else f"cancelled by {by}"


def reason_of(wrong: Sequence[Step]) -> str:
    """Why one step or more failed, in one line."""
    first = str((wrong[0].error or {}).get("sentence", "it failed"))
    more = f"; {len(wrong) - 1} more failed" if len(wrong) > 1 else ""
    return f"{wrong[0].name}: {first}{more}"


def judged(step: Step) -> Step:
    """A proof that failed is a step that failed; so is a backup that one of several repositories does not have. Its
    result says which have it."""
    if step.work in COPIES and step.result and "error" in step.result:
        left = {k: v for k, v in step.result.items() if k != "error"}
        return replace(step, state=FAILED, result=left, error=step.result["error"])
    if step.work not in PROOFS or not step.result:
        return step
    found = step.result
    wrong = [*found["failures"], *found.get("undecided", ())]
    if not wrong:
        return step
    told = {
        "code": "backup.not_proven",
        "sentence": wrong[0],
        "hint": "older backups may be proven: homeport backup list; make a new one: homeport backup run --full",
        "details": wrong[1:],
    }
    return replace(step, state=FAILED, error=told)
