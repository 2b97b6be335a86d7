"""What a child does to find out what the return of a whole cluster would lose. Nothing that serves is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import psycopg

from homeport.backup.physical.copy import Copy
from homeport.backup.restores import contents, fresh
from homeport.backup.restores.workshop import Workshop
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.database import refused
from homeport.database.model import Cluster, Provisioned
from homeport.kernel.errors import HomeportError

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]


def compare(box: Toolbox, request: Request, say: Say) -> Any:
    """{"databases": [{"app", "environment", "name", "was_there", "problem", "tables", "rows", "losses"}]}, by name.

    ``tables`` and ``rows``: of then. ``problem``: why it is not known what is there now; "" where it is.
    """
    cluster = box.cluster(request["cluster"])
    rows = [r for r in box.state.databases(cluster=cluster.name) if r.state == "ready"]
    with Workshop(box, cluster.name, request["run"]).copy() as past:
        return {"databases": [_compared(box, cluster, past, row) for row in rows]}


def _compared(box: Toolbox, cluster: Cluster, past: Copy, row: Provisioned) -> dict[str, Any]:
    with past.connect("postgres") as connection:
        was_there = fresh.exists(connection, row.database)
    then = contents.read(past.connect(row.database)) if was_there else {}
    found = {
        "app": row.app,
        "environment": row.environment,
        "name": row.name,
        "was_there": was_there,
        "problem": "",
        "tables": len(then),
        "rows": sum(t.rows for t in then.values()),
    }
    try:
        now = contents.read(box.clusters.superuser(cluster, row.database))
        with (
            box.clusters.superuser(cluster, row.database) as present,
            past.connect(row.database if was_there else "postgres") as before,
        ):
            losses = contents.lost(now, then, present, before)
    except (HomeportError, psycopg.OperationalError) as e:
        why = e.sentence if isinstance(e, HomeportError) else refused.why(e)
        return {**found, "problem": why, "losses": []}
    return {**found, "losses": [asdict(loss) for loss in losses]}


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """Nothing of the run is left."""
    physical = box.physical(request["cluster"])
    physical.prepare()
    Workshop(box, request["cluster"], request["run"]).end()
    patiently(box.clock, lambda: physical.drop_restored(request["run"]), say)
    return {}


WORKS = {"restore-compare-cluster": compare, "restore-tidy-look": tidy}
