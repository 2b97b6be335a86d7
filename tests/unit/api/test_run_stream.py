"""A run's stream while its stages come and go faster than it looks."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

from homeport.api import run_stream
from homeport.journal.model import Record
from homeport.kernel.ids import RunId

ID = RunId("p-0123456789")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def record(seq, kind, **data):
    told = {"run": ID, "position": 1, "attempt": 1, **data}
    return Record(seq, NOW, kind, "shop", None, None, "anna", told, "0" * 64)


def test_what_a_stage_said_is_told_though_it_began_and_ended_between_two_looks(tmp_path, monkeypatch):
    log = tmp_path / "log"
    stage = SimpleNamespace(run=ID, position=1, attempt=1, kind="check", change=None)
    begun = []

    class Runs:
        def run(self, id):
            return SimpleNamespace(id=id, app="shop", state=SimpleNamespace(ended=True))

        def told_after(self, run):
            return 0

        def attempts(self, run):
            return tuple(begun)

    class Store:
        version = 1

        def records(self, *, after, app, limit):
            # The whole stage happens after the run was read, and before its records are.
            if not begun:
                begun.append(stage)
                log.write_text("heading │ ok\n")
            return [r for r in (record(1, "stage.started"), record(2, "stage.finished")) if r.seq > after]

    services = SimpleNamespace(
        pipelines=SimpleNamespace(
            runs=Runs(), files=SimpleNamespace(log=lambda *_: log), view=lambda run: run
        ),
        parts=SimpleNamespace(state=SimpleNamespace(store=Store())),
    )
    monkeypatch.setattr(run_stream, "view", lambda _: SimpleNamespace(model_dump=lambda **_: {}))

    async def told():
        return [text async for text in run_stream.run(services, ID, None)]

    kinds = [
        line.split(": ")[1] for text in asyncio.run(told()) for line in text.split("\n") if "event: " in line
    ]
    assert kinds == ["stage.started", "output", "stage.finished", "done"]
