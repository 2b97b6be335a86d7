"""Secrets in ``state.db``: every version sealed with the keys of one key file."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.guard import rules
from homeport.guard.errors import BAD_SECRET, KEY_MISMATCH, UNKNOWN_SECRET
from homeport.guard.keyfile import KeyFile, unusable
from homeport.guard.model import Rotation as Rotation
from homeport.guard.model import Secret
from homeport.guard.rotation import HandingOut, Rotator
from homeport.journal import schema
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.text import did_you_mean
from homeport.system import seal

_S = schema.secrets.c


class Vault:
    """The secrets of all apps. Every call may come from any thread.

    Whatever opens or seals raises ``guard.key_unusable`` when the key file is missing, readable by others or
    holds no keys, and ``guard.key_mismatch`` when it is that of another machine. What is open lives in this
    process's memory only.
    """

    def __init__(self, store: Store, key_file: Path) -> None:
        self._store = store
        self._key = KeyFile(key_file)
        self._handing_out = HandingOut()
        self._rotator = Rotator(store, self._key, self._handing_out)
        self._cache = _EveryValue(store, self._key)

    # Writing, in the caller's transaction

    def set(
        self, tx: Transaction, app: str, environment: str, name: str, value: str, *, source: str = ""
    ) -> int:
        """Give a secret a value; returns its version. The app must have its row in ``apps``.

        A value equal to that of the newest version makes no new one, and only ``source`` is brought up to date.
        The key file is made with the first secret of all; when there are secrets, it is never made anew.
        Raises ``guard.bad_secret``.
        """
        check(name, value)
        self._cache.add(value)
        box = self._sealing_box(tx)
        newest = self._newest_row(tx, app, environment, name)
        if newest is not None and newest.token is not None and _open(box, newest.token, name) == value:
            if newest.source != (source or None):
                row = (*_of(app, environment), _S.name == name, _S.version == newest.version)
                tx.execute(schema.secrets.update().where(*row).values(source=source or None))
            return int(newest.version)
        version = newest.version + 1 if newest is not None else 1
        self._insert(tx, app, environment, name, version, box.seal(value), source)
        return version

    def remove(self, tx: Transaction, app: str, environment: str, name: str) -> int:
        """Take a secret away; returns the version that says so. Older versions stay for rollbacks.

        Raises ``guard.unknown_secret``.
        """
        newest = self._newest_row(tx, app, environment, name)
        if newest is None or newest.token is None:
            raise self._unknown(app, environment, name)
        self._insert(tx, app, environment, name, newest.version + 1, None, "")
        return int(newest.version) + 1

    def forget_app(self, tx: Transaction, app: str) -> None:
        """Remove every version of every secret of an app, its pages in the database overwritten."""
        tx.execute(sa.text("PRAGMA secure_delete=ON"))
        tx.execute(schema.secrets.delete().where(_S.app == app))

    def forget_environment(self, tx: Transaction, app: str, environment: str) -> None:
        """The same for one environment of it."""
        tx.execute(sa.text("PRAGMA secure_delete=ON"))
        tx.execute(schema.secrets.delete().where(*_of(app, environment)))

    # Reading

    def list(self, app: str, environment: str) -> tuple[Secret, ...]:
        """The newest versions by name, but for what was removed."""
        return tuple(
            Secret(row.name, row.version, row.actor, parse_time(row.created_at), row.source or "")
            for row in self._in_force(app, environment)
        )

    def versions(self, app: str, environment: str) -> dict[str, int]:
        """The version of each secret that is in force."""
        return {row.name: row.version for row in self._in_force(app, environment)}

    @contextlib.contextmanager
    def handing_out(self) -> Iterator[None]:
        """To be held from :meth:`tokens` until the tokens are on disk where :meth:`rotate` looks for them.

        Without it, a change of keys in between would leave a document that nothing opens.
        """
        with self._handing_out.block():
            yield

    def tokens(self, app: str, environment: str, versions: Mapping[str, int]) -> dict[str, str]:
        """Sealed values of these versions by name; see :meth:`handing_out`.

        Raises ``guard.unknown_secret``, also for a version that removed the secret.
        """
        if not versions:
            return {}
        query = sa.select(_S.name, _S.version, _S.token).where(*_of(app, environment), _S.token.is_not(None))
        with self._store.read() as c:
            found = {(row.name, row.version): row.token for row in c.execute(query)}
        for name, version in versions.items():
            if (name, version) not in found:
                raise self._unknown(app, environment, name, version)
        return {name: found[name, version] for name, version in versions.items()}

    def values(self, app: str, environment: str, versions: Mapping[str, int]) -> dict[str, str]:
        """Values of these versions by name. Raises as :meth:`tokens`."""
        return self._open_all(lambda: self.tokens(app, environment, versions))

    def reveal(self, app: str, environment: str, name: str, version: int | None = None) -> str:
        """The value of a version, of the newest one by default. Raises ``guard.unknown_secret``."""
        if version is None:
            version = self.versions(app, environment).get(name)
        if version is None:
            raise self._unknown(app, environment, name)
        return self.values(app, environment, {name: version})[name]

    def every_value(self) -> tuple[str, ...]:
        """All versions of all secrets, for masking; the same object until they change.

        A value belongs to it from the moment that :meth:`set` is given it. Never raises for the key file: what
        it does not open is left out, as this process never held it, and tried again by the next call.
        """
        return self._cache.values()

    def check(self) -> str | None:
        """What is wrong with the key file or with the first secret that it does not open, as a sentence."""

        def sealed() -> dict[str, str]:
            query = (
                sa.select(schema.secrets).where(_S.token.is_not(None)).order_by(*schema.secrets.primary_key)
            )
            with self._store.read() as c:
                rows = c.execute(query).all()
            return {f"{r.name} of {r.app} {r.environment}, version {r.version}": r.token for r in rows}

        try:
            if not sealed() and not self._key.exists():
                return None
            keys = self._key.keys()
            self._key.box()
            self._open_all(sealed)
        except HomeportError as e:
            return e.sentence
        if len(keys) > 1:
            return "cannot say that the key was changed: homeport secrets rotate-key goes on with it"
        return None

    # Changing the key

    def rotate(
        self,
        reseal_documents: Callable[[Callable[[str], str]], int],
        *,
        actor: str = "homeport",
        reached: Callable[[str], None] = lambda step: None,
    ) -> Rotation:
        """Seal everything with a new key; see :meth:`homeport.guard.rotation.Rotator.rotate`."""
        return self._rotator.rotate(reseal_documents, actor, reached)

    def finish_rotation(
        self,
        reseal_documents: Callable[[Callable[[str], str]], int],
        *,
        actor: str = "homeport",
        reached: Callable[[str], None] = lambda step: None,
    ) -> Rotation | None:
        """Do the rest of a change of keys that was cut off; None when there is none. For each start."""
        return self._rotator.finish(reseal_documents, actor, reached)

    # Within

    def _sealing_box(self, tx: Transaction) -> seal.Box:
        """To seal with: its keys open what is there, or there is nothing yet."""
        token = tx.execute(sa.select(_S.token).where(_S.token.is_not(None)).limit(1)).scalar()
        if token is None and not self._key.exists():
            self._key.write((seal.new_key(),))
        box = self._key.box()
        if token is not None:
            _open(box, token, "the secrets that there are")
        return box

    def _insert(
        self,
        tx: Transaction,
        app: str,
        environment: str,
        name: str,
        version: int,
        token: str | None,
        source: str,
    ) -> None:
        tx.execute(
            schema.secrets.insert().values(
                app=app,
                environment=environment,
                name=name,
                version=version,
                token=token,
                source=source or None,
                actor=tx.actor,
                created_at=text_time(tx.now),
            )
        )

    def _newest_row(self, tx: Transaction, app: str, environment: str, name: str) -> Any:
        query = sa.select(schema.secrets).where(*_of(app, environment), _S.name == name)
        return tx.execute(query.order_by(_S.version.desc()).limit(1)).first()

    def _in_force(self, app: str, environment: str) -> tuple[Any, ...]:
        newest = (
            sa.select(_S.name, sa.func.max(_S.version).label("version"))
            .where(*_of(app, environment))
            .group_by(_S.name)
            .subquery()
        )
        query = (
            sa.select(schema.secrets)
            .join(newest, sa.and_(_S.name == newest.c.name, _S.version == newest.c.version))
            .where(*_of(app, environment), _S.token.is_not(None))
            .order_by(_S.name)
        )
        with self._store.read() as c:
            return tuple(c.execute(query))

    def _open_all(self, tokens: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        try:
            return seal.open_all(str(self._key.path), tokens)
        except seal.WrongKey as e:
            raise KEY_MISMATCH.error(e.sentence, hint=e.hint) from None
        except seal.SealError as e:
            raise unusable(e) from None

    def _unknown(self, app: str, environment: str, name: str, version: int | None = None) -> HomeportError:
        known = self.versions(app, environment)
        of = f"of {app} {environment}"
        if version is not None and name in known:
            return UNKNOWN_SECRET.error(
                f"cannot find version {version} of {name} {of}: the newest is {known[name]}"
            )
        hint = did_you_mean(name, known) if known else "homeport secrets set NAME"
        return UNKNOWN_SECRET.error(f"cannot find secret {name!r} {of}", hint=hint)


class _EveryValue:
    """Opened values, followed by ``store.version``."""

    def __init__(self, store: Store, key: KeyFile) -> None:
        self._store = store
        self._key = key
        self._lock = threading.Lock()
        self._seen = -1
        self._by_token: dict[str, str] = {}
        self._fresh: dict[str, int] = {}
        """Values of transactions that may be under way, with the store's version when they began."""
        self._values: tuple[str, ...] = ()

    def add(self, value: str) -> None:
        with self._lock:
            self._fresh[value] = self._store.version
            if value not in self._values:
                self._values = (*self._values, value)

    def values(self) -> tuple[str, ...]:
        with self._lock:
            version = self._store.version
            if version != self._seen:
                self._look(version)
            return self._values

    def _look(self, version: int) -> None:
        with self._store.read() as c:
            tokens = set(c.execute(sa.select(_S.token).where(_S.token.is_not(None))).scalars())
        opened = {token: self._by_token[token] for token in tokens & self._by_token.keys()}
        unknown = tokens - opened.keys()
        if unknown:
            with contextlib.suppress(HomeportError):
                box = self._key.box()
                for token in unknown:
                    with contextlib.suppress(seal.WrongKey):
                        opened[token] = box.open(token)
        self._by_token = opened
        self._fresh = {value: began for value, began in self._fresh.items() if began >= version}
        values = set(opened.values()) | self._fresh.keys()
        if values != set(self._values):
            self._values = tuple(sorted(values))
        if tokens == opened.keys():
            self._seen = version


def check(name: str, value: str) -> None:
    """Raise ``guard.bad_secret`` for a name or value that no secret can have."""
    problem = rules.name_problem(name)
    if problem is not None:
        raise BAD_SECRET.error(
            f"cannot set a secret: {problem}",
            hint="homeport secrets set NAME, and the value from a prompt or stdin",
        )
    problem = rules.value_problem(value)
    if problem is not None:
        raise BAD_SECRET.error(f"cannot set {name}: its value {problem}")


def _of(app: str, environment: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _S.app == app, _S.environment == environment


def _open(box: seal.Box, token: str, what: str) -> str:
    try:
        return box.open(token, what)
    except seal.WrongKey as e:
        raise KEY_MISMATCH.error(e.sentence, hint=e.hint) from None
