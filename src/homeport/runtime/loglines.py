"""Lines of the log files: how one is read, and several instances' merged. Pure."""

import heapq
import re
from collections.abc import Iterable

from homeport.kernel.ids import InstanceName

STAMP_LENGTH = len("2025-01-31T23:59:59.123Z")
Line = tuple[str, InstanceName, str]
"""(time in ISO 8601 UTC, instance, text)"""

_STAMPED = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z ")
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def printable(raw: bytes) -> str:
    """A log line's text, safe to print and to put into a page.

    Bytes that are not UTF-8 become U+FFFD, terminal sequences (colours, cursor, titles) are left out,
    other control characters but tabs are written as ``\\x07``; it never holds a line break.
    """
    text = raw.rstrip(b"\r").decode("utf-8", "replace")
    if text.isprintable():
        return text
    text = _ESCAPE.sub("", text)
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else " ", text)


def parse(raw: bytes) -> tuple[str, str] | None:
    """(time, text) of a line without its newline; None for what is not a whole line of ours."""
    if not _STAMPED.match(raw):
        return None
    return raw[:STAMP_LENGTH].decode(), printable(raw[STAMP_LENGTH + 1 :])


def normal_time(since: str) -> str:
    """A time in ISO 8601 UTC in the form that compares with the stamps: only as long as it was given."""
    return since.strip().removesuffix("Z").replace("+00:00", "").replace(" ", "T")


def merge(logs: Iterable[list[Line]], limit: int) -> list[Line]:
    """The newest ``limit`` lines of several logs, each in order; ties keep a log's lines together."""
    merged = list(heapq.merge(*logs, key=lambda line: line[0]))
    return merged[-limit:] if limit > 0 else []
