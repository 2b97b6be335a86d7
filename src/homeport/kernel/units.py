"""Durations and sizes as people write them in ``homeport.toml``, and times as they read them."""

import re
from datetime import datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_SIZE_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_duration(text: str) -> float:
    """Seconds of "250ms", "30s", "10m", "1h30m". Raises ValueError with a reason."""
    position = 0
    seconds = 0.0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        seconds += float(match[1]) * _DURATION_SECONDS[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError('a duration is written like "250ms", "30s", "10m" or "1h30m"')
    return seconds


def format_duration(seconds: float) -> str:
    """Short and for people: "850 ms", "1.3 s", "2 m 5 s", "3 h 10 m", "4 d"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def format_moment(at: datetime) -> str:
    """By the machine's own clock, to the second, with its distance from UTC: "2026-11-20 14:03:10+01:00".

    It can be given back to ``--at`` and the like as it is. Raises ValueError for a time without a zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone().isoformat(sep=" ", timespec="seconds")


def parse_size(text: str) -> int:
    """Bytes of "512MB" (decimal) or "512MiB" (binary). Raises ValueError with a reason."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError('a size is written like "512MB", "2GB" or "512MiB"')
    return int(float(match[1]) * _SIZE_BYTES[match[2]])


def format_size(size: float) -> str:
    """Decimal units with three digits: "1.25 GB"."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
