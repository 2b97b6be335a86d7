"""What a child does for a drill. Each may be cut off anywhere and is then done again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import homeport
from homeport.backup.drills import report as reports
from homeport.backup.drills.ground import Ground
from homeport.backup.drills.model import PREPARE, Report
from homeport.backup.drills.records import reports_directory
from homeport.backup.files.restic import Restic
from homeport.backup.telling import telling
from homeport.backup.toolbox import Toolbox
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.system import files

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]


def drill(box: Toolbox, request: Request, say: Say) -> Any:
    """One phase of a scenario."""
    from homeport.backup.drills import on_repositories, on_secrets, on_servers, on_tables

    scenarios = {
        "table-dropped": on_tables.TABLE_DROPPED,
        "rows-corrupted": on_tables.ROWS_CORRUPTED,
        "bad-migration": on_tables.BAD_MIGRATION,
        "cluster-lost": on_servers.CLUSTER_LOST,
        "machine-lost": on_servers.MACHINE_LOST,
        "repository-unreachable": on_repositories.UNREACHABLE,
        "passphrase-wrong": on_repositories.PASSPHRASE,
        "secrets-leaked": on_secrets.SECRETS_LEAKED,
    }
    ground = Ground(box, request["cluster"], telling(box.clock, say))
    if request["phase"] != PREPARE:
        ground.settle()
    return scenarios[request["scenario"]][request["phase"]](ground, request)


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """Nothing of the drill is left."""
    Ground(box, request["cluster"]).clear()
    return {}


def passphrase(box: Toolbox, request: Request, say: Say) -> Any:
    """Whether a person's passphrase opens every repository. It goes no further."""
    from homeport.backup.files.errors import NOT_OPENED
    from homeport.backup.files.model import Limits, Repository

    given = Secret(request["passphrase"])
    layout = box.files().layout
    for r in box.repositories.for_files():
        try:
            Restic(Repository(r.name, r.place, given), layout, box.clock, Limits()).check_opened()
        except HomeportError as e:
            if e.type is not NOT_OPENED:
                raise
            return {"passphrase": "wrong"}
    return {"passphrase": "right"}


def write(box: Toolbox, request: Request, say: Say) -> Any:
    """The report, for people: Markdown and PDF, beside the other records of backups."""
    from homeport.backup.drills.pdf import pdf

    report = Report.of(request["report"])
    directory = reports_directory(box.data_dir)
    directory.parent.mkdir(mode=0o755, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    files.write_atomic(directory / f"{report.run}.md", reports.markdown(report), mode=0o600)
    by = f"Homeport {homeport.__version__} on {socket.gethostname()}"
    files.write_atomic(directory / f"{report.run}.pdf", pdf(report, by), mode=0o600)
    return {"files": sorted(e.name for e in os.scandir(directory) if e.name.startswith(report.run))}


WORKS = {
    "drill": drill,
    "drill-tidy": tidy,
    "drill-passphrase": passphrase,
    "drill-write": write,
}
