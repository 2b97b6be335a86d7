"""What is wrong with databases, as far as it shows without asking them."""

from dataclasses import dataclass

from homeport.database import machine
from homeport.database.connect import has_files
from homeport.database.model import Layout, Provisioned
from homeport.database.sizing import MB, sizes
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_size
from homeport.rollout.data import contracts, known
from homeport.rollout.data.rotation import Rotations
from homeport.rollout.parts import Parts
from homeport.system import files, process

SPARE = 512 * MB
"""What a server needs beside its log: sorts that do not fit into memory, an index that is built."""


@dataclass(frozen=True, slots=True)
class Problem:
    what: str
    """What it is about, such as a cluster."""
    sentence: str
    hint: str
    is_down: bool = False
    """Apps cannot reach their database."""


def problems(parts: Parts, rotations: Rotations) -> tuple[Problem, ...]:
    """Cheap: reaches no server. Never raises."""
    rows = parts.stores.state.databases()
    return (*_servers(parts, rows), *_disk(parts), *_contracts(parts), *_rotations(rotations))


def _servers(parts: Parts, rows: tuple[Provisioned, ...]) -> list[Problem]:
    found: list[Problem] = []
    for cluster in parts.stores.state.clusters():
        mine = [d for d in rows if d.cluster == cluster.name]
        if cluster.state != "ready" or not mine:
            continue
        of = ", ".join(sorted({f"{d.app} {d.environment}" for d in mine}))
        services = [(cluster.service, "PostgreSQL")]
        if any(d.pool != "none" and d.state == "ready" for d in mine):
            services.append((cluster.pooler_service, "PgBouncer"))
        for service, what in services:
            try:
                status = known.service(parts, service)
            except HomeportError:
                return found  # without its supervisor nothing is known of it
            if status is not None and status.running:
                continue
            ended = f": {status.ended}" if status is not None and status.ended else ""
            layout = Layout(parts.data_dir, cluster.name)
            hint = f"{layout.log(service)} says why; a deploy starts it"
            back = f"homeport restore --cluster {cluster.name} --plan"
            if not has_files(layout):
                ended = ": its files are gone"
                hint = f"where it is backed up: {back}; a deploy does not make them anew"
            elif service == cluster.service:
                hint += f"; where its files are damaged: {back}"
            found.append(
                Problem(
                    service,
                    f"{what} of cluster {cluster.name} does not run{ended}; it serves {of}",
                    hint,
                    is_down=True,
                )
            )
    return found


def _disk(parts: Parts) -> list[Problem]:
    clusters = [c for c in parts.stores.state.clusters() if c.state == "ready"]
    if not clusters:
        return []
    size = sizes(machine.memory(), process.cores(), len(clusters))
    least = len(clusters) * size.max_wal_size + SPARE
    free = files.free_bytes(parts.data_dir)
    if free >= least:
        return []
    return [
        Problem(
            "disk",
            f"{format_size(free)} are free for {parts.data_dir}; PostgreSQL may need {format_size(least)}, and stops "
            "when it has none",
            "homeport db size shows what takes the room",
        )
    ]


def _contracts(parts: Parts) -> list[Problem]:
    return [
        Problem(
            "migrations",
            f"{', '.join(c.versions)} of {c.release}, marked contract, failed in database {c.name} of {c.app} "
            f"{c.environment}",
            f"homeport events shows why; homeport migrate up --app {c.app} --env {c.environment} tries again",
        )
        for c in contracts.all_of(parts.state.store)
        if c.state == contracts.FAILED
    ]


def _rotations(rotations: Rotations) -> list[Problem]:
    return [
        Problem(
            "rotation",
            f"the former login of {row.label} is still valid: {why}",
            f"homeport db rotate --now --app {row.app} --env {row.environment} ends it",
        )
        for row, why in rotations.stuck()
    ]
