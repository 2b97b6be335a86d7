"""The list that teams keep by hand, before and after a deployment, from what the stages found. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homeport.rollout.pipeline.model import Approval, Placed, StageRun, StageState
from homeport.spec.model import Stage

State = Literal["ok", "failed", "missing", "not there", "waiting"]
AUDITS = ("audit", "osv-scanner", "safety", "trivy", "grype", "bandit", "govulncheck")
"""Words in the name or command of a check by which it is an audit."""


@dataclass(frozen=True, slots=True)
class Item:
    name: str
    state: State
    """ok; failed; missing: wanted and not there; not there: this app has none of it; waiting: not yet known."""
    detail: str
    moment: Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the stages do not tell."""

    variable_problems: tuple[str, ...] = ()
    """Why the environment's configuration does not fit."""
    serving: str | None = None
    """The release that serves, or served when the deploy began."""
    figures: Mapping[str, Any] | None = None
    """How the new release's trial stands: ``outcome`` and ``reasons``."""


def checklist(
    stages: Sequence[Placed], runs: Sequence[StageRun], approvals: Sequence[Approval], facts: Facts
) -> tuple[Item, ...]:
    """The items for the environment that the run deploys to last."""
    by_position = {r.position: r for r in runs}

    def of(kind: str, environment: str | None = None) -> list[tuple[Stage, StageRun | None]]:
        return [
            (p.stage, by_position.get(p.position))
            for p in stages
            if p.stage.kind == kind and environment in (None, p.stage.environment)
        ]

    deploys = of("deploy")
    target = deploys[-1][0].environment if deploys else None
    checks = [(c, run) for stage, run in of("check") for c in stage.checks]
    audits = [(c, run) for c, run in checks if _is_audit(f"{c.name} {c.command}")]
    tests = [(c, run) for c, run in checks if (c, run) not in audits]
    budgets = [(stage, run) for stage, run in of("build") if stage.budgets]
    deployed = deploys[-1][1] if deploys else None
    found = [
        _of_checks("tests green", [(c.name, run) for c, run in tests], "before"),
        _of_checks("audit clean", [(c.name, run) for c, run in audits], "before"),
        _of_stages("budgets met", budgets, "before"),
        Item(
            "variables present",
            "missing" if facts.variable_problems else "ok",
            "; ".join(facts.variable_problems),
            "before",
        ),
        _migrations(of("approve", target)),
        Item("backup fresh", "not there", "no backups yet", "before"),
        Item("rollback target present", "ok", facts.serving, "before")
        if facts.serving
        else Item("rollback target present", "not there", "nothing serves yet", "before"),
    ]
    found += _people(stages, by_position, approvals)
    found += [
        _one("health", deployed, "after"),
        _of_stages("smoke", of("smoke", target) or of("smoke"), "after"),
        _figures("error rate", facts, deployed),
        _against_before(facts, deployed),
    ]
    return tuple(found)


def _is_audit(text: str) -> bool:
    return any(word in text.lower() for word in AUDITS)


def _of_checks(
    name: str, checks: Sequence[tuple[str, StageRun | None]], moment: Literal["before", "after"]
) -> Item:
    """An item by single checks of stages; each stage tells of its checks under ``details.checks``."""
    if not checks:
        return Item(name, "not there", "no check for it", moment)
    failed, waiting = [], []
    for check, run in checks:
        if run is None or not run.state.ended:
            waiting.append(check)
            continue
        told = {
            c.get("name"): c for c in run.found.get("details", {}).get("checks", ()) if isinstance(c, dict)
        }
        ok = told[check].get("ok") if check in told else run.state is StageState.PASSED
        if not ok:
            failed.append(check)
    if failed:
        return Item(name, "failed", ", ".join(failed), moment)
    if waiting:
        return Item(name, "waiting", ", ".join(waiting), moment)
    return Item(name, "ok", ", ".join(check for check, _ in checks), moment)


def _of_stages(
    name: str, stages: Sequence[tuple[Stage, StageRun | None]], moment: Literal["before", "after"]
) -> Item:
    if not stages:
        return Item(name, "not there", "no stage for it", moment)
    items = [_one(name, run, moment) for _, run in stages]
    for state in ("failed", "waiting"):
        for item in items:
            if item.state == state:
                return item
    return items[-1]


