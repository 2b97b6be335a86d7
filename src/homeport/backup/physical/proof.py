"""A backup proven by restoring it: what was done, how long it took, and what was wrong."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from homeport.backup.physical import commands, heartbeat, plan, restore, room
from homeport.backup.physical.copy import RECOVERY, Copy, remove
from homeport.backup.physical.errors import (
    DAMAGED,
    MISSING,
    NOT_REACHED,
    NOT_STARTED,
    OTHER_CLUSTER,
    OTHER_TIMELINE,
    UNKNOWN,
    WAL_GAP,
    WRONG_PASSPHRASE,
)
from homeport.backup.physical.manifest import Comparison, Manifest, compare
from homeport.backup.physical.model import AtPoint, OfBackup, PhysicalBackup, Target
from homeport.backup.physical.pgbackrest import OnProgress, PgBackRest
from homeport.database import refused
from homeport.database.connect import Connection
from homeport.journal.store import parse_time, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

WRONG_BACKUP = {
    t.code
    for t in (
        DAMAGED,
        MISSING,
        WAL_GAP,
        WRONG_PASSPHRASE,
        NOT_REACHED,
        NOT_STARTED,
        OTHER_CLUSTER,
        OTHER_TIMELINE,
        UNKNOWN,
    )
}
"""What speaks against the backup; anything else says that it could not be tried."""
QUESTION_SECONDS = 60
CHECK_TIMEOUT = 6 * 3600.0
PASSES = 20
"""How often a check may read all of a copy. Under a rate it has the time for that besides."""
QUESTION_PASSES = 2


@dataclass(frozen=True, slots=True)
class Question:
    """A query of the app's own: the text of its first row's first value is ``expect``; with "" there is a row.

    It is asked as ``role``, reading only.
    """

    name: str
    database: str
    sql: str
    expect: str = ""
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    repository: str
    label: str
    at: datetime
    seconds: float
    failures: tuple[str, ...]
    """() when the backup is proven; each names what is wrong."""
    undecided: tuple[str, ...] = ()
    """What differs where a transaction ended just as the manifest was taken; the next manifest decides."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds of each: restore, start, compare, ask, amcheck, stop, checksums."""
    tables: int = 0
    rows: int = 0
    heartbeat_at: datetime | None = None
    point: str | None = None
    """The restore point that it was recovered to; None: the backup's own end, without a manifest."""
    bytes: int = 0
    """Of the files that were restored."""
    rate: int = 0
    """Bytes a second at which they were."""
    allowed: int | None = None
    """Bytes a second that it was held to."""
    read: int = 0
    """Bytes from disks under that, by all its programs."""
    written: int = 0
    paused: float = 0.0
    """Seconds that they were stopped for."""

    @property
    def passed(self) -> bool:
        return not self.failures and not self.undecided

    def document(self) -> dict[str, Any]:
        beat = text_time(self.heartbeat_at) if self.heartbeat_at else None
        return asdict(self) | {"at": text_time(self.at), "heartbeat_at": beat}

    @staticmethod
    def of(document: dict[str, Any]) -> "Proof":
        """Raises KeyError, TypeError, ValueError for what is none."""
        values = dict(document)
        values["at"] = parse_time(values["at"])
        beat = values["heartbeat_at"]
        values["heartbeat_at"] = parse_time(beat) if beat else None
        values["failures"], values["undecided"] = tuple(values["failures"]), tuple(values["undecided"])
        return Proof(**values)


