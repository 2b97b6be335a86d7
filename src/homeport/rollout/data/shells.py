"""A person's way into a database: what ``psql`` needs, with a login that is good while the caller lives."""

import logging
import os
import pwd
import secrets
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from homeport.database.events import ShellOpened
from homeport.database.urls import LIBPQ
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data import known
from homeport.rollout.data.known import Known
from homeport.rollout.parts import Parts
from homeport.system import process

log = logging.getLogger(__name__)

READ_ONLY = "-c default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class Shell:
    """What the caller is to become. ``fallback``: where that program is not on the machine; () where nothing is."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    user: str | None = None
    fallback: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Open:
    caller: int
    login: ExitStack


class Shells:
    """Every call may be made from any thread. A login that a control plane which is gone gave out ends by itself
    two hours after."""

    def __init__(self, parts: Parts, *, python: str = sys.executable) -> None:
        self._parts = parts
        self._python = python
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()

    def open(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str | None,
        *,
        read_only: bool,
        caller: int,
        actor: str,
    ) -> Shell:
        """For the process ``caller``. That it was asked for is recorded first."""
        k = known.one(self._parts, app, environment, name)
        with self._parts.state.store.transaction(actor) as tx:
            tx.append(ShellOpened(app=k.app, environment=k.environment, name=k.name, read_only=read_only))
        if k.file is not None:
            return self._sqlite(k, read_only)
        if k.row is None:
            return _attached(known.url_of(self._parts, k), read_only)
        return self._provisioned(k, read_only, caller)

    def sweep(self) -> None:
        """Take away the logins of callers that have ended."""
        with self._lock:
            ended = [id for id, o in self._open.items() if not process.is_alive(o.caller)]
            gone = [self._open.pop(id) for id in ended]
        for o in gone:
            try:
                o.login.close()
            except HomeportError as e:
                log.warning("the login of a shell is good until its time is over: %s", e.sentence)

    def _provisioned(self, k: Known, read_only: bool, caller: int) -> Shell:
        databases = self._parts.stores.databases
        login = ExitStack()
        give = databases.reader_url if read_only else databases.owner_url
        url = login.enter_context(give(k.app, k.environment, k.name)).reveal()
        with self._lock:
            self._open[secrets.token_hex(8)] = _Open(caller, login)
        parts = urlsplit(url)
        environment = {
            "PGHOST": parts.hostname or "",
            "PGPORT": str(parts.port or ""),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": unquote(parts.path.removeprefix("/")),
            "PGAPPNAME": "homeport db shell",
        }
        return Shell("psql", (), environment)

    def _sqlite(self, k: Known, read_only: bool) -> Shell:
        assert k.file is not None
        storage, path = k.file
        flags = ("-readonly",) if read_only else ()
        user = None
        if os.geteuid() == 0:
            owner = os.lstat(storage).st_uid
            user = pwd.getpwuid(owner).pw_name if owner else None
        fallback = (self._python, "-P", "-m", "homeport.database.sqlite.shell", storage, path, *flags)
        return Shell("sqlite3", (*flags, str(known.file_of(k))), {}, user, fallback)


def _attached(url: str, read_only: bool) -> Shell:
    from homeport.database.attached import parameters
    from homeport.kernel.secret import Secret

    found = {k: str(v) for k, v in parameters(Secret(url)).items()}
    environment = {LIBPQ[key]: value for key, value in found.items() if key in LIBPQ}
    environment["PGAPPNAME"] = "homeport db shell"
    note = ""
    if read_only:
        environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} {READ_ONLY}".strip()
        note = "somebody else runs it: its login may write, once the session says so"
    return Shell("psql", (), environment, note=note)
