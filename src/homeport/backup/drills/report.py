"""What came of a drill, and how people read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from homeport.backup.drills.model import BREAK, PHASES, REPORT, SMOKE, TIDY, Line, Report, Targets, scenario
from homeport.backup.model import PASSED, Run, Step
from homeport.kernel.units import format_duration

PERSON = {
    "drill.no_other_repository": "Add a second repository, at another place: homeport backup repository add",
    "drill.wrong_passphrase": (
        "Find the right passphrase, or set another one at once, while this machine is there: "
        "homeport backup passphrase"
    ),
    "drill.smoke_failed": "Look why the app's own questions ([backup.proof]) are not answered on a restored copy",
    "backup.no_space": "Make room: a restore needs as much disk as the cluster, a drill twice that",
}
"""By the code of what went wrong."""


def of(run: Run, at: str) -> Report:
    """``at``: when the run began, as text. The report's own step is not in it."""
    targets = Targets(**run.request["targets"])
    figures: dict[str, Any] = {}
    todo: list[str] = []
    wrong: list[str] = []
    for step in run.steps:
        found = _result(step)
        figures.update(found.get("figures", {}))
        todo += found.get("todo", [])
        if step.error is not None and step.name != REPORT:
            wrong.append(f"{step.name}: {step.error['sentence']}")
            todo += [PERSON[step.error["code"]]] if step.error["code"] in PERSON else []
    phases = {s.name: s for s in run.steps}
    if run.cancel:
        wrong.append(f"cancelled by {run.cancel}")
    rto = _between(phases[BREAK].finished_at, phases[SMOKE].finished_at)
    if phases[SMOKE].state != PASSED:
        rto = None
    rpo = figures.get("rpo")
    if rto is not None and rto > targets.rto:
        wrong.append(f"back after {format_duration(rto)}, {format_duration(targets.rto)} wanted")
        todo.append(
            "Be back sooner: the timeline says which phase took long; or want less: [backup] rto, --rto"
        )
    if rpo is not None and rpo > targets.rpo:
        wrong.append(
            f"{format_duration(rpo)} of writes were lost, at most {format_duration(targets.rpo)} wanted"
        )
        todo.append("Lose less: [backup] synchronous = true, or have repositories nearer")
    passed = not wrong and all(phases[p].state == PASSED for p in (*PHASES, TIDY))
    return Report(
        run=run.id,
        scenario=run.request["scenario"],
        cluster=run.request["cluster"],
        at=at,
        actor=run.actor,
        passed=passed,
        rpo=rpo,
        rto=rto,
        targets=targets,
        timeline=tuple(_line(s) for s in run.steps if s.name != REPORT),
        figures={k: v for k, v in figures.items() if k != "rpo"},
        wrong=tuple(wrong),
        todo=tuple(dict.fromkeys(todo)),
    )


def _result(step: Step) -> Mapping[str, Any]:
    return step.result if isinstance(step.result, Mapping) else {}


def _line(step: Step) -> Line:
    error = str((step.error or {}).get("sentence", ""))
    return Line(
        step.name, step.state, step.started_at, step.seconds, tuple(_result(step).get("told", ())), error
    )


def _between(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def outcome(report: Report) -> tuple[tuple[str, str, str, str], ...]:
    """(what, measured, target, met) for each of the two."""
    rows = []
    for what, measured, target in (
        ("RPO: writes lost", report.rpo, report.targets.rpo),
        ("RTO: until it answered again", report.rto, report.targets.rto),
    ):
        shown = format_duration(measured) if measured is not None else "not measured"
        met = "" if measured is None else "met" if measured <= target else "missed"
        rows.append((what, shown, format_duration(target), met))
    return tuple(rows)


def title(report: Report) -> str:
    return f"Drill {report.scenario}: {'passed' if report.passed else 'failed'}"


def about(report: Report) -> str:
    known = scenario(report.scenario)
    of_ = f" of cluster {report.cluster}" if report.cluster else ""
    story = f"{known.story}. " if known else ""
    return (
        f"{story[:1].upper()}{story[1:]}Rehearsed on a twin{of_}, beside production, by {report.actor}, "
        f"{report.at[:19].replace('T', ' ')} UTC ({report.run})."
    )


def figures(report: Report) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", " "), _shown(value)) for name, value in report.figures.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown(report: Report) -> str:
    lines = [f"# {title(report)}", "", about(report), ""]
    lines += ["| | measured | target | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in outcome(report)]
    if report.wrong:
        lines += ["", "## What went wrong", "", *(f"- {_cell(w)}" for w in report.wrong)]
    lines += ["", "## Timeline", "", "| began (UTC) | phase | took | | |", "|---|---|---|---|---|"]
    for line in report.timeline:
        said = "; ".join(line.told) or line.error
        lines.append(
            f"| {clock(line)} | {line.phase} | {format_duration(line.seconds)} | {line.state} | {_cell(said)} |"
        )
    if report.figures:
        lines += ["", "## Figures", "", "| | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in figures(report)]
    lines += ["", "## What people have to do", ""]
    lines += [f"- {_cell(t)}" for t in report.todo] or [f"{nothing(report)}."]
    return "\n".join(lines) + "\n"


def nothing(report: Report) -> str:
    """What people have to do where nothing is known that they could do better."""
    if report.passed:
        return "Nothing: the machine did all of it"
    return f"Mend what went wrong, then rehearse it again: homeport drill {report.scenario}"


def clock(line: Line) -> str:
    return line.started_at[11:19] if line.started_at else ""


def _cell(text: str) -> str:
    """Names come from the app's database: they may hold anything."""
    return "".join(c if c.isprintable() else " " for c in text).replace("|", "\\|")
