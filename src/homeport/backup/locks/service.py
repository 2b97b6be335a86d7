"""Object lock of repositories, as the control plane asks for it: children do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Protocol

from homeport.backup.errors import BAD_REPOSITORY
from homeport.backup.locks.model import LONGEST, Known, Lock
from homeport.backup.locks.records import Locks
from homeport.backup.locks.undeleting import Undeleted
from homeport.backup.repositories import Repositories
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError

LONG = 380.0
"""Seconds."""


class Ask(Protocol):
    def __call__(self, work: str, request: Mapping[str, Any], *, timeout: float = ...) -> Any: ...


class Locking:
    """``idle`` raises ``backup.run_under_way`` while something is written into repositories."""

    def __init__(
        self, repositories: Repositories, locks: Locks, ask: Ask, idle: Callable[[str], None]
    ) -> None:
        self._repositories = repositories
        self._locks = locks
        self._ask = ask
        self._idle = idle

    @contextmanager
    def locked(self, name: str, lock: Lock | None, *, actor: str) -> Iterator[None]:
        """For what is made in a repository meanwhile; where that fails, the bucket's lock is as before."""
        if lock is None:
            yield
            return
        found = self._lock(name, lock)
        try:
            yield
        except HomeportError:
            if found["former"] != found["seen"]:
                with suppress(HomeportError):
                    self._ask("unlock", {"repository": name, "former": found["former"]})
            raise
        self._note(name, lock, found, actor)

    def lock(self, name: str, lock: Lock, *, actor: str) -> int:
        """Have a repository that there is lock what it holds and gets; of how many files the lock was extended.

        Raises ``backup.unknown_repository``, ``.bad_repository``, ``.no_object_lock``, ``.not_locked``, and what its
        store raises.
        """
        self._repositories.get(name)
        found = self._lock(name, lock)
        self._note(name, lock, found, actor)
        return int(found["extended"])

    def forget(self, name: str, *, actor: str) -> None:
        """It is not looked at any more; the store's own goes on. Raises ``backup.unknown_repository``."""
        self._repositories.get(name)
        self._locks.forget(name, actor=actor)

    def look(self) -> None:
        """At all that were asked for, now; noted."""
        if self._locks.list():
            self._ask("locks", {"extend": False})

    def undelete(self, name: str, since: datetime, *, plan: bool, actor: str) -> Undeleted:
        """Bring back what was deleted or overwritten since then; ``plan``: only tell what that is.

        Raises ``backup.unknown_repository``, ``.bad_repository``, ``.in_future``, ``.run_under_way``,
        ``.not_all_undeleted``, and what its store raises.
        """
        self._repositories.get(name)
        if not plan:
            self._idle(f"bring back files in {name}")
        request = {"repository": name, "since": text_time(since), "plan": plan}
        found = self._ask("undelete", request, timeout=LONG)
        if not plan:
            self._locks.undeleted(name, text_time(since), found["deleted"], found["overwritten"], actor=actor)
        return Undeleted(found["deleted"], found["overwritten"], tuple(found["files"]), found["done"])

    def _lock(self, name: str, lock: Lock) -> Mapping[str, Any]:
        if not 1 <= lock.days <= LONGEST:
            raise BAD_REPOSITORY.error(f"cannot lock {name}: a lock is of 1 to {LONGEST:,} days")
        found: Mapping[str, Any] = self._ask("lock", {"repository": name, **lock.to_json()}, timeout=LONG)
        return found

    def _note(self, name: str, lock: Lock, found: Mapping[str, Any], actor: str) -> None:
        renewed = parse_time(found["renewed_at"]) if found["renewed_at"] else None
        at = parse_time(found["seen_at"])
        self._locks.ask(Known(name, lock, Lock.of(found["seen"]), at, found["problem"], renewed), actor=actor)
