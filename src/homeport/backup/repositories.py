"""Where backups go: repositories of this machine. Their secrets are sealed with all others.

A repository holds files and Homeport's own state below ``files`` (restic), clusters below ``postgresql``
(pgBackRest). Homeport has a password of its own for each of the two; people have the passphrase, which is not kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from homeport.backup import events
from homeport.backup.errors import BAD_REPOSITORY, REPOSITORY_EXISTS, UNKNOWN_REPOSITORY
from homeport.backup.files import model as files_model
from homeport.backup.physical import model as physical_model
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, parse_time, text_time
from homeport.kernel.ids import is_name
from homeport.kernel.secret import Secret

MACHINE = ("(homeport)", "(machine)")
"""As whose secrets theirs are kept; no app is named so."""
MOST = 4
"""As pgBackRest takes."""
AMAZON = ".amazonaws.com"
_R = tables.backup_repositories.c


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of this machine, or an S3-compatible store."""

    path: str = ""
    endpoint: str = ""
    """``https://HOST``, with or without a port."""
    bucket: str = ""
    prefix: str = ""
    region: str = ""
    ca: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        parts = (self.endpoint, self.bucket, self.prefix)
        return "s3:" + "/".join(p for p in parts if p)

    def to_json(self) -> dict[str, str]:
        return {k: v for k in self.__slots__ if (v := getattr(self, k))}


@dataclass(frozen=True, slots=True)
class Recorded:
    name: str
    place: Place
    ready: bool = True
    """It was opened and made."""
    since: datetime | None = None
    """When it came; None: not known."""


class Repositories:
    """Every call may come from any thread."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def list(self) -> tuple[Recorded, ...]:
        """In the order in which they came."""
        with self._store.read() as c:
            rows = c.execute(sa.select(tables.backup_repositories).order_by(_R.position)).all()
        return tuple(Recorded(r.name, Place(**r.place), r.ready, parse_time(r.created_at)) for r in rows)

    def ready(self) -> tuple[Recorded, ...]:
        """None while one of them is being made: programs know all of them or none."""
        found = self.list()
        return found if all(r.ready for r in found) else ()

    def held_since(self) -> datetime | None:
        """When this machine was recovered, while nobody said yet that the former one is gone; else None."""
        if self.ready():
            return None
        e = schema.events.c
        kinds = (events.MachineRecovered.kind, events.Resumed.kind)
        query = sa.select(e.kind, e.at).where(e.kind.in_(kinds)).order_by(e.seq.desc()).limit(1)
        with self._store.read() as c:
            row = c.execute(query).first()
        return parse_time(row.at) if row is not None and row.kind == events.MachineRecovered.kind else None

    def resume(self, *, actor: str) -> None:
        """All are ready again: the machine that they were another's is gone."""
        with self._store.transaction(actor) as tx:
            tx.execute(tables.backup_repositories.update().values(ready=True))
            tx.append(events.Resumed(repositories=[r.name for r in self.list()]))

    def get(self, name: str) -> Recorded:
        """Raises ``backup.unknown_repository``."""
        found = next((r for r in self.list() if r.name == name), None)
        if found is None:
            names = ", ".join(r.name for r in self.list()) or "none"
            raise UNKNOWN_REPOSITORY.error(
                f"cannot find repository {name[:60]!r}: there are {names}",
                hint="homeport backup repository list",
            )
        return found

    def add(self, name: str, place: Place, keys: Mapping[str, str], *, actor: str) -> bool:
        """Record one, with passwords of its own; whether it is new. ``keys``: of S3, "key" and "secret_key".

        One that is there is left as it is but for its keys. Raises ``backup.bad_repository``,
        ``backup.repository_exists``.
        """
        check(name, place)
        if place.bucket and not (keys.get("key") and keys.get("secret_key")):
            raise BAD_REPOSITORY.error(
                f"cannot add {name}: an S3-compatible store needs an access key and its secret"
            )
        with self._store.transaction(actor) as tx:
            there = tx.execute(sa.select(tables.backup_repositories).order_by(_R.position)).all()
            mine = next((r for r in there if r.name == name), None)
            if mine is not None and Place(**mine.place) != place:
                raise REPOSITORY_EXISTS.error(
                    f"cannot add {name}: it is {Place(**mine.place)} already",
                    hint="another name, or homeport backup repository remove first",
                )
            if any(Place(**r.place) == place and r.name != name for r in there):
                raise REPOSITORY_EXISTS.error(f"cannot add {name}: {place} is a repository already")
            if mine is None and len(there) >= MOST:
                raise BAD_REPOSITORY.error(f"cannot add {name}: there are {MOST} repositories already")
            for what in ("FILES", "POSTGRESQL"):
                if secret_name(name, what) not in self._vault.versions(*MACHINE):
                    self._vault.set(tx, *MACHINE, secret_name(name, what), secrets.token_hex(32))
            for key, value in keys.items():
                self._vault.set(tx, *MACHINE, secret_name(name, key.upper()), value)
            if mine is not None:
                return not mine.ready
            tx.execute(
                tables.backup_repositories.insert().values(
                    name=name,
                    position=1 + max((r.position for r in there), default=0),
                    place=place.to_json(),
                    ready=False,
                    created_at=text_time(tx.now),
                )
            )
        return True

    def remove(self, name: str, *, actor: str) -> Recorded:
        """It gets no more backups; what it holds, and what opens it, stays. Raises ``backup.unknown_repository``."""
        found = self.get(name)
        with self._store.transaction(actor) as tx:
            tx.execute(tables.backup_repositories.delete().where(_R.name == name))
            tx.execute(tables.backup_locks.delete().where(tables.backup_locks.c.repository == name))
            tx.append(events.RepositoryRemoved(name=name, place=str(found.place)))
        return found

    def made(self, name: str, *, actor: str) -> None:
        """It is ready."""
        place = self.get(name).place
        with self._store.transaction(actor) as tx:
            tx.execute(tables.backup_repositories.update().where(_R.name == name).values(ready=True))
            tx.append(events.RepositoryAdded(name=name, place=str(place)))

    def withdraw(self, name: str) -> None:
        """Take back one that was just added and could not be made. What would open it stays: it may be half made."""
        with self._store.transaction("homeport") as tx:
            tx.execute(tables.backup_repositories.delete().where(_R.name == name))

    # As the programs take them

    def for_files(self) -> tuple[files_model.Repository, ...]:
        return tuple(
            files_model.Repository(r.name, self._files_place(r), self._password(r.name, "FILES"))
            for r in self.list()
        )

    def for_clusters(self, *, synchronous: bool = False) -> physical_model.Settings:
        return physical_model.Settings(
            tuple(
                physical_model.Repository(r.name, self._store_of(r), self._password(r.name, "POSTGRESQL"))
                for r in self.list()
            ),
            synchronous=synchronous,
        )

    def _password(self, name: str, what: str) -> Secret:
        return Secret(self._vault.reveal(*MACHINE, secret_name(name, what)))

    def _files_place(self, r: Recorded) -> files_model.LocalPlace | files_model.S3Place:
        return files_place(r.place, lambda what: self._password(r.name, what))

    def _store_of(self, r: Recorded) -> physical_model.LocalStore | physical_model.S3Store:
        p = r.place
        if p.path:
            return physical_model.LocalStore(
                Path(p.path) / "postgresql", beside=Path(p.path) / "files" / "config"
            )
        where = urlsplit(p.endpoint)
        return physical_model.S3Store(
            bucket=p.bucket,
            endpoint=where.hostname or "",
            region=p.region or "us-east-1",
            key=self._password(r.name, "KEY"),
            key_secret=self._password(r.name, "SECRET_KEY"),
            prefix=f"/{p.prefix}/postgresql" if p.prefix else "/postgresql",
            port=where.port or 443,
            path_style=not (where.hostname or "").endswith(AMAZON),
            ca_file=Path(p.ca) if p.ca else None,
        )


