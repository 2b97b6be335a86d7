"""Maintenance and read-only: an environment that people have switched off, or to reading only."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa

from homeport.edge.model import Mode
from homeport.edge.modes import MAINTENANCE, MAX_PAGE, READ_ONLY, problems
from homeport.journal import schema
from homeport.journal.store import Transaction, parse_time, text_time
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, ServiceName, service_name
from homeport.rollout.model import Environment
from homeport.rollout.state import State
from homeport.spec.model import Spec

MAX_NETWORKS = 100

BAD_MODE = declare("rollout.bad_mode", Kind.INVALID, "A mode's message, networks or end cannot be used.")


@dataclass(frozen=True, slots=True)
class Switched:
    """A mode that is on."""

    app: AppName
    environment: EnvironmentName
    mode: str
    message: str
    allow: tuple[str, ...]
    until: datetime | None
    """When it ends by itself."""
    actor: str
    since: datetime


def read(state: State) -> tuple[Switched, ...]:
    with state.store.read() as c:
        rows = c.execute(sa.select(schema.modes).order_by("app", "environment", "mode")).all()
    return tuple(
        Switched(
            AppName(row.app),
            EnvironmentName(row.environment),
            row.mode,
            row.message,
            tuple(row.allow),
            parse_time(row.until) if row.until else None,
            row.actor,
            parse_time(row.since),
        )
        for row in rows
    )


def write(tx: Transaction, switched: Switched) -> None:
    remove(tx, switched.app, switched.environment, switched.mode)
    tx.execute(
        schema.modes.insert().values(
            app=switched.app,
            environment=switched.environment,
            mode=switched.mode,
            message=switched.message,
            allow=list(switched.allow),
            until=text_time(switched.until) if switched.until else None,
            actor=switched.actor,
            since=text_time(switched.since),
        )
    )


def remove(tx: Transaction, app: AppName, environment: EnvironmentName, mode: str) -> bool:
    """Whether it was on."""
    m = schema.modes
    gone = tx.execute(m.delete().where(m.c.app == app, m.c.environment == environment, m.c.mode == mode))
    return bool(gone.rowcount)


def of_process(
    spec: Spec,
    service: ServiceName,
    kind: str,
    *,
    message: str = "",
    allow: tuple[str, ...] = (),
    page: str = "",
) -> Mode:
    """What the edge is told of a routed process whose environment is switched."""
    return Mode(
        service=service,
        kind=kind,
        message=message,
        allow=allow,
        exempt=spec.read_only.exempt if kind == READ_ONLY else (),
        retry_after=round(spec.maintenance.retry_after),
        page=page,
    )


def check(mode: Mode) -> None:
    """Raise ``rollout.bad_mode`` when the edge could not put it in force."""
    found = problems(mode)
    if found:
        raise BAD_MODE.error(f"cannot use {mode.kind} as it is asked for", details=found)


def networks(given: list[str]) -> tuple[str, ...]:
    """Networks in CIDR notation; an address stands for itself. Raises ``rollout.bad_mode``."""
    wrong = []
    found = []
    for text in given[: MAX_NETWORKS + 1]:
        try:
            found.append(str(ipaddress.ip_network(text.strip())))
        except ValueError as e:
            wrong.append(f"{text[:60]!r}: {e}")
    if len(given) > MAX_NETWORKS:
        wrong.append(f"more than {MAX_NETWORKS} networks")
    if wrong:
        raise BAD_MODE.error(
            "cannot let these networks through",
            hint="write an address or a network, such as 203.0.113.7 or 10.0.0.0/8",
            details=wrong,
        )
    return tuple(dict.fromkeys(found))


def of_services(
    state: State,
    environments: tuple[Environment, ...],
    specs: Mapping[tuple[AppName, ReleaseId], Spec],
    data_dir: Path,
) -> tuple[Mode, ...]:
    """What the edge is told: a mode for each routed process of an environment that is switched."""
    found = []
    routing = {(e.app, e.name): e.routing for e in environments}
    for switched in read(state):
        release = routing.get((switched.app, switched.environment))
        if release is None:
            continue
        spec = specs[switched.app, release].for_environment(switched.environment)
        page = ""
        if switched.mode == MAINTENANCE and spec.maintenance.page:
            base = state.release(switched.app, release).base or release
            page = own_page(data_dir / "releases" / switched.app / base / spec.maintenance.page)
        for process in spec.processes:
            if spec.is_routed(process.name):
                service = service_name(switched.app, switched.environment, process.name)
                found.append(
                    of_process(
                        spec,
                        service,
                        switched.mode,
                        message=switched.message,
                        allow=switched.allow,
                        page=page,
                    )
                )
    return tuple(found)


@lru_cache(maxsize=64)
def own_page(path: Path) -> str:
    """An app's own page; "" when the release has none that can be shown. A release never changes."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_PAGE:
            return ""
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
