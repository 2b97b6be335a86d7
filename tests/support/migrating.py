"""What the tests of migrations share."""

from typing import Any

from homeport.database.migrations.files import parse_all
from homeport.database.migrations.model import Migration, Options
from homeport.database.migrations.runner import PostgresMigrator
from homeport.database.migrations.session import Target
from homeport.system.clock import RealClock


def files(*named: tuple[str, str]) -> tuple[Migration, ...]:
    return parse_all([(name, text.encode()) for name, text in named])


def section(up: str, down: str = "") -> str:
    return f"-- migrate:up\n{up}\n" + (f"-- migrate:down\n{down}\n" if down else "")


def migrator(dsn: str, **options: Any) -> PostgresMigrator:
    return PostgresMigrator(Target(dsn), Options(**options), RealClock(), chance=lambda: 0.0)
