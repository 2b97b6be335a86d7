"""Databases and caches of environments: made before the first release that wants them is configured.

A store is made with its URL as a secret, so it has to be there before a configuration is written down.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.database.model import Provisioned
from homeport.database.port import Services
from homeport.database.state import DatabaseState
from homeport.guard.keyfile import KeyFile
from homeport.guard.vault import Vault
from homeport.journal.store import Store
from homeport.kernel.clock import Clock
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout import events, state
from homeport.rollout.data.wanted import given
from homeport.spec.database_names import variable_of
from homeport.spec.model import Spec
from homeport.spec.model_database import Database
from homeport.system.seal import KEY_FILE

if TYPE_CHECKING:
    from homeport.database.redis.service import Caches
    from homeport.database.service import Databases

GIVEN = declare(
    "rollout.variable_is_given",
    Kind.CONFLICT,
    "A variable is the URL of a database or a cache that Homeport runs, so nobody else sets it.",
)
ACTOR = "homeport"


class VaultSecrets:
    """The vault as :class:`homeport.database.port.Secrets`: a URL is a secret of its environment."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def get(self, app: str, environment: str, name: str) -> str | None:
        if name not in self._vault.versions(app, environment):
            return None
        return self._vault.reveal(app, environment, name)

    def set(self, app: str, environment: str, name: str, value: str) -> None:
        with self._store.transaction(ACTOR) as tx:
            state.ensure_environment(tx, AppName(app), EnvironmentName(environment))
            version = self._vault.set(tx, app, environment, name, value)
            tx.append(
                events.SecretChanged(
                    app=app, environment=environment, name=name, version=version, removed=False
                )
            )

    def remove(self, app: str, environment: str, name: str) -> None:
        if name not in self._vault.versions(app, environment):
            return
        with self._store.transaction(ACTOR) as tx:
            version = self._vault.remove(tx, app, environment, name)
            tx.append(
                events.SecretChanged(
                    app=app, environment=environment, name=name, version=version, removed=True
                )
            )


class Stores:
    """Every call may come from any thread, and again after it was cut off anywhere.

    What talks to PostgreSQL is loaded when it is first needed.
    """

    def __init__(
        self,
        data_dir: Path,
        store: Store,
        services: Services,
        vault: Vault,
        clock: Clock,
        *,
        is_port_free: Callable[[int], bool],
    ) -> None:
        self._data_dir = data_dir
        self._store = store
        self.services = services
        self._vault = vault
        self._clock = clock
        self._is_port_free = is_port_free
        self.state = DatabaseState(store)
        self._root = data_dir / "redis"
        self._secrets = VaultSecrets(store, vault)
        self._key_file = KeyFile(data_dir / KEY_FILE)
        self._lock = threading.Lock()
        self._databases: Databases | None = None
        self._caches: Caches | None = None

    @property
    def databases(self) -> "Databases":
        with self._lock:
            if self._databases is None:
                from homeport.database.service import Databases

                self._databases = Databases(
                    self._data_dir,
                    self._store,
                    self.services,
                    self._secrets,
                    self._clock,
                    is_port_free=self._is_port_free,
                )
            return self._databases

    @property
    def caches(self) -> "Caches":
        with self._lock:
            if self._caches is None:
                from homeport.database.redis.service import Caches

                self._caches = Caches(
                    self._data_dir / "redis", self.services, self._secrets, self._key_file.keys, self._clock
                )
            return self._caches

    def ensure(self, app: AppName, environment: EnvironmentName, spec: Spec, replicas: int) -> None:
        """Have the databases and caches of an environment's spec there, their URLs among its secrets.

        ``replicas``: instances of all processes together. Raises what making them raises.
        """
        if any(d.engine == "postgresql" for d in spec.databases):
            attached = {d.name: d.url for d in spec.databases}
            for ready in self.databases.ensure(app, environment, spec.databases, replicas):
                if ready.attached and ready.variable != attached[ready.name]:
                    url = ready.url.reveal()
                    if self._secrets.get(app, environment, ready.variable) != url:
                        self._secrets.set(app, environment, ready.variable, url)
        self.ensure_caches(app, environment, spec)

    def ensure_caches(self, app: AppName, environment: EnvironmentName, spec: Spec) -> None:
        """Also after a change of keys: caches are asked with a password that follows from the key."""
        for cache in spec.caches:
            self.caches.ensure(app, environment, cache)

    def resize(self, app: AppName, environment: EnvironmentName, spec: Spec, replicas: int) -> None:
        """As :meth:`ensure`, of what has another size with another number of instances."""
        if any(d.engine == "postgresql" and not d.url for d in spec.databases):
            self.databases.ensure(app, environment, spec.databases, replicas)

    def provisioned(self, app: AppName, environment: EnvironmentName) -> tuple[Provisioned, ...]:
        """PostgreSQL databases of an environment that Homeport made. Reaches no server."""
        return tuple(d for d in self.state.databases(app=app) if d.environment == environment)

    def refuse_given(self, app: AppName, environment: EnvironmentName, names: frozenset[str]) -> None:
        """Raise ``rollout.variable_is_given`` where one of ``names`` is the URL of what Homeport runs."""
        for row in self.provisioned(app, environment):
            if (name := variable_of(Database(row.name))) in names:
                raise GIVEN.error(
                    f"cannot set {name}: [database.{row.name}] in homeport.toml gives it",
                    hint='homeport db rotate changes its password; url = "secret:NAME" attaches a database of your own',
                )

    def remove(self, app: AppName, environment: EnvironmentName, *, with_data: bool, actor: str) -> list[str]:
        """Take away what an environment had; returns the databases that are kept, as PostgreSQL calls them.

        Caches go in any case.
        """
        if self._root.is_dir():
            for status in self.caches.list():
                if (status.app, status.environment) == (app, environment):
                    self.caches.remove(app, environment, status.name)
        kept = []
        for row in self.provisioned(app, environment):
            if not with_data:
                kept.append(row.database)
                continue
            database = Database(row.name, dedicated=self.databases.cluster_of(row).dedicated)
            self.databases.drop(app, environment, database, confirm=row.database, actor=actor)
        return kept

    def taken(self, app: AppName, environment: EnvironmentName, spec: Spec) -> list[str]:
        """Variables that a store gives and that somebody set by hand, as sentences: those are not overwritten."""
        by_hand = {s.name for s in self._vault.list(app, environment) if s.actor != ACTOR}
        return [
            f"{name}: is given by {table}, and set as a secret: homeport secrets unset {name}, "
            f'or attach what it leads to: url = "secret:{name}"'
            for name, table in given(spec).items()
            if name in by_hand
        ]
