"""Recoveries rehearsed: by hand and by the clock, measured, their reports kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from homeport.backup.drills import plan
from homeport.backup.drills import report as reports
from homeport.backup.drills.errors import BAD_SCHEDULE, MISSED, NO_CLUSTER, NOT_ASKED, UNKNOWN, UNKNOWN_REPORT
from homeport.backup.drills.model import LANE, NAMES, SCENARIOS, Report, Scenario, Targets, scenario
from homeport.backup.drills.records import Reports, reports_directory
from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.model import FAILED, Run, Step
from homeport.backup.port import WantedCluster, least
from homeport.backup.service import Backups, Told
from homeport.journal.store import text_time
from homeport.rollout.backups.timetable import Timetable
from homeport.rollout.parts import Parts
from homeport.spec.read_backup import WORDS
from homeport.spec.schedule import Schedule


class Drills:
    """Every call may come from any thread. By the clock they begin from :attr:`timetable`."""

    def __init__(self, parts: Parts, backups: Backups) -> None:
        self._parts = parts
        self._backups = backups
        self.reports = Reports(parts.state.store)
        self.timetable = Timetable(parts, backups, self.reports, self.rehearse)
        backups.here["drill-report"] = self._report

    def rehearse(
        self,
        name: str,
        *,
        cluster: str = "",
        rpo: float | None = None,
        rto: float | None = None,
        passphrase: str = "",
        actor: str,
        id: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Run:
        """Begin a drill. ``passphrase`` is tried at once and not kept; ``check`` raises what is in its way.

        Targets that are not given are those of ``[backup]``, or the scenario's.

        Raises ``drill.unknown_scenario``, ``drill.no_cluster``, ``backup.no_repositories``, ``.run_under_way``.
        """
        if id is not None and (known := self._backups.runs.find(id)) is not None:
            return known
        chosen = scenario(name)
        if chosen is None:
            raise UNKNOWN.error(
                f"cannot rehearse {name[:60]!r}: there is no such scenario", hint=f"one of {', '.join(NAMES)}"
            )
        if not self._backups.repositories.ready():
            raise NO_REPOSITORIES.error(
                "cannot rehearse a recovery: nothing is backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        found = self._cluster(chosen, cluster)
        has = self._has(chosen, passphrase)
        asked = self._targets(found)
        targets = Targets(
            next(t for t in (rpo, asked[0], chosen.targets.rpo) if t is not None),
            next(t for t in (rto, asked[1], chosen.targets.rto) if t is not None),
        )
        of = found.name if found else ""
        request = {"scenario": name, "cluster": of, "targets": asdict(targets), "passphrase": has}
        steps = plan.steps(name, of, found.questions if found else (), has)
        return self._backups.begin("drill", name, LANE, request, steps, actor=actor, id=id, check=check)

    def _targets(self, cluster: WantedCluster | None) -> tuple[float | None, float | None]:
        """(RPO, RTO) as ``[backup]`` has them; without a cluster the lowest of all."""
        if cluster is not None:
            return cluster.rpo, cluster.rto
        schedules = self._backups.wanted().schedules
        return least(b.rpo for b in schedules), least(b.rto for b in schedules)

    def _cluster(self, chosen: Scenario, name: str) -> WantedCluster | None:
        clusters = self._backups.wanted().clusters
        found = next((c for c in clusters if c.name == name or not name), None)
        if found is None and (name or chosen.needs_cluster):
            there = ", ".join(c.name for c in clusters)
            raise NO_CLUSTER.error(
                f"cannot rehearse {chosen.name}: there is no cluster{f' {name[:40]!r}' if name else ''}",
                hint=f"there are: {there}" if there else "a [database.main] in homeport.toml brings one",
            )
        return found

    def _has(self, chosen: Scenario, passphrase: str) -> str:
        if not passphrase:
            return ""
        if not chosen.asks_passphrase:
            asking = ", ".join(s.name for s in SCENARIOS if s.asks_passphrase)
            raise NOT_ASKED.error(
                f"cannot use a passphrase in {chosen.name}: it does not ask for one", hint=f"{asking} do"
            )
        return str(self._backups.ask("drill-passphrase", {"passphrase": passphrase})["passphrase"])

    def report_files(self, run: str) -> dict[str, bytes]:
        """The report of a drill as Markdown and as PDF, by suffix. Raises ``drill.unknown_report``."""
        report = self.reports.get(run)
        directory = reports_directory(self._parts.data_dir)
        paths = {suffix: directory / f"{report.run}.{suffix}" for suffix in ("md", "pdf")}
        if not all(path.is_file() for path in paths.values()):
            self._backups.ask("drill-write", {"report": report.document()})
        try:
            return {suffix: path.read_bytes() for suffix, path in paths.items()}
        except OSError as e:
            raise UNKNOWN_REPORT.error(f"cannot read the report of {run}: {e.strerror}") from e

    # The schedule

    def set_schedule(self, line: str, *, actor: str) -> None:
        """``line``: daily, weekly or monthly, or as cron has it, in UTC; "" is none. Raises ``drill.bad_schedule``."""
        if line in WORDS:
            line = f"@{line}"
        if line:
            try:
                Schedule(line)
            except ValueError as e:
                raise BAD_SCHEDULE.error(
                    f"cannot make drills at {line[:80]!r}: {e}",
                    hint='daily, weekly or monthly; or such as "0 5 * * 0", Sundays at 5',
                ) from None
        self.reports.set_schedule(line, actor=actor)

    # The step of the control plane's own

    def _report(self, run: Run, step: Step, told: Told) -> Any:
        """Kept and written. Raises ``drill.targets_missed`` where nothing else failed."""
        report = reports.of(run, text_time(run.started_at))
        self.reports.keep(report)
        self._backups.ask("drill-write", {"report": report.document()})
        if not report.passed and not run.cancel and all(s.state != FAILED for s in run.steps):
            raise MISSED.error(
                f"cannot call {report.scenario} passed: its steps did, and it missed its target: {report.wrong[0]}",
                hint=f"homeport drill show {run.id}",
                details=report.wrong[1:],
            )
        return summary(report)


def summary(report: Report) -> dict[str, Any]:
    return {"passed": report.passed, "rpo": report.rpo, "rto": report.rto}
