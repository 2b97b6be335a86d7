"""Looks at databases: each in a child, so that what that takes is gone when it ends."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.database import machine, urls
from homeport.database.errors import UNKNOWN
from homeport.database.model import Layout
from homeport.database.sizing import UPKEEP
from homeport.database.worker import Worker
from homeport.journal import schema_databases as tables
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data import known
from homeport.rollout.data.known import Known
from homeport.rollout.parts import Parts
from homeport.system import process

NOT_FOR_SQLITE = declare(
    "rollout.not_for_sqlite",
    Kind.CONFLICT,
    "What was asked for is for PostgreSQL, and the database is SQLite.",
)
LOOK_WITHIN = 60.0
INSIGHT_WITHIN = 300.0
AT_ONCE = 4
"""Looks; each takes some 40 MB."""
MONTH = timedelta(days=30)

_S = tables.database_sizes.c


@dataclass(frozen=True, slots=True)
class Standing:
    """A database as observed just now; None is not known."""

    known: Known
    state: str
    """ready, held, down, making, dropping, coming; "kept" of one that nothing uses."""
    bytes: int | None = None
    used: int | None = None
    """Connections at the server."""
    allowed: int | None = None
    clients: int | None = None
    """Connections at the pooler."""
    waiting: int | None = None
    version: int | None = None
    where: str = ""
    problem: str = ""


class Looks:
    """Every call may come from any thread. Nothing here changes a database."""

    def __init__(self, parts: Parts, worker: Worker) -> None:
        self._parts = parts
        self._worker = worker
        self._mark = f"-{secrets.token_hex(4)}"
        """In the names of children of this control plane."""
        self._few = threading.BoundedSemaphore(AT_ONCE)

    def all_of(self, app: AppName | None = None) -> tuple[Standing, ...]:
        """Every database with how it is, each server asked once."""
        parts = self._parts
        found = known.all_of(parts, app)
        clusters = {c.name: c for c in parts.stores.state.clusters()}
        wanted = {k.row.cluster for k in found if k.row is not None}
        request: dict[str, Any] = {"servers": {}, "poolers": {}, "attached": {}}
        for name in sorted(wanted & set(clusters)):
            cluster, where = clusters[name], Layout(parts.data_dir, name)
            request["servers"][name] = urls.admin(where, cluster)
            if known.service(parts, cluster.pooler_service) is not None:
                request["poolers"][name] = urls.console(where, cluster, machine.ourselves())
        problems = {}
        for k in found:
            if k.kind == "attached":
                try:
                    request["attached"][k.key] = known.url_of(parts, k)
                except HomeportError as e:
                    problems[k.key] = e.sentence
        empty: dict[str, dict[str, Any]] = {"servers": {}, "poolers": {}, "attached": {}}
        answer = empty
        if any(request.values()):
            answer = self._worker.run("servers", request, name=f"look.{id(request)}", timeout=LOOK_WITHIN)
        return tuple(_standing(k, answer, problems.get(k.key, "")) for k in found)

    def sizes(self, app: AppName, environment: EnvironmentName, name: str | None) -> dict[str, Any]:
        """Of every table with its indexes: see :func:`homeport.database.works_looking.sizes`."""
        k = known.one(self._parts, app, environment, name)
        return dict(self._ask("sizes", k, {}))

    def insight(
        self, app: AppName, environment: EnvironmentName, name: str | None, rules: Sequence[str] | None
    ) -> dict[str, Any]:
        """See :func:`homeport.database.works_looking.insight`. Raises ``database.unknown_rule``."""
        k = known.one(self._parts, app, environment, name)
        require_postgresql(k, "look into")
        planner = known.direct_url(self._parts, k) if k.row is not None else None
        request = {
            "rules": list(rules) if rules is not None else None,
            "planner": planner,
            "before": self._sizes_before(k),
        }
        return dict(self._ask("insight", k, request))

    def snapshot(self, k: Known) -> dict[str, Any]:
        return dict(self._ask("snapshot", k, {}))

    def _ask(self, work: str, k: Known, request: dict[str, Any]) -> Any:
        """Each call is for itself: none ends the child of another."""
        name = f"{k.key}.{work}"
        self._end_left_over(name)
        with self._few:
            return self._worker.run(
                work,
                {**place(self._parts, k), **request},
                name=f"{name}{self._mark}-{secrets.token_hex(4)}",
                timeout=INSIGHT_WITHIN,
            )

    def _end_left_over(self, name: str) -> None:
        """Of such looks, those that a control plane which was killed left behind."""
        owner = str(self._parts.data_dir)
        for instance in {m.instance for m in process.marked(owner)}:
            if instance.startswith(f"{name}-") and not instance.startswith(f"{name}{self._mark}-"):
                process.kill_marked(owner, instance)

    def _sizes_before(self, k: Known) -> Any:
        """The oldest sizes of the last thirty days."""
        since = text_time(self._parts.clock.now() - MONTH)
        query = (
            sa.select(_S.sizes)
            .where(_S.app == k.app, _S.environment == k.environment, _S.name == k.name, _S.at >= since)
            .order_by(_S.at)
            .limit(1)
        )
        with self._parts.state.store.read() as c:
            return c.execute(query).scalar()


def place(parts: Parts, k: Known) -> dict[str, Any]:
    """How a child reaches a database to look at it; nothing has to be made for that."""
    if k.file is not None:
        storage, path = k.file
        return {"engine": "sqlite", "storage": storage, "path": path}
    if k.row is not None:
        return {"engine": "postgresql", "admin": known.admin(parts, k.row)}
    if k.kind == "coming":
        raise UNKNOWN.error(f"cannot look at {k.label}: it is not made yet", hint="homeport deploy")
    return {"engine": "postgresql", "url": known.url_of(parts, k)}


def require_postgresql(k: Known, what: str) -> None:
    """Raises ``rollout.not_for_sqlite``; ``what`` is a verb."""
    if k.kind == "sqlite":
        raise NOT_FOR_SQLITE.error(
            f"cannot {what} {k.label}: it is a SQLite file",
            hint="homeport db size and homeport db shell work with it",
        )


def _standing(k: Known, answer: dict[str, Any], problem: str) -> Standing:
    if k.kind == "sqlite":
        file = known.file_of(k)
        return Standing(k, "ready", bytes=_file_bytes(file), where=str(file))
    if k.kind == "coming":
        return Standing(k, "coming")
    if k.row is None:
        told = answer["attached"].get(k.key, {"problem": problem})
        if "problem" in told:
            return Standing(k, "down", problem=told["problem"])
        return Standing(
            k,
            "ready",
            told["bytes"],
            told["used"],
            told["limit"],
            version=told["version"],
            where=told["where"],
        )
    row = k.row
    server = answer["servers"].get(row.cluster, {"problem": "its cluster is gone"})
    pooler = answer["poolers"].get(row.cluster, {})
    seen = server.get("databases", {}).get(row.database, {})
    pooled = row.pool != "none"
    problem = server.get("problem", "") or (pooler.get("problem", "") if pooled else "")
    state = row.state if row.state != "ready" else "kept" if k.kept else "ready"
    if problem:
        state = "down"
    elif pooled and row.database in pooler.get("held", ()):
        state = "held"
    limit = seen.get("limit", -1)
    return Standing(
        k,
        state,
        seen.get("bytes"),
        seen.get("used"),
        limit - UPKEEP if limit >= UPKEEP else None,
        clients=pooler.get("clients", {}).get(row.database, 0) if pooled and "clients" in pooler else None,
        waiting=pooler.get("waiting", {}).get(row.database, 0) if pooled and "waiting" in pooler else None,
        version=server.get("version"),
        where=f"cluster {row.cluster}",
        problem=problem,
    )


def _file_bytes(file: Path) -> int:
    return sum(p.stat().st_size for p in (file, file.with_name(f"{file.name}-wal")) if p.is_file())
