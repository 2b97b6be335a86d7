"""What restic prints, read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from homeport.backup.files.commands import OF, RECORDS_TAG, SERIES
from homeport.backup.files.errors import (
    BROKEN,
    FULL,
    LOCKED,
    NO_REPOSITORY,
    NO_SNAPSHOT,
    NOT_ANSWERING,
    NOT_OPENED,
    REFUSED,
    RESTIC_FAILED,
    STORE_FAILED,
)
from homeport.backup.files.model import Lock, Snapshot, Summary, is_series
from homeport.backup.stores import CERTIFICATE, What, fault
from homeport.kernel.errors import ErrorType

KEPT_RECORDS = 3
MOST_RECORDS = 12
"""Of which all but the newest :data:`KEPT_RECORDS` go at once: freeing room costs more than they take."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")

_MEANINGS: tuple[tuple[str, ErrorType, str], ...] = (
    (r"wrong password or no key found", NOT_OPENED, "the password does not open it"),
    (r"repository is already locked", LOCKED, "it is locked"),
    (r"no space left on device|disk quota exceeded|StorageFull", FULL, "the disk is full"),
    (r"config file already exists", RESTIC_FAILED, "there is a repository already"),
    (r"permission denied", REFUSED, "its files may not be read or written"),
    (r"tls: ", NOT_ANSWERING, "no connection by TLS comes about"),
    (
        r"i/o timeout|no route to host|network is unreachable|deadline exceeded",
        NOT_ANSWERING,
        "it does not answer",
    ),
    (r"no matching ID found|multiple IDs with prefix", NO_SNAPSHOT, "it has no such backup"),
    (
        r"\b50[0-9] |InternalError|SlowDown|ServiceUnavailable",
        STORE_FAILED,
        "the store answers with an error",
    ),
    (
        r"Load\(<\w+/\w+>.*(no such file or directory|specified key does not exist)|"
        r"ciphertext verification failed|does not match|hash does not|contains errors|Pack ID|"
        r"unexpected file size|does not exist|not found in (index|repository)|There were \d+ errors|"
        r"invalid data returned|data corruption|number of used blobs|failed to load|StreamPack",
        BROKEN,
        "what it holds is damaged or missing",
    ),
    (r"unexpected EOF|connection reset|broken pipe|EOF", STORE_FAILED, "the store cuts its answers short"),
)
_FIRST = 4
"""Of the meanings: they come before what is wrong with a store."""
_OF_STORES = {
    What.CERTIFICATE: CERTIFICATE,
    What.SILENT: NOT_ANSWERING,
    What.REFUSED: REFUSED,
    What.NO_BUCKET: REFUSED,
}
_NOT_THERE = re.compile(
    r"unable to open config file: .*(no such file or directory|specified key does not exist|not a directory)"
)


_LASTING = re.compile(
    rb"(Load|Stat)\(<(?!lock)\w+/\w+>[^\n]*retrying after [^\n]*"
    rb"(no such file or directory|specified key does not exist)"
    rb"|retrying after [^\n]*(no space left on device|disk quota exceeded)"
)


def is_lasting(output: bytes | bytearray) -> bool:
    """Whether restic asks again and again for what is not there, or writes to a full disk; it would for minutes."""
    return _LASTING.search(output) is not None


class Verdict(NamedTuple):
    type: ErrorType
    why: str
    """In a few words."""
    details: tuple[str, ...]
    """The lines that say so."""
    hint: str = ""


def verdict(output: str, where: str = "") -> Verdict:
    """``where``: the host of the repository's store."""
    lines = tuple(line.strip() for line in output.splitlines() if line.strip() and not line.startswith("{"))
    telling = tuple(line for line in lines if not line.startswith(("Is there a repository", "[")))[-6:]
    if _NOT_THERE.search(output):
        return Verdict(NO_REPOSITORY, "there is none at that place", telling)
    if (known := _known(_MEANINGS[:_FIRST], output, lines)) is not None:
        return known
    if (found := fault(output, where)) is not None:
        exact = tuple(line for line in lines if fault(line) is not None)
        return Verdict(_OF_STORES[found.what], found.why, exact[:6] or telling, found.hint)
    if (known := _known(_MEANINGS[_FIRST:], output, lines)) is not None:
        return known
    return Verdict(RESTIC_FAILED, telling[-1] if telling else "restic said nothing", telling)


def _known(
    meanings: tuple[tuple[str, ErrorType, str], ...], output: str, lines: tuple[str, ...]
) -> Verdict | None:
    for pattern, type_, why in meanings:
        if re.search(pattern, output):
            exact = tuple(line for line in lines if re.search(pattern, line))
            return Verdict(type_, why, tuple(dict.fromkeys(exact))[:6] or lines[-6:])
    return None


