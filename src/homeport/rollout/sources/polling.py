"""When a source is looked at. Pure."""

from datetime import datetime, timedelta

from homeport.rollout.sources.model import Source

FIRST_RETRY = 10.0
"""Seconds after the first failure; it doubles with each one more."""
LONGEST_RETRY = 900.0


def is_due(source: Source, now: datetime) -> bool:
    """Whether to look now: something waits for it or it is watched, and the pause since the last look is over."""
    if source.url is None or (not source.pending and source.poll is None):
        return False
    if source.looked_at is None or now < source.looked_at:
        return True
    return now >= source.looked_at + timedelta(seconds=pause(source))


def pause(source: Source) -> float:
    """Seconds between the last look and the next one."""
    if source.failures:
        retry = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(source.failures - 1, 20))
        return retry if source.pending else max(retry, source.poll or 0.0)
    return 0.0 if source.pending else source.poll or 0.0
