"""What previews are called, when they end, sleep and wake. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from homeport.rollout.previews.model import MAX_NAME, Preview, PreviewState
from homeport.spec.model import PREVIEW

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HASH = 6
"""Hex digits of the branch's hash behind a name that would not tell two branches apart."""

LEAST_TTL = 1.0
MOST_TTL = 3650 * 86400.0
"""Seconds."""


def name_problem(name: str) -> str | None:
    """Why a text is no name of a preview, or None."""
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        return f"1 to {MAX_NAME} of a-z, 0-9 and inner hyphens are wanted"
    if name.startswith(PREVIEW):
        return f"leave out the {PREVIEW}: it is put before the name anyway"
    return None


def name_of(branch: str, taken: Mapping[str, str]) -> str:
    """What a branch's preview is called. ``taken``: names that are in use, with their branches.

    The same branch keeps its name; two branches never get the same one.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-").removeprefix(PREVIEW)
    if slug and len(slug) <= MAX_NAME and taken.get(slug, branch) == branch:
        return slug
    digest = hashlib.sha256(branch.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH]
    head = slug[: MAX_NAME - _HASH - 1].rstrip("-")
    return f"{head}-{digest}" if head else f"b{digest}"


def ttl_problem(seconds: float) -> str | None:
    """Why a preview cannot live so long, or None."""
    if not LEAST_TTL <= seconds <= MOST_TTL:
        return "at least one second and at most ten years are possible"
    return None


def expired(previews: Sequence[Preview], now: datetime) -> tuple[Preview, ...]:
    return tuple(p for p in previews if p.expires_at <= now)


def is_idle(preview: Preview, used_at: datetime, sleep_after: float | None, now: datetime) -> bool:
    """Whether a preview may go to sleep, by the time that it was used last."""
    return (
        sleep_after is not None
        and not preview.asleep
        and preview.expires_at > now
        and now - used_at >= timedelta(seconds=sleep_after)
    )


def oldest(previews: Sequence[Preview]) -> Preview:
    """The one that was made first, of at least one."""
    return min(previews, key=lambda p: (p.created_at, p.name))


def standing(
    preview: Preview, *, health: str, moving: bool, waking: bool, problem: str | None, now: datetime
) -> PreviewState:
    """What to tell of a preview. ``health``: that of its environment, as observed; ``moving``: a change is
    at it; ``problem``: why it could not wake last."""
    if preview.expires_at <= now:
        return PreviewState.REMOVING
    if waking:
        return PreviewState.WAKING
    if problem is not None:
        return PreviewState.FAILED
    if preview.asleep and not moving:
        return PreviewState.ASLEEP
    if health in ("up", "degraded"):
        return PreviewState.SERVING
    return PreviewState.STARTING if moving else PreviewState.FAILED
