"""A run of a pipeline as server-sent events: its records, those of its changes, and what its stages print."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from homeport.api import streams
from homeport.api.pipelines_view import view
from homeport.api.services import Services, record
from homeport.journal.model import Record
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import RunId
from homeport.rollout.pipeline.executor import change_of
from homeport.rollout.pipeline.model import StageRun

AFTER_OUTPUT = (
    "hook.finished", "build.finished", "build.failed", "change.finished", "stage.finished", "run.finished",
)  # fmt: skip
"""Records of an end: all output that led to it is told before."""
BATCH = 500


async def run(s: Services, id: RunId, last: str | None) -> AsyncIterator[str]:
    """Everything of a run from its beginning, or after ``last``; ends with ``done`` and the run.

    The id of a message is ``<seq>.<offset>.<offset>``: the last record, and how much was told of the two
    logs of the stage that was under way then (its build's, and its own).
    """
    runs, store = s.pipelines.runs, s.parts.state.store
    found = await asyncio.to_thread(runs.run, id)
    after = await asyncio.to_thread(runs.told_after, found)
    offsets = [0, 0]
    current: StageRun | None = None
    if last is not None:
        after, *offsets = (int(part) for part in last.split("."))
        current = await asyncio.to_thread(_under_way, s, id, after)

    def place() -> str:
        return f"{after}.{offsets[0]}.{offsets[1]}"

    yield ": here\n\n"
    seen = -1
    quiet = 0.0
    while True:
        version = store.version
        changed, seen = version != seen, version
        if changed:
            # In this order: a run that is seen to have ended has all of its records.
            found = await asyncio.to_thread(runs.run, id)
            while records := await asyncio.to_thread(store.records, after=after, app=found.app, limit=BATCH):
                # Read after the records: a stage that one of them begins is among them.
                attempts = await asyncio.to_thread(runs.attempts, id)
                changes = {change_of(a) for a in attempts if a.kind in ("build", "deploy")}
                for r in records:
                    if not _tells_of(r, id, changes):
                        after = r.seq
                        continue
                    quiet = 0.0
                    if r.kind in AFTER_OUTPUT:
                        async for text in _output(s, current, offsets):
                            yield streams.message("output", {"text": text}, place())
                    after = r.seq
                    if r.kind in ("stage.started", "gate.opened"):
                        key = (r.data["position"], r.data["attempt"])
                        current = next((a for a in attempts if (a.position, a.attempt) == key), None)
                        offsets = [0, 0]
                    yield streams.message(r.kind, record(r).model_dump(mode="json"), place())
                if len(records) < BATCH:
                    break
        async for text in _output(s, current, offsets):
            quiet = 0.0
            yield streams.message("output", {"text": text}, place())
        if changed and found.state.ended:
            final = await asyncio.to_thread(s.pipelines.view, found)
            yield streams.message("done", view(final).model_dump(mode="json"), place())
            return
        await asyncio.sleep(streams.LOOK_EVERY)
        quiet += streams.LOOK_EVERY
        if quiet > streams.SAY_SOMETHING:
            quiet = 0.0
            yield ": still here\n\n"


def _tells_of(r: Record, id: RunId, changes: Collection[str]) -> bool:
    return r.data.get("run") == id or (r.change is not None and r.change in changes)


def _under_way(s: Services, id: RunId, after: int) -> StageRun | None:
    """The stage that was under way at a record."""
    runs = s.pipelines.runs
    begun: tuple[int, int] | None = None
    found = runs.run(id)
    seq = runs.told_after(found)
    while records := s.parts.state.store.records(after=seq, app=found.app, limit=BATCH):
        for r in records:
            if r.seq > after:
                break
            if r.data.get("run") == id and r.kind in ("stage.started", "gate.opened"):
                begun = (r.data["position"], r.data["attempt"])
        seq = records[-1].seq
        if seq >= after:
            break
    return next((a for a in runs.attempts(id) if (a.position, a.attempt) == begun), None)


async def _output(s: Services, stage: StageRun | None, offsets: list[int]) -> AsyncIterator[str]:
    """What the stage has printed since; ``offsets`` move on."""
    if stage is None:
        return
    for index, path in enumerate(await asyncio.to_thread(_logs, s, stage)):
        while path is not None:
            text, offsets[index] = await asyncio.to_thread(streams.read_from, path, offsets[index])
            if not text:
                break
            yield text


def _logs(s: Services, stage: StageRun) -> tuple[Path | None, Path | None]:
    """The log of the build that the stage's change made, and the stage's own."""
    own = None
    try:
        run = s.pipelines.runs.run(stage.run)
        own = s.pipelines.files.log(run, stage.position, stage.attempt)
        if stage.kind not in ("build", "deploy"):
            return None, own
        change = s.parts.state.change(change_of(stage))
        return streams.build_log(s, change.app, change.goal.release, change.id), own
    except HomeportError:
        return None, own


def logs_of(s: Services, stage: StageRun) -> tuple[Path, ...]:
    """The files that hold what a stage printed, in order."""
    return tuple(path for path in _logs(s, stage) if path is not None)
