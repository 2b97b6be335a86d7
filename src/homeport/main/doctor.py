"""What ``homeport doctor`` looks at."""

import os
import sys
from pathlib import Path
from typing import Any

from homeport.api.services import Finding
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment, format_size
from homeport.rollout.backups.services import BackupServices
from homeport.rollout.build import RESERVE
from homeport.rollout.data import health, known
from homeport.rollout.data.rounds import DatabaseServices
from homeport.rollout.parts import Parts
from homeport.system import files, process

LOW_DISK = 2_000_000_000


def local_findings(data_dir: Path) -> list[dict[str, Any]]:
    """Without the control plane: this machine, and whether the supervisor lives."""
    from homeport.edge.preflight import check_haproxy
    from homeport.main import settings
    from homeport.main.lifecycle import check_state, supervisor_pid

    def settings_and_state() -> str:
        if settings.load(data_dir) is None:
            return f"{data_dir} is not in use yet"
        check_state(data_dir)
        return f"{settings.FILE} and state.db are whole"

    findings = [
        _finding("python", True, f"{sys.version.split()[0]} at {sys.executable}"),
        _try("haproxy", lambda: f"version {check_haproxy()}"),
        _finding(
            "git",
            process.program("git") is not None,
            "installed" if process.program("git") else "missing",
            "apt-get install git",
        ),
    ]
    findings.append(_try("files", settings_and_state))
    pid = supervisor_pid(data_dir)
    detail = f"pid {pid}" if pid else f"none runs for {data_dir}"
    findings.append(_finding("supervisor", pid is not None, detail, "homeport up"))
    return findings


def findings(parts: Parts, databases: DatabaseServices, backups: BackupServices) -> list[Finding]:
    """From within the control plane."""
    return [
        _as_finding(_try("edge", lambda: _edge(parts))),
        _as_finding(_try("instances", lambda: _instances(parts))),
        _journal(parts),
        _secrets(parts),
        _disk(parts),
        _limits(),
        *_databases(parts, databases),
        *_backups(backups),
    ]


def _secrets(parts: Parts) -> Finding:
    problem = parts.vault.check()
    hint = "put back the secrets.key of this data directory, mode 0600" if problem else ""
    return Finding("secrets", problem is None, problem or "the key opens every secret", hint)


def _edge(parts: Parts) -> str:
    servers = parts.edge.observe()
    down = [s.name for s in servers if not s.up and s.weight]
    if down:
        raise RuntimeError(f"{', '.join(down)}: in rotation, but the health check fails")
    return f"answers, {len(servers)} server(s) known"


def _instances(parts: Parts) -> str:
    statuses = {s.name: s.state.value for s in parts.runtime.observe()}
    wanted = [i.name for i in parts.state.instances() if i.retire_at is None]
    missing = [n for n in wanted if statuses.get(n) not in ("running", "starting")]
    if parts.looping:
        raise RuntimeError(f"{', '.join(sorted(parts.looping))}: crashes again and again")
    if missing:
        raise RuntimeError(f"{', '.join(missing)}: not running")
    return f"{len(wanted)} wanted, all run"


def _journal(parts: Parts) -> Finding:
    broken = parts.state.store.first_broken()
    if broken is None:
        return Finding("journal", True, "every record follows from the one before")
    return Finding(
        "journal",
        False,
        f"record {broken} does not follow from the one before: the past was changed",
        "compare with a backup of state.db",
    )


def _disk(parts: Parts) -> Finding:
    free = files.free_bytes(parts.data_dir)
    detail = f"{format_size(free)} free for {parts.data_dir}"
    hint = f"deploys are refused below {format_size(RESERVE)} and what a release takes"
    return Finding("disk", free > LOW_DISK, detail, hint)


def _databases(parts: Parts, databases: DatabaseServices) -> list[Finding]:
    """Nothing where there are none: their state, then whether each answers."""
    if not known.all_of(parts):
        return []
    found = [Finding(p.what, False, p.sentence, p.hint) for p in health.problems(parts, databases.rotations)]
    try:
        standing = databases.looks.all_of()
    except HomeportError as e:
        return [*found, Finding("databases", False, e.sentence, e.hint)]
    told = {p.what for p in health.problems(parts, databases.rotations)}
    for x in standing:
        row = x.known.row
        of_server = row is not None and {f"postgresql.{row.cluster}", f"pgbouncer.{row.cluster}"} & told
        if x.problem and not of_server:
            found.append(Finding(f"database {x.known.key}", False, x.problem, "homeport db list"))
        if x.state == "held":
            hint = f"homeport db resume --app {x.known.app} --env {x.known.environment}"
            found.append(Finding(f"database {x.known.key}", False, "its clients are held", hint))
    return found or [Finding("databases", True, f"{len(standing)} known, all answer")]


def _backups(backups: BackupServices) -> list[Finding]:
    """Nothing where there is nothing that is worth it, and nobody asked for any."""
    found = backups.status()
    if found.problems:
        return [Finding("backups", False, problem, "homeport backup status") for problem in found.problems]
    if not found.repositories:
        return []
    proven = f", proven at {format_moment(found.proven_at)}" if found.proven_at else ""
    but = "".join(f"; but {warning}" for warning in found.warnings)
    count = len(found.repositories)
    word = "repository" if count == 1 else "repositories"
    return [Finding("backups", True, f"{count} {word}{proven}{but}")]


def _limits() -> Finding:
    """Told, not judged: limits are asked for by few apps, and refused with a reason where they cannot bind."""
    user = "root" if os.geteuid() == 0 else "an unprivileged user: no user = in homeport.toml"
    return Finding("rights", True, f"runs as {user}")


def _try(name: str, look: Any) -> dict[str, Any]:
    try:
        return _finding(name, True, look())
    except HomeportError as e:
        return _finding(name, False, e.sentence, e.hint)
    except RuntimeError as e:
        return _finding(name, False, str(e), "homeport ps; homeport logs")


def _finding(name: str, ok: bool, detail: str, hint: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "hint": hint}


def _as_finding(found: dict[str, Any]) -> Finding:
    return Finding(found["name"], found["ok"], found["detail"], found["hint"])
