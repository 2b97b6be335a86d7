"""Scenarios, their phases, and what came of a drill, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LANE = "drill"
PREPARE = "prepare a twin"
BREAK = "break it"
DETECT = "detect"
CONTAIN = "contain"
RESTORE = "restore"
VERIFY = "verify"
SMOKE = "smoke test"
TIDY = "clean up"
REPORT = "write the report"
PHASES = (PREPARE, BREAK, DETECT, CONTAIN, RESTORE, VERIFY, SMOKE)
"""Each is a step in a child; cleaning up and the report come after them, whatever happened."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Seconds."""

    rpo: float = 60.0
    """Of writes that may be lost."""
    rto: float = 900.0
    """From the accident to the end of the smoke test."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    story: str
    """What happens, in one line."""
    needs_cluster: bool = True
    asks_passphrase: bool = False
    """A person may show that they have the passphrase."""
    targets: Targets = Targets()


SCENARIOS = (
    Scenario("table-dropped", "somebody drops a table; it is brought back as of the moment before"),
    Scenario("rows-corrupted", "an UPDATE without WHERE; the rows are merged back from a copy"),
    Scenario("cluster-lost", "the server is killed and its directory deleted; the newest is restored"),
    Scenario(
        "machine-lost",
        "the machine is gone; files, state and cluster come from a repository alone",
        needs_cluster=False,
        asks_passphrase=True,
        # The log's receiver is on the machine that is lost: what was not archived yet, a minute or two, is too.
        targets=Targets(rpo=300.0),
    ),
    Scenario(
        "repository-unreachable",
        "a repository does not answer; what is needed comes from another one",
        needs_cluster=False,
    ),
    Scenario(
        "passphrase-wrong",
        "a wrong passphrase is refused and named, and the right one opens",
        needs_cluster=False,
        asks_passphrase=True,
    ),
    Scenario(
        "bad-migration", "a migration fails half way, another drops a column; back by down, or restored"
    ),
    Scenario("secrets-leaked", "a database's password and the secrets' key are known: both are changed"),
)
NAMES = tuple(s.name for s in SCENARIOS)


def scenario(name: str) -> Scenario | None:
    return next((s for s in SCENARIOS if s.name == name), None)


@dataclass(frozen=True, slots=True)
class Line:
    """One phase in the timeline."""

    phase: str
    state: str
    started_at: str | None
    seconds: float
    told: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    run: str
    scenario: str
    cluster: str
    at: str
    """When it began."""
    actor: str
    passed: bool
    rpo: float | None
    """Seconds of writes that were lost; None: not known, or there are none to lose."""
    rto: float | None
    """Seconds from the accident to the end of the smoke test; None: it did not come to that."""
    targets: Targets
    timeline: tuple[Line, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    """Why it did not pass."""
    todo: tuple[str, ...] = ()
    """What people have to do better."""

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Report:
        """Raises KeyError, TypeError for what is none."""
        values = dict(document)
        values["targets"] = Targets(**values["targets"])
        values["timeline"] = tuple(Line(**{**one, "told": tuple(one["told"])}) for one in values["timeline"])
        values["wrong"], values["todo"] = tuple(values["wrong"]), tuple(values["todo"])
        return cls(**values)
