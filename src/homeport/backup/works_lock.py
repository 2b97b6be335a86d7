"""Object lock: asked for, looked at, extended; and what was deleted in spite of it, brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from homeport.backup.errors import BAD_REPOSITORY
from homeport.backup.files.model import S3Place
from homeport.backup.locks import plan, undeleting
from homeport.backup.locks.errors import NO_OBJECT_LOCK, NOT_LOCKED
from homeport.backup.locks.model import MODES, Known, Lock
from homeport.backup.locks.records import Locks
from homeport.backup.physical.errors import IN_FUTURE
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from homeport.backup.locks.bucket import Bucket
    from homeport.backup.toolbox import Toolbox

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]

AT_ONCE = 500
"""Objects between two looks at the clock."""
SHORT = 120.0
"""Seconds for what somebody waits for; the next backup goes on."""
LONG = 6 * 3600.0


def lock(box: Toolbox, request: Request, say: Say) -> Any:
    """Have a repository's bucket lock what is written, and lock what is there; never weaker or shorter than before.

    It is tried out: what a store says of itself is not enough.
    Raises ``backup.no_object_lock``, ``backup.not_locked``: then it is as it was.
    """
    name, asked = request["repository"], Lock(request["mode"], request["days"])
    with _bucket(box, name) as (bucket, prefix):
        former = _seen(bucket)
        stronger = _stronger(former, asked)
        if stronger != former:
            bucket.set_lock(stronger)
        try:
            seen = bucket.lock()
            if seen is None or not seen.covers(asked):
                raise NOT_LOCKED.error(
                    f"cannot lock {name}: its store took {asked}, and has {seen or 'none'}",
                    hint="set the default retention at the store, and lock it here again",
                )
            bucket.check(prefix)
        except HomeportError:
            if stronger != former:
                with suppress(HomeportError):
                    bucket.set_lock(former)
            raise
        known = Known(name, asked, seen, box.clock.now(), "", None)
        known, extended = _extended(box, bucket, prefix, known, SHORT)
    return {
        "former": former.to_json() if former else None,
        "seen": seen.to_json(),
        "seen_at": text_time(known.seen_at),
        "problem": known.problem,
        "renewed_at": text_time(known.renewed_at) if known.renewed_at else None,
        "extended": extended,
    }


def unlock(box: Toolbox, request: Request, say: Say) -> Any:
    """A bucket's lock is as it was before it was asked for; what was written meanwhile stays locked."""
    with _bucket(box, request["repository"]) as (bucket, _):
        bucket.set_lock(Lock.of(request["former"]))
    return {}


def locks(box: Toolbox, request: Request, say: Say) -> Any:
    """Look at each lock that was asked for, and note it. ``extend``: of what is in use, have it last.

    Raises what went wrong while it extended them, after all were looked at.
    """
    records = Locks(box.state.store)
    told: dict[str, str] = {}
    extended = 0
    problems: list[HomeportError] = []
    for known in records.list():
        try:
            with _bucket(box, known.repository) as (bucket, prefix):
                seen = _seen(bucket)
                known = replace(known, seen=seen, seen_at=box.clock.now(), problem="")
                if request["extend"]:
                    known, n = _extended(box, bucket, prefix, known, LONG)
                    extended += n
        except HomeportError as e:
            known = replace(known, problem=e.sentence)
            problems.append(e)
        records.saw(known)
        told[known.repository] = known.problem or str(known.seen or "none")
    if problems and request["extend"]:
        first = problems[0]
        raise first.type.error(first.sentence, hint=first.hint, details=[e.sentence for e in problems[1:]])
    return {"locks": told, "extended": extended}


def undelete(box: Toolbox, request: Request, say: Say) -> Any:
    """Bring back what was deleted or overwritten since a moment; ``plan``: only tell what that is.

    Raises ``backup.in_future``, and as :func:`homeport.backup.locks.undeleting.undelete`.
    """
    name, since = request["repository"], parse_time(request["since"])
    if since > box.clock.now():
        raise IN_FUTURE.error(f"cannot bring back what was deleted since {request['since']}: that is to come")
    with _bucket(box, name, "bring back files in") as (bucket, prefix):
        return undeleting.undelete(name, bucket, prefix, since, only_plan=request["plan"]).to_json()


@contextmanager
def _bucket(box: Toolbox, name: str, doing: str = "lock") -> Iterator[tuple[Bucket, str]]:
    """A repository's bucket and the prefix under which it is. Raises ``backup.bad_repository`` for a directory."""
    recorded = box.repositories.get(name)
    place = next(r.place for r in box.repositories.for_files() if r.name == name)
    if not isinstance(place, S3Place):
        raise BAD_REPOSITORY.error(
            f"cannot {doing} {name}: a directory has no object lock",
            hint="an S3-compatible store has it: homeport backup repository add NAME --endpoint URL --bucket BUCKET",
        )
    # It takes memory that other works need not have.
    from homeport.backup.locks.bucket import Bucket

    with Bucket(name, place) as bucket:
        yield bucket, plan.prefix_of(recorded.place.prefix)


def _seen(bucket: Bucket) -> Lock | None:
    try:
        return bucket.lock()
    except HomeportError as e:
        if e.type is not NO_OBJECT_LOCK:
            raise
        return None


def _stronger(former: Lock | None, asked: Lock) -> Lock:
    if former is None:
        return asked
    return Lock(max(former.mode, asked.mode, key=MODES.index), max(former.days, asked.days))


def _extended(box: Toolbox, bucket: Bucket, prefix: str, known: Known, seconds: float) -> tuple[Known, int]:
    """With what came of it, and how many locks were extended."""
    now, deadline = box.clock.now(), box.clock.monotonic() + seconds
    if not plan.is_due(known.asked, known.renewed_at, now):
        return known, 0
    due = plan.to_renew(bucket.entries(prefix), known.asked, known.renewed_at, now, prefix)
    failed: list[str] = []
    for n in range(0, len(due), AT_ONCE):
        if box.clock.monotonic() > deadline:
            return known, n
        until = now + timedelta(days=known.asked.days)
        failed += bucket.extend(due[n : n + AT_ONCE], known.asked.mode, until)
    if failed:
        said = f"{len(failed)} of {len(due)} files could not be locked for longer ({failed[0]})"
        return replace(known, problem=said), len(due) - len(failed)
    return replace(known, renewed_at=now), len(due)


WORKS = {"lock": lock, "unlock": unlock, "locks": locks, "undelete": undelete}
