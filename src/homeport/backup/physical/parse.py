"""What pgBackRest prints. Pure."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from homeport.backup.physical.errors import (
    BUSY,
    CLOCK,
    DAMAGED,
    FAILED,
    MISSING,
    NO_BUCKET,
    NO_SPACE,
    NOT_ARCHIVING,
    OTHER_CLUSTER,
    REFUSED,
    UNKNOWN,
    UNREACHABLE,
    WRONG_PASSPHRASE,
)
from homeport.backup.physical.model import PhysicalBackup, Progress, RepositoryLook
from homeport.backup.physical.wal import segment
from homeport.backup.stores import CERTIFICATE, What, fault
from homeport.kernel.errors import ErrorType

_FILE = re.compile(
    r"(?:backup|restore|match file from prior backup|reference) (?:file )?/.*?"
    r"\((?:[^()]*, )?([0-9.]+)(B|KB|MB|GB|TB), ([0-9.]+)%\)"
)
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_ERROR = re.compile(r"ERROR: \[([0-9]{3})\]: ")
_LABEL = re.compile(r"new backup label = (\S+)")
_CORRUPTED = re.compile(r"^ *FormatError: key/value found outside of section.*$|CryptoError", re.MULTILINE)
LIMIT = 300

# pgBackRest's exit status is the number of its error.
_KINDS: dict[int, tuple[ErrorType, str]] = {
    26: (DAMAGED, "what the repository holds is not what was put into it"),
    28: (OTHER_CLUSTER, "it holds the backups of another cluster"),
    29: (DAMAGED, "a file in it cannot be read"),
    44: (OTHER_CLUSTER, "it holds the log of another cluster"),
    45: (OTHER_CLUSTER, "it has a segment of the same name with other content"),
    49: (UNREACHABLE, "it does not answer"),
    50: (BUSY, "another run holds its lock"),
    51: (OTHER_CLUSTER, "it holds the backups of another cluster"),
    55: (MISSING, "files are gone"),
    73: (MISSING, "a directory is gone"),
    75: (UNKNOWN, "there is no backup of that name"),
    82: (NOT_ARCHIVING, "the server's log did not arrive"),
    87: (NOT_ARCHIVING, "the server does not archive"),
    101: (UNREACHABLE, "its store does not answer as it should"),
    95: (WRONG_PASSPHRASE, "the passphrase does not fit"),
}
_OF_STORES = {
    What.CERTIFICATE: CERTIFICATE,
    What.SILENT: UNREACHABLE,
    What.REFUSED: REFUSED,
    What.NO_BUCKET: NO_BUCKET,
}
_UNREACHABLE = re.compile(
    r"HostConnectError|ServiceError|unable to connect|unable to get address|HTTP request failed|timeout"
    r"|TLS|certificate",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"\[13\] Permission denied")
_SERVICE = re.compile(r"(?:\[|HTTP request failed with )(5[0-9]{2})\b")
_CUT_SHORT = re.compile("unexpected EOF reading HTTP content")
_SILENT = re.compile(r"timeout after [0-9]+ms waiting for (?:read from|write to) '[^']+:[0-9]+'")
_CLOCK = re.compile("is not later than latest backup label(?: '([0-9A-Z_-]+)')?")
_FULL = re.compile(r"No space left on device|\[28\]")


class Verdict(NamedTuple):
    type: ErrorType
    why: str
    hint: str = ""
    details: tuple[str, ...] = ()
    """What pgBackRest said."""


def verdict(status: int, output: str, *, opened: bool = False, where: str = "") -> Verdict:
    """Of a run that ended with ``status`` other than 0.

    ``opened``: the repository was read with the same passphrase before. ``where``: its store's host.
    """
    lines = error_lines(output)
    return _meaning(status, "\n".join(lines), opened, where)._replace(details=_readable(lines))


def _meaning(status: int, text: str, opened: bool, where: str) -> Verdict:
    # Before all else: a certificate that is not accepted has the number of what cannot be decrypted.
    if (told := _access(text, where)) is not None:
        return told
    if _CORRUPTED.search(text):
        if opened:
            return Verdict(DAMAGED, "what the repository holds is not what was put into it")
        return Verdict(WRONG_PASSPHRASE, "the passphrase does not fit, or the repository is damaged")
    if (failing := failing_store(text)) is not None:
        return Verdict(*failing)
    if _FULL.search(text):
        return Verdict(NO_SPACE, "a disk is full")
    if _CLOCK.search(text):
        return Verdict(CLOCK, "its newest backup is of a later time than it is now: the clock was set back")
    if status in _KINDS:
        return Verdict(*_KINDS[status])
    if _UNREACHABLE.search(text):
        return Verdict(UNREACHABLE, "it does not answer as it should")
    return Verdict(FAILED, f"pgBackRest ended with status {status}")


def _access(text: str, where: str) -> Verdict | None:
    found = fault(text, where)
    return Verdict(_OF_STORES[found.what], found.why, found.hint) if found is not None else None


def failing_store(text: str) -> tuple[ErrorType, str] | None:
    """What a store does wrong says nothing of what it holds."""
    if _CUT_SHORT.search(text):
        return UNREACHABLE, "its store cuts its answers short"
    if (error := _SERVICE.search(text)) is not None:
        return UNREACHABLE, f"its store answers with error {error[1]}"
    if _SILENT.search(text):
        return UNREACHABLE, "its store does not answer"
    return None


def error_lines(output: str) -> tuple[str, ...]:
    """From its first error on; all of it where none is marked as one."""
    found = _ERROR.search(output)
    return tuple((output[found.start() :] if found else output).strip().splitlines()[-20:])


def _readable(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Without what a wrong passphrase makes of a file."""
    kept = [line for line in lines if not _CORRUPTED.search(line)]
    return tuple("".join(c if c.isprintable() else "?" for c in line)[:LIMIT].strip() for line in kept)


