"""Server-sent events: the journal, a change with its build output, logs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from starlette.responses import StreamingResponse

from homeport.api import wire
from homeport.api.services import Services, record
from homeport.journal.model import Record
from homeport.kernel.ids import AppName, ChangeId, InstanceName, ReleaseId
from homeport.rollout import trials
from homeport.runtime.loglines import Line

LOOK_EVERY = 0.025
"""Seconds between two looks at whether the journal grew."""
SAY_SOMETHING = 15.0
"""Seconds of silence after which a comment keeps the connection alive."""
CHUNK = 1 << 16
MOST_LINES = 10_000
"""Of logs, in one answer."""
BEFORE_OUTPUT = ("change.started", "build.started", "build.reused")


class EventStream(StreamingResponse):
    media_type = "text/event-stream"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        # FastAPI reads the default of status_code for the OpenAPI document.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, status_code, headers)


def message(kind: str, data: Any, id: str | None = None) -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    if id is not None:
        lines.insert(0, f"id: {id}")
    return "\n".join(lines) + "\n\n"


async def journal(services: Services, after: int, app: str | None) -> AsyncIterator[str]:
    """Every record after ``after``, for ever."""
    store = services.parts.state.store
    yield ": here\n\n"
    seen = -1
    quiet = 0.0
    while True:
        if store.version != seen:
            seen = store.version
            for r in await asyncio.to_thread(store.records, after=after, app=app):
                after = r.seq
                yield message(r.kind, record(r).model_dump(mode="json"), str(r.seq))
                quiet = 0.0
                seen = -1
        await asyncio.sleep(LOOK_EVERY)
        quiet += LOOK_EVERY
        if quiet > SAY_SOMETHING:
            quiet = 0.0
            yield ": still here\n\n"


async def change(services: Services, id: ChangeId, after: int, offset: int) -> AsyncIterator[str]:
    """A change's records and build output as they come; ends with ``done`` and the change.

    The id of a message is ``<seq>.<offset>``: given back as Last-Event-ID, nothing is told twice.
    """
    parts = services.parts
    store = parts.state.store
    found = parts.state.change(id)
    log = build_log(services, found.app, found.goal.release, id)
    yield ": here\n\n"
    seen = -1
    quiet = 0.0
    told: wire.TrialOut | None = None
    building = after > 0
    while True:
        current = store.version
        changed, seen = current != seen, current
        records: Sequence[Record] = ()
        if changed:
            # In this order: a change that is seen to have ended has all of its records, and a build that is told to
            # be finished has its whole log on disk.
            found = await asyncio.to_thread(parts.state.change, id)
            records = await asyncio.to_thread(store.records, after=after, change=id)
        begun = max((n for n, r in enumerate(records, 1) if r.kind in BEFORE_OUTPUT), default=0)
        for r in records[:begun]:
            after = r.seq
            yield message(r.kind, record(r).model_dump(mode="json"), f"{after}.{offset}")
        building = building or found.done or any(r.kind in ("build.started", "build.reused") for r in records)
        while log is not None and building:
            text, offset = await asyncio.to_thread(read_from, log, offset)
            if not text:
                break
            quiet = 0.0
            yield message("output", {"text": text}, f"{after}.{offset}")
        for r in records[begun:]:
            after = r.seq
            yield message(r.kind, record(r).model_dump(mode="json"), f"{after}.{offset}")
        if changed:
            quiet = 0.0
            trial = await asyncio.to_thread(_trial, services, id)
            if trial is not None and trial != told:
                told = trial
                yield message("trial", trial.model_dump(mode="json"), f"{after}.{offset}")
            if found.done:
                yield message("done", services.change(found).model_dump(mode="json"), f"{after}.{offset}")
                return
        await asyncio.sleep(LOOK_EVERY)
        quiet += LOOK_EVERY
        if quiet > SAY_SOMETHING:
            quiet = 0.0
            yield ": still here\n\n"


def _trial(services: Services, id: ChangeId) -> wire.TrialOut | None:
    found = trials.find(services.parts.state, id)
    return services.trial(found) if found is not None else None


def build_log(services: Services, app: AppName, release: ReleaseId, id: ChangeId) -> Path | None:
    """The log of the build that this change made; None when it reused a release."""
    made = services.parts.state.release(app, release)
    return services.parts.build_log(app, release) if made.change == id else None


def read_from(path: Path, offset: int) -> tuple[str, int]:
    """The next piece of a file's text from a byte on, in whole characters, and where it ends."""
    try:
        with open(path, "rb") as f:
            f.seek(offset)
            data = f.read(CHUNK)
    except OSError:
        return "", offset
    data = data[: _whole(data)]
    return data.decode("utf-8", "replace"), offset + len(data)


def _whole(data: bytes) -> int:
    """How many bytes there are up to a character of UTF-8 that is cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(data) - back if length > back else len(data)
    return len(data)


def logged(services: Services, prefix: str, process: str | None) -> tuple[InstanceName, ...]:
    """Instances that have a log, of one process or of all."""
    names = services.parts.logs.names(prefix)
    return tuple(name for name in names if process is None or _process(name) == process)


def logs(
    services: Services, prefix: str, process: str | None, *, since: str | None, limit: int, last: str | None
) -> Iterator[str]:
    """The newest ``limit`` log lines of an environment's instances, and new ones, for ever: each once. (Of lines that
    are alike to the letter and the millisecond, one that is written just as this begins may be taken for another.)

    The id of a message is ``<time>~<n>``, the line's time and how many of that time were told: given back as
    ``last``, it goes on after them.
    """
    yield ": here\n\n"
    quiet = 0
    coming = services.parts.logs.follow(prefix)
    # What is written from now on comes; what is read after that may come, too.
    first = next(coming)
    at, number = "", 0
    if last is not None:
        since, limit = last.partition("~")[0], MOST_LINES
    before = services.parts.logs.read(logged(services, prefix, process), since=since, limit=limit)
    told = Counter(before)
    if last is not None and since is not None:
        at, number = since, int(last.partition("~")[2])
        before = before[min(number, sum(1 for line in before if line[0] == at)) :]

    def line_of(line: Line) -> str:
        nonlocal at, number
        at, number = line[0], number + 1 if line[0] == at else 1
        return message("line", {"at": at, "instance": line[1], "text": line[2]}, f"{at}~{number}")

    yield from map(line_of, before)
    for line in chain((first,) if first is not None else (), coming):
        if line is None:
            told.clear()
            quiet += 1
            if quiet % 50 == 0:
                yield ": still here\n\n"
        elif told[line] > 0:
            told[line] -= 1
        elif process is None or _process(line[1]) == process:
            yield line_of(line)


def _process(instance: InstanceName) -> str:
    return instance.split(".")[3]