class Counter:
    """Follows ``backup --json``: how far it is, what it could not read, and how it ended."""

    def __init__(self) -> None:
        self._rest = b""
        self.files = self.total_files = self.bytes = self.total_bytes = 0
        self.unread: list[str] = []
        self.summary: Summary | None = None
        self.words: list[str] = []
        """The last lines that are no JSON."""

    def feed(self, chunk: bytes) -> bool:
        """Whether it came further."""
        before = (self.files, self.bytes, self.total_bytes)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").strip())
        return (self.files, self.bytes, self.total_bytes) != before

    def _line(self, line: str) -> None:
        said: Any = None
        if line.startswith("{"):
            with suppress(ValueError):
                said = json.loads(line)
        if not isinstance(said, dict):
            self.words = [*self.words, line][-40:] if line else self.words
            return
        match said.get("message_type"):
            case "status":
                # Each is left out where it is 0.
                self.files = int(said.get("files_done", self.files))
                self.bytes = int(said.get("bytes_done", self.bytes))
                self.total_files = int(said.get("total_files", self.total_files))
                self.total_bytes = int(said.get("total_bytes", self.total_bytes))
            case "error":
                why = said.get("error")
                why = why.get("message", "") or why.get("Err", "") if isinstance(why, dict) else why
                self.unread = [*self.unread, f"{said.get('item', '')}: {why}"][-200:]
            case "summary":
                self.summary = Summary(
                    str(said.get("snapshot_id", "")),
                    int(said.get("total_files_processed", 0)),
                    int(said.get("total_bytes_processed", 0)),
                    int(said.get("data_added", 0)),
                )
                self.files, self.bytes = self.summary.files, self.summary.bytes


def time(text: str) -> datetime:
    """Go's RFC 3339, with up to nine digits of a second. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(f"{match[1]}.{(match[2] or '0')[:6]:0<6}{zone}")


def snapshots(text: str) -> tuple[tuple[Snapshot, ...], tuple[str, ...]]:
    """(ours, oldest first; ids of manifests whose backup is gone, and of records that newer ones replace).

    Others' are passed over. Raises ValueError.
    """
    data: dict[str, tuple[datetime, str, int]] = {}
    manifests: dict[str, str] = {}
    for entry in json.loads(text) or ():
        tags = [str(tag) for tag in entry.get("tags") or ()]
        series = next((t.removeprefix(SERIES) for t in tags if t.startswith(SERIES)), "")
        if not is_series(series):
            continue
        of = next((t.removeprefix(OF) for t in tags if t.startswith(OF)), "")
        if of:
            manifests[of] = str(entry["id"])
        else:
            size = int((entry.get("summary") or {}).get("total_bytes_processed") or 0)
            data[str(entry["id"])] = (time(str(entry["time"])), series, size)
    found = (Snapshot(id, at, series, manifests.get(id, ""), n) for id, (at, series, n) in data.items())
    kept = records(text)
    old = kept[:-KEPT_RECORDS] if len(kept) > MOST_RECORDS else ()
    orphans = (*sorted(m for of, m in manifests.items() if of not in data), *old)
    return tuple(sorted(found, key=lambda s: (s.at, s.id))), orphans


def records(text: str) -> tuple[str, ...]:
    """Of the same list, ids of what :func:`commands.keep_records` made: oldest first. Raises ValueError."""
    found = [e for e in json.loads(text) or () if RECORDS_TAG in (e.get("tags") or ())]
    return tuple(id for _, id in sorted((time(str(e["time"])), str(e["id"])) for e in found))


def lock(id: str, text: str) -> Lock:
    """Raises ValueError or KeyError."""
    said = json.loads(text)
    return Lock(
        id,
        time(str(said["time"])),
        str(said["hostname"]),
        str(said.get("username", "")),
        int(said["pid"]),
        bool(said.get("exclusive", False)),
    )


def ids(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if re.fullmatch(r"[0-9a-f]{64}", line.strip()))


def current_key(text: str) -> str:
    """The id of the key that opened the repository; "" where restic did not say."""
    try:
        found = [str(k["id"]) for k in json.loads(text) if k["current"]]
    except (ValueError, KeyError, TypeError):
        return ""
    return found[0] if len(found) == 1 and re.fullmatch(r"[0-9a-f]{8,64}", found[0]) else ""


def full_id(clipped: str, found: Iterable[Snapshot]) -> str:
    """ "" where there is none, or more than one."""
    ids_ = [s.id for s in found if clipped and s.id.startswith(clipped)]
    return ids_[0] if len(ids_) == 1 else ""