def problem(message: str, where: str = "") -> Verdict:
    """Of a repository's status other than "ok", in what ``info`` gives."""
    if (told := _access(message, where)) is not None:
        return told
    if _CORRUPTED.search(message):
        return Verdict(WRONG_PASSPHRASE, "the passphrase does not fit, or the repository is damaged")
    if (failing := failing_store(message)) is not None:
        return Verdict(*failing)
    lines = _readable(tuple(message.strip().splitlines()[:3]))
    if _CLOSED.search(message):
        hint = "chmod o+x on each directory above it; what is in it belongs to PostgreSQL's user"
        return Verdict(UNREACHABLE, "PostgreSQL's user may not read its directory", hint, lines)
    return Verdict(UNREACHABLE if _UNREACHABLE.search(message) else DAMAGED, "; ".join(lines))


def look(text: str, name: str, where: str = "") -> RepositoryLook:
    """What ``info`` gives of one repository. Raises ValueError."""
    # Not strict: what a wrong passphrase makes of a file is quoted as it is.
    stanzas: list[dict[str, Any]] = json.loads(text, strict=False)
    if not stanzas:
        return RepositoryLook(name)
    stanza = stanzas[0]
    statuses = [r["status"] for r in stanza.get("repo", [])] or [stanza["status"]]
    # 1: no stanza, 2: no backups yet, 3: one of them
    code, message = statuses[0]["code"], statuses[0]["message"]
    if code not in (0, 1, 2):
        return RepositoryLook(name, problem=problem(message, where).why)
    databases = {d["id"]: d for d in stanza.get("db", [])}
    newest = max(databases, default=None)
    backups = sorted((_backup(b, name, databases) for b in stanza.get("backup", [])), key=lambda b: b.label)
    system = databases[newest]["system-id"] if newest is not None else None
    return RepositoryLook(name, tuple(backups), system)


def _backup(b: dict[str, Any], repository: str, databases: dict[int, dict[str, Any]]) -> PhysicalBackup:
    id = b["database"]["id"]
    return PhysicalBackup(
        repository=repository,
        label=b["label"],
        kind=b["type"],
        started_at=datetime.fromtimestamp(b["timestamp"]["start"], UTC),
        stopped_at=datetime.fromtimestamp(b["timestamp"]["stop"], UTC),
        start_lsn=b["lsn"]["start"],
        stop_lsn=b["lsn"]["stop"],
        start=segment(b["archive"]["start"]),
        stop=segment(b["archive"]["stop"]),
        bytes=b["info"]["size"],
        stored_bytes=b["info"]["repository"]["delta"],
        archive=f"{databases[id]['version']}-{id}",
        needs=tuple(b["reference"] or ()),
        page_errors=bool(b.get("error")),
    )


def message(text: str) -> str:
    """A repository's status, in words, from what ``info`` gives."""
    stanza = json.loads(text, strict=False)[0]
    status = (stanza.get("repo") or [stanza])[0]["status"]
    return str(status["message"])


def listing(text: str) -> dict[str, int]:
    """Sizes of files by path, from ``repo-ls``. Raises ValueError."""
    entries: dict[str, dict[str, Any]] = json.loads(text, strict=False)
    return {path: e["size"] for path, e in entries.items() if e["type"] == "file"}


def label(output: str) -> str | None:
    found = _LABEL.search(output)
    return found[1] if found else None


def latest_label(lines: Iterable[str]) -> str | None:
    """What a new backup would have to come after, from what pgBackRest said; it may be one that was cut off."""
    return next((found[1] for line in lines if (found := _CLOCK.search(line))), None)


class Counter:
    """Adds up what a run tells of each file, from its output as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = 0
        self.share = 0.0

    def feed(self, chunk: bytes) -> bool:
        """Whether it told of a file."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        before = self.done, self.share
        for line in lines:
            found = _FILE.search(line.decode("utf-8", "replace"))
            if found is not None:
                self.done += int(float(found[1]) * _UNITS[found[2]])
                self.share = max(self.share, float(found[3]) / 100)
        return before != (self.done, self.share)

    def progress(self, seconds: float) -> Progress:
        """``total`` is worked out from the share that is done."""
        total = int(self.done / self.share) if self.share > 0 else 0
        return Progress(self.done, max(total, self.done), seconds)