def files_place(place: Place, secret: Any) -> files_model.LocalPlace | files_model.S3Place:
    """``secret`` gives the value of "KEY" and "SECRET_KEY"."""
    if place.path:
        return files_model.LocalPlace(Path(place.path) / "files")
    return files_model.S3Place(
        endpoint=place.endpoint,
        bucket=place.bucket,
        key=secret("KEY"),
        secret_key=secret("SECRET_KEY"),
        prefix="/".join(p for p in (place.prefix, "files") if p),
        region=place.region,
        ca_file=Path(place.ca) if place.ca else None,
    )


def check(name: str, place: Place) -> None:
    """Raise ``backup.bad_repository`` for what cannot be one."""
    if not is_name(name):
        raise BAD_REPOSITORY.error(
            f"cannot add repository {name[:60]!r}: a name has up to 40 of a-z, 0-9 and hyphens, a letter first"
        )
    check_place(place, f"add {name}")


def check_place(place: Place, doing: str) -> None:
    """Raise ``backup.bad_repository`` where no repository can be."""
    if bool(place.path) == bool(place.bucket):
        raise BAD_REPOSITORY.error(f"cannot {doing}: a repository is a directory, or an S3-compatible store")
    if place.path and (
        not place.path.startswith("/") or ".." in Path(place.path).parts or not place.path.isprintable()
    ):
        raise BAD_REPOSITORY.error(f"cannot {doing}: {place.path[:100]!r} is no absolute path")
    if place.bucket:
        try:
            where = urlsplit(place.endpoint)
            usable = (
                where.scheme == "https"
                and bool(where.hostname)
                and where.path in ("", "/")
                and not where.query
            )
            _ = where.port
        except ValueError:
            usable = False
        if not usable:
            raise BAD_REPOSITORY.error(
                f"cannot {doing}: its endpoint is not https://HOST",
                hint="pgBackRest talks to stores by TLS only; --ca names the certificates of your own",
            )


def secret_name(name: str, what: str) -> str:
    """``what``: "FILES", "POSTGRESQL", "KEY" or "SECRET_KEY"."""
    return f"BACKUP_{name.upper().replace('-', '_')}_{what}"