def _one(name: str, run: StageRun | None, moment: Literal["before", "after"]) -> Item:
    if run is None or not run.state.ended:
        return Item(name, "waiting", "", moment)
    if run.state is StageState.PASSED:
        return Item(name, "ok", run.name, moment)
    return Item(name, "failed", run.reason, moment)


def _migrations(gates: Sequence[tuple[Stage, StageRun | None]]) -> Item:
    """By what the trial said when the last gate before the deploy opened."""
    name = "migrations tried"
    if not gates:
        return Item(name, "not there", "no gate to try them at", "before")
    run = gates[-1][1]
    if run is None:
        return Item(name, "waiting", "", "before")
    what = run.found.get("what")
    reports = what.get("migrations", ()) if isinstance(what, Mapping) else ()
    if not reports:
        return Item(name, "not there", "no database with migrations", "before")
    told = [(r["database"], *_tried(r)) for r in reports]
    states = [state for _, state, _ in told]
    worst: State = "failed" if "failed" in states else "not there" if "not there" in states else "ok"
    return Item(name, worst, "; ".join(f"{d}: {words}" for d, s, words in told if s == worst), "before")


def _tried(report: Mapping[str, Any]) -> tuple[State, str]:
    """Of one database."""
    if report.get("failure") is not None:
        return "failed", str(report["failure"]["sentence"])
    stopped = [f["filename"] for f in report.get("findings", ()) if f["stops"]]
    if stopped:
        return "failed", f"{stopped[0]} would be refused"
    if report.get("note"):
        return "not there", str(report["note"])
    pending = len(report.get("pending", ()))
    if report.get("how") == "tool":
        return "ok", "its own tool"
    return "ok", f"{pending} of them" if pending else "nothing is pending"


def _figures(name: str, facts: Facts, deployed: StageRun | None) -> Item:
    if deployed is None or not deployed.state.ended:
        return Item(name, "waiting", "", "after")
    if not facts.figures:
        return Item(name, "not there", "no figures were compared", "after")
    outcome = str(facts.figures.get("outcome", ""))
    told = "; ".join(str(r) for r in facts.figures.get("reasons") or [])
    if outcome == "rolled back" or deployed.state is not StageState.PASSED:
        return Item(name, "failed", told or outcome, "after")
    if outcome == "promoted":
        return Item(name, "ok", told or outcome, "after")
    # Too little traffic says neither good nor bad.
    state: State = "waiting" if outcome == "forming" else "not there"
    return Item(name, state, ": ".join(filter(None, (outcome, told))), "after")


def _against_before(facts: Facts, deployed: StageRun | None) -> Item:
    """As the error rate stands, where there was a release before to compare with."""
    name = "figures against before"
    figures = (facts.figures or {}).get("figures")
    compared = isinstance(figures, Mapping) and bool(figures.get("stable_requests"))
    if deployed is not None and deployed.state.ended and facts.figures and not compared:
        return Item(name, "not there", "no requests to a release before", "after")
    return _figures(name, facts, deployed)


def _people(
    stages: Sequence[Placed], runs: Mapping[int, StageRun], approvals: Sequence[Approval]
) -> list[Item]:
    found = []
    for placed in stages:
        if placed.stage.kind != "approve":
            continue
        run = runs.get(placed.position)
        said = [a for a in approvals if run and (a.position, a.attempt) == (run.position, run.attempt)]
        for text in placed.stage.items:
            by = next((a.person for a in said if text in a.ticked), None)
            found.append(Item(text, "ok" if by else "waiting", f"ticked by {by}" if by else "", "before"))
        state: State = "waiting"
        detail = ""
        if said:
            state = "ok" if said[0].approved else "failed"
            detail = f"{'approved' if said[0].approved else 'rejected'} by {said[0].person}: {said[0].reason}"
        elif run is not None and run.state.ended:
            state, detail = ("ok" if run.state is StageState.PASSED else "failed"), run.reason
        found.append(Item(f"{placed.stage.name}", state, detail, "before"))
    return found
