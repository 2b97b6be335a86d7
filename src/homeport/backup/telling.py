"""Progress of long work, told not too often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from homeport.backup.files import model as files_model
from homeport.backup.files.records import Proof
from homeport.backup.physical.model import Progress
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system.pace import Seen

EVERY = 0.5
"""Seconds."""
Say = Callable[[str, Mapping[str, Any]], None]
T = TypeVar("T")


def told_of_each(
    back_up: Callable[[Callable[[T], None]], object], document: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    """What was made in each repository, by a backup that tells of each.

    {"made": [...]}; with an "error" beside it where another repository has none. Raises what went wrong where none
    has one.
    """
    made: list[T] = []
    failed: HomeportError | None = None
    try:
        back_up(made.append)
    except HomeportError as e:
        if not made:
            raise
        failed = e
    found: dict[str, Any] = {"made": [document(m) for m in made]}
    if failed is not None:
        found["error"] = {
            "code": failed.code,
            "sentence": failed.sentence,
            "hint": failed.hint,
            "details": list(failed.details),
        }
    return found


def made_document(made: files_model.Made) -> dict[str, Any]:
    """Of files: with the bytes a second at which they were backed up."""
    return asdict(made) | {"rate": round(made.rate)}


def proof_document(proof: Proof, rate: int | None, seen: Seen) -> dict[str, Any]:
    """Of files: with the bytes a second at which they were restored, and what it was held to."""
    took = proof.steps.get("restore", 0.0)
    return proof.document() | {
        "rate": round(proof.bytes / took) if took else 0,
        "allowed": rate,
        "read": seen.read,
        "written": seen.written,
        "paused": seen.paused,
    }


def telling(clock: Clock, say: Say) -> Callable[[str, Progress], None]:
    """Of a cluster."""
    tell = _sometimes(clock, say)
    return lambda repository, p: tell(repository, p.done, p.total, p.rate)


def telling_files(clock: Clock, say: Say) -> Callable[[files_model.Progress], None]:
    tell = _sometimes(clock, say)
    return lambda p: tell(p.repository, p.bytes, p.total_bytes, p.rate)


def _sometimes(clock: Clock, say: Say) -> Callable[[str, int, int, float], None]:
    last = -EVERY

    def tell(repository: str, done: int, total: int, rate: float) -> None:
        nonlocal last
        now = clock.monotonic()
        if now - last >= EVERY or done == total:
            last = now
            say("progress", {"repository": repository, "done": done, "total": total, "rate": round(rate)})

    return tell