def prove(
    program: PgBackRest,
    backup: PhysicalBackup,
    manifest: Manifest | None,
    directory: Path,
    version: int,
    clock: Clock,
    *,
    questions: Sequence[Question],
    on_progress: OnProgress,
    jobs: int,
    rate: int | None = None,
) -> Proof:
    """Restore into ``directory``, which is not there, look at all of it, and remove it.

    Raises only what says that the backup could not be tried: no room, a repository that does not answer.
    """
    began = clock.monotonic()
    steps: dict[str, float] = {}
    failures: list[str] = []
    found = Comparison(0, 0, (), ())
    beat: datetime | None = None
    target: Target = (
        AtPoint(manifest.point, manifest.lsn, manifest.at) if manifest is not None else OfBackup(backup.label)
    )
    copy = Copy(program, directory, version, clock, throwaway=True)
    passes = backup.bytes / rate if rate else 0.0
    doing = f"prove {backup.label} in repository {backup.repository}"

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = clock.monotonic()
        try:
            yield
        finally:
            steps[name] = round(clock.monotonic() - start, 3)

    try:
        with step("log"):
            own = manifest.timeline if manifest is not None else backup.stop.timeline
            way = restore.check_log(program, backup, target, with_tail=False, timeline=own)
            failures += [
                f"repository {backup.repository} lacks {gap} of the log after this backup"
                for gap in plan.promised((backup,), way.archive, backup.label)
            ]
        restore.check_room(directory.parent, backup, plan.to_replay(backup, target, way.archive))
        copy.make()
        with step("restore"):
            restore.fetch(
                program, backup, target, copy.files, way.timeline, idle=True, on_progress=on_progress
            )
        with step("start"):
            copy.start(RECOVERY + passes * PASSES)
        with copy.connect("postgres") as connection:
            beat = heartbeat.newest(connection)
        if manifest is not None:
            with step("compare"):
                found = compare(manifest, copy.connect)
            failures += found.differences
        with step("ask"):
            failures += ask(copy, questions, QUESTION_SECONDS + passes * QUESTION_PASSES)
        with step("amcheck"):
            failures += _amcheck(copy, jobs, CHECK_TIMEOUT + passes * PASSES)
        with step("stop"):
            copy.stop()
        with step("checksums"):
            failures += _checksums(copy, CHECK_TIMEOUT + passes)
        if failures:
            room.must_not_be_full(directory, doing, failures)
    except HomeportError as e:
        if e.code not in WRONG_BACKUP:
            raise
        failures.append("; ".join((e.sentence, *_short(e.details))))
        if e.type in (NOT_STARTED, NOT_REACHED):
            room.must_not_be_full(directory, doing, failures)
    finally:
        copy.end()
        remove(directory, directory.parent, clock)
    took = steps.get("restore", 0.0)
    return Proof(
        backup.repository, backup.label, clock.now(), round(clock.monotonic() - began, 3), tuple(failures),
        found.undecided, steps, found.tables, found.rows, beat, manifest.point if manifest else None,
        backup.bytes, round(backup.bytes / took) if took else 0, rate,
    )  # fmt: skip


def _short(details: Iterable[str]) -> list[str]:
    return [line.strip() for line in details][:4]


def _amcheck(copy: Copy, jobs: int, timeout: float) -> list[str]:
    ran = copy.run(commands.amcheck(copy.programs, copy.directory, jobs), timeout)
    if ran.ok:
        return []
    lines = refused.lines_of(ran.stdout + ran.stderr)
    return [f"pg_amcheck: {line}" for line in lines[:5]] or [f"pg_amcheck ended with status {ran.returncode}"]


def _checksums(copy: Copy, timeout: float) -> list[str]:
    ran = copy.run(commands.checksums(copy.programs, copy.files), timeout)
    if ran.ok:
        return []
    lines = [line.strip() for line in ran.stderr.splitlines() if "error" in line]
    return [f"pg_checksums: {line}" for line in lines[:5]] or [f"pg_checksums ended with {ran.returncode}"]


def ask(copy: Copy, questions: Iterable[Question], seconds: float = QUESTION_SECONDS) -> list[str]:
    """What does not hold. ``seconds``: for each; a server that is stopped now and then needs more."""
    import psycopg

    wrong = []
    for question in questions:
        try:
            with copy.connect(question.database) as connection:
                answer = _answer(connection, question, seconds)
        except (psycopg.Error, HomeportError) as e:
            wrong.append(f"question {question.name} cannot be asked: {_said(e)}")
            continue
        if answer is None:
            wrong.append(f"question {question.name}: no row")
        elif question.expect and answer[0] != question.expect:
            wrong.append(f"question {question.name}: {answer[0][:80]} instead of {question.expect}")
    return wrong


def _said(error: Exception) -> str:
    return error.sentence if isinstance(error, HomeportError) else refused.why(error)


def _answer(connection: Connection, question: Question, seconds: float) -> tuple[str] | None:
    """The first value's text; None where there is no row."""
    from psycopg import sql

    connection.execute(
        sql.SQL("SET statement_timeout = {}").format(sql.Literal(min(round(seconds * 1000), 2**31 - 1)))
    )
    connection.execute("SET default_transaction_read_only = on")
    if question.role is not None:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(question.role)))
    # Prepared, so that it is one statement.
    cursor = connection.execute(question.sql.encode(), prepare=True)
    if cursor.fetchone() is None or cursor.pgresult is None:
        return None
    value = cursor.pgresult.get_value(0, 0)
    return (value.decode("utf-8", "replace") if value is not None else "",)
