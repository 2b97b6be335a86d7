"""Changing the key that seals secrets, so that a kill at any point leaves everything openable."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from homeport.guard.errors import KEY_MISMATCH, ROTATION_UNFINISHED
from homeport.guard.keyfile import KeyFile
from homeport.guard.model import Rotation
from homeport.journal import schema
from homeport.journal.store import Store, Transaction
from homeport.system import seal

STEPS = (
    "checked",
    "key added",
    "rows changed",
    "rows sealed",
    "documents sealed",
    "verified",
    "old keys gone",
)
"""What ``reached`` is told, each right after it holds. "rows changed" is within the transaction."""
LONGEST_START = 60.0
"""Seconds that a change of keys waits for instances that are being started."""

_S = schema.secrets.c
ResealDocuments = Callable[[Callable[[str], str]], int]
Reached = Callable[[str], None]


class HandingOut:
    """Blocks within which sealed values are on their way to a disk; one may wait for those that began."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun: set[object] = set()

    @contextmanager
    def block(self) -> Iterator[None]:
        mine = object()
        with self._changed:
            self._begun.add(mine)
        try:
            yield
        finally:
            with self._changed:
                self._begun.remove(mine)
                self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until every block that has begun by now has ended; False when some did not in time."""
        with self._changed:
            before = set(self._begun)
            return self._changed.wait_for(lambda: not before & self._begun, timeout)


class Rotator:
    """One change of keys at a time; another caller waits."""

    def __init__(self, store: Store, key: KeyFile, handing_out: HandingOut) -> None:
        self._store = store
        self._key = key
        self._handing_out = handing_out
        self._one = threading.Lock()

    def rotate(self, reseal_documents: ResealDocuments, actor: str, reached: Reached) -> Rotation:
        """Seal everything with a new key, and drop those before. Without secrets and key file: nothing to do.

        The new key comes first into the file, beside the old; then every row is sealed with it in one
        transaction; then ``reseal_documents`` is handed a function that does so to one token, applies it to
        every token that instances hold on disk, durably, and returns how many files it saw; then the old key
        leaves the file. At every point the keys in the file open all that is sealed, so an instance that starts
        in between works, and calling this or :meth:`finish` again ends with one key and everything sealed
        with it.

        What it protects from: a key file, or a copy of it, that fell into other hands does not open what the
        data directory holds from now on. What it does not: copies of the data directory made before, along
        with the old key (a backup, a snapshot, blocks that the file system or an SSD has not overwritten) give
        the old values away. Whoever may have had both needs new values, not a new key. Within ``state.db`` old
        tokens are overwritten (secure_delete) and the WAL is emptied, unless a reader keeps it in use.

        Raises ``guard.key_unusable``; ``guard.key_mismatch`` before anything is changed, when there is a
        secret that the keys do not open; ``guard.rotation_unfinished``; and what ``reseal_documents`` raises.
        """
        with self._one:
            self._key.tidy()
            if not self._key.exists() and not self._rows():
                return Rotation(0, 0)
            if len(self._key.keys()) > 1:
                self._finish(reseal_documents, actor, reached)
            keys = self._key.keys()
            self._check(seal.Box(keys), self._rows())
            reached("checked")
            self._key.write((seal.new_key(), *keys))
            reached("key added")
            return self._finish(reseal_documents, actor, reached)

    def finish(self, reseal_documents: ResealDocuments, actor: str, reached: Reached) -> Rotation | None:
        """The rest of a change of keys that was cut off; None when the file holds one key, or is not there.

        Raises as :meth:`rotate`.
        """
        with self._one:
            self._key.tidy()
            if not self._key.exists() or len(self._key.keys()) == 1:
                return None
            return self._finish(reseal_documents, actor, reached)

    def _finish(self, reseal_documents: ResealDocuments, actor: str, reached: Reached) -> Rotation:
        keys = self._key.keys()
        box = seal.Box(keys)
        self._check(box, self._rows())
        with self._store.transaction(actor) as tx:
            count = _seal_rows(tx, box)
            reached("rows changed")
        reached("rows sealed")
        if not self._handing_out.wait(LONGEST_START):
            raise ROTATION_UNFINISHED.error(
                f"cannot drop the old key: an instance has been starting for {LONGEST_START:.0f} s",
                hint="everything works with both keys; homeport secrets rotate-key goes on",
            )
        documents = reseal_documents(lambda token: _reseal(box, token))
        reached("documents sealed")
        newest = seal.Box(keys[:1])
        with self._store.transaction(actor) as tx:
            # Held until the old keys are gone: nothing can be sealed with one of them meanwhile.
            self._check(newest, _rows(tx.execute))
            reached("verified")
            self._key.write(keys[:1])
        reached("old keys gone")
        self._wipe()
        return Rotation(count, documents)

    def _rows(self) -> list[Any]:
        with self._store.read() as c:
            return _rows(c.execute)

    def _check(self, box: seal.Box, rows: list[Any]) -> None:
        for row in rows:
            try:
                box.open(row.token, f"{row.name} of {row.app} {row.environment}, version {row.version}")
            except seal.WrongKey as e:
                raise KEY_MISMATCH.error(e.sentence, hint=e.hint) from None

    def _wipe(self) -> None:
        """Empty the WAL, in which tokens of before may stand; left to SQLite while readers use it."""
        with self._store.engine.connect() as c:
            c.exec_driver_sql("PRAGMA busy_timeout=1000")
            try:
                c.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
            finally:
                c.exec_driver_sql("PRAGMA busy_timeout=15000")


def _rows(execute: Callable[[Any], Any]) -> list[Any]:
    return list(execute(sa.select(schema.secrets).where(_S.token.is_not(None))))


def _seal_rows(tx: Transaction, box: seal.Box) -> int:
    tx.execute(sa.text("PRAGMA secure_delete=ON"))
    rows = _rows(tx.execute)
    if rows:
        statement = (
            schema.secrets.update()
            .where(
                _S.app == sa.bindparam("of_app"),
                _S.environment == sa.bindparam("of_environment"),
                _S.name == sa.bindparam("of_name"),
                _S.version == sa.bindparam("of_version"),
            )
            .values(token=sa.bindparam("sealed"))
        )
        tx.connection.execute(
            statement,
            [
                {
                    "of_app": row.app,
                    "of_environment": row.environment,
                    "of_name": row.name,
                    "of_version": row.version,
                    "sealed": _reseal(box, row.token),
                }
                for row in rows
            ],
        )
    return len(rows)


def _reseal(box: seal.Box, token: str) -> str:
    try:
        return box.reseal(token)
    except seal.WrongKey as e:
        raise KEY_MISMATCH.error(e.sentence, hint=e.hint) from None
