"""What is to be locked for longer, what comes back, and what is wrong with a lock. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeport.backup.locks.model import Entry, Known, Lock
from homeport.kernel.units import format_duration

PART = 4
"""Locks are extended after this part of their time, so at least half of it is left of what is in use."""
PASSING = "files/locks/"
"""restic's notes of who works just now: brought back, they would be in everybody's way."""


@dataclass(frozen=True, slots=True)
class RemoveMarker:
    """The version before it is the newest again."""

    marker: Entry


@dataclass(frozen=True, slots=True)
class CopyBack:
    """What was overwritten is written again, as the newest version. What is in between stays locked beside it."""

    version: Entry


Step = RemoveMarker | CopyBack


def prefix_of(prefix: str) -> str:
    """Under which all objects of a repository are."""
    return f"{prefix}/" if prefix else ""


def undelete(entries: Iterable[Entry], since: datetime, prefix: str = "") -> tuple[Step, ...]:
    """What brings back what was deleted or overwritten after ``since``. ``prefix``: :func:`prefix_of`.

    Planned again when all of it was done, there is nothing to do.
    """
    by_key: dict[str, list[Entry]] = {}
    for entry in entries:
        if not entry.key.startswith(f"{prefix}{PASSING}"):
            by_key.setdefault(entry.key, []).append(entry)
    steps: list[Step] = []
    for key in sorted(by_key):
        # Times are to the second: of what has the same one, the store says which is the newest.
        newest_first = sorted(by_key[key], key=lambda e: (e.is_latest, e.at), reverse=True)
        steps += _of_one(newest_first, since)
    return tuple(steps)


def _of_one(entries: list[Entry], since: datetime) -> list[Step]:
    newest = entries[0]
    if newest.at <= since:
        return []
    before = next((e for e in entries if e.at <= since), None)
    overwritten = any(e.at > since and not e.is_marker for e in entries)
    if before is not None and not before.is_marker and overwritten:
        same = not newest.is_marker and newest.has_content_of(before)
        return [] if same else [CopyBack(before)]
    if not newest.is_marker:
        return []
    markers = [e for e in entries if e.is_marker and e.at > since]
    left = [e for e in entries if e not in markers]
    return [RemoveMarker(m) for m in markers] if left and not left[0].is_marker else []


def to_renew(
    entries: Iterable[Entry], lock: Lock, renewed_at: datetime | None, now: datetime, prefix: str = ""
) -> tuple[Entry, ...]:
    """Whose lock is to be extended to ``lock.days`` from now: of what is in use, what would soon be open.

    Backups that are made now stand on what was written long ago; pruned ones are not in use any more.
    """
    part = timedelta(days=lock.days) / PART
    if renewed_at is not None and now - renewed_at < part:
        return ()
    return tuple(
        e
        for e in entries
        if e.is_latest
        and not e.is_marker
        and not e.key.startswith(f"{prefix}{PASSING}")
        and (renewed_at is None or now - e.at >= part)
    )


def is_due(lock: Lock, renewed_at: datetime | None, now: datetime) -> bool:
    """Whether :func:`to_renew` could find anything, so that listing is worth it."""
    return renewed_at is None or now - renewed_at >= timedelta(days=lock.days) / PART


def problems(known: Iterable[Known], now: datetime) -> tuple[str, ...]:
    """What is not locked as it was asked for, in words."""
    found: list[str] = []
    for k in known:
        again = f"homeport backup repository lock {k.repository} {k.asked.days}d"
        if k.seen is None:
            found.append(
                f"what repository {k.repository} holds is not locked any more, {k.asked} was asked for: {again}"
            )
        elif not k.seen.covers(k.asked):
            found.append(
                f"what repository {k.repository} holds is locked for {k.seen} only, {k.asked} was asked for: {again}"
            )
        if k.problem:
            found.append(f"lock of repository {k.repository}: {k.problem}")
        elif k.renewed_at is None:
            found.append(
                f"what was in repository {k.repository} before it was locked is not locked yet: "
                "the next backup goes on with it"
            )
        elif now - k.renewed_at > timedelta(days=k.asked.days) / 2:
            ago = format_duration((now - k.renewed_at).total_seconds())
            found.append(
                f"locks in repository {k.repository} were not extended for {ago}: homeport backup run"
            )
    return tuple(found)
