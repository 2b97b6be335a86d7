"""What there is to be backed up: clusters and storage of what serves, and what homeport.toml asks of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from homeport.backup.files.plan import sources
from homeport.backup.port import (
    Rates,
    Wanted,
    WantedCluster,
    WantedDrills,
    WantedDump,
    WantedFiles,
    least,
    slowest,
    together,
)
from homeport.rollout.data.wanted import sqlite_file
from homeport.rollout.model import Environment
from homeport.rollout.parts import Parts
from homeport.spec.model import PREVIEW
from homeport.spec.model_backup import Backup, Keep, ProofQuery

Asked = dict[tuple[str, str], Backup | None]
"""By app and environment."""


class DataOwners:
    """Reaches no server. Previews are not backed up: they are made from what is."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def wanted(self) -> Wanted:
        asked: Asked = {(e.app, e.name): self._asked(e) for e in self._environments()}
        dumps = self._dumps()
        return Wanted(
            clusters=self._clusters(asked),
            files=self._files(asked),
            dumps=dumps,
            schedules=self._schedules(asked, dumps),
            drills=self._drills(asked),
        )

    def _schedules(self, asked: Asked, dumps: tuple[WantedDump, ...]) -> tuple[Backup, ...]:
        """Of those that ask for one. Who has something to be backed up and asks for nothing has the defaults."""
        stored = {(r.app, r.environment) for r in self._parts.stores.state.databases() if r.state == "ready"}
        stored |= {(d.app, d.environment) for d in dumps}
        stored |= {of for of in asked if self._has_storage(*of)}
        return tuple(b or Backup() for of, b in asked.items() if b is not None or of in stored)

    def _has_storage(self, app: str, environment: str) -> bool:
        return (self._parts.data_dir / "storage" / app / environment).is_dir()

    def _environments(self) -> list[Environment]:
        return [e for e in self._parts.state.environments() if not e.name.startswith(PREVIEW)]

    def _asked(self, environment: Environment) -> Backup | None:
        if environment.serving is None:
            return None
        return self._parts.spec(environment.app, environment.name, environment.serving).backup

    def _clusters(self, asked: Asked) -> tuple[WantedCluster, ...]:
        state = self._parts.stores.state
        found = []
        for cluster in state.clusters():
            if cluster.state != "ready":
                continue
            rows = [r for r in state.databases() if r.cluster == cluster.name and r.state == "ready"]
            if not rows:
                continue
            backups = [b for r in rows if (b := asked.get((r.app, r.environment))) is not None]
            questions = [
                {
                    "name": f"{r.app}.{r.environment}.{q.name}",
                    "database": r.database,
                    "sql": q.query,
                    "expect": q.expect,
                    "role": r.owner,
                }
                for r in rows
                for q in _questions(asked.get((r.app, r.environment)))
                if q.database == r.name
            ]
            found.append(
                WantedCluster(
                    cluster.name,
                    together([b.keep for b in backups]),
                    max((b.window for b in backups), default=Backup().window),
                    any(b.synchronous for b in backups),
                    tuple(questions),
                    slowest(backups),
                    least(b.rpo for b in backups),
                    least(b.rto for b in backups),
                )
            )
        return tuple(found)

    def _drills(self, asked: Asked) -> tuple[WantedDrills, ...]:
        rows = self._parts.stores.state.databases()
        of = {(r.app, r.environment): r.cluster for r in reversed(rows) if r.state == "ready"}
        return tuple(
            WantedDrills(
                app, environment, b.drill, b.timezone, b.drill_scenarios, of.get((app, environment)) or ""
            )
            for (app, environment), b in asked.items()
            if b is not None and b.drill
        )

    def _dumps(self) -> tuple[WantedDump, ...]:
        found: list[WantedDump] = []
        for e in self._environments():
            if e.serving is None:
                continue
            spec = self._parts.spec(e.app, e.name, e.serving)
            keep = spec.backup.keep if spec.backup is not None else Keep()
            found += [
                WantedDump(
                    e.app,
                    e.name,
                    d.name,
                    d.url,
                    keep,
                    tuple(asdict(q) for q in _questions(spec.backup) if q.database == d.name),
                    slowest([spec.backup] if spec.backup is not None else ()),
                )
                for d in spec.databases
                if d.engine == "postgresql" and d.url
            ]
        return tuple(found)

    def _files(self, asked: Asked) -> tuple[WantedFiles, ...]:
        keeps: dict[str, Keep] = {
            f"{app}.{environment}": b.keep for (app, environment), b in asked.items() if b is not None
        }
        rates: dict[str, Rates] = {
            f"{app}.{environment}": slowest([b]) for (app, environment), b in asked.items() if b is not None
        }
        own = together(list(keeps.values()))
        of_all = slowest(b for b in asked.values() if b is not None)
        here = [of for of in asked if self._has_storage(*of)]
        asks = {f"{e.app}.{e.name}": self._of_sqlite(e) for e in self._environments()}
        return tuple(
            WantedFiles(s, keeps.get(s.series, own), rates.get(s.series, of_all), asks.get(s.series, ()))
            for s in sources(here)
        )

    def _of_sqlite(self, e: Environment) -> tuple[dict[str, Any], ...]:
        """Questions to files in the environment's storage."""
        if e.serving is None:
            return ()
        spec = self._parts.spec(e.app, e.name, e.serving)
        files = {
            d.name: Path(*sqlite_file(spec, d, self._parts.storage(e.app, e.name, spec)))
            for d in spec.databases
            if d.engine == "sqlite"
        }
        return tuple(
            {"path": str(files[q.database].relative_to(self._parts.data_dir)), "query": asdict(q)}
            for q in _questions(spec.backup)
            if q.database in files
        )


def _questions(backup: Backup | None) -> tuple[ProofQuery, ...]:
    return backup.proof if backup is not None else ()
