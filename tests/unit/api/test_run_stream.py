"""A run's stream while its stages come and go faster than it looks."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from homeport.api import run_stream
from homeport.journal.model import Record
from homeport.kernel.ids import RunId

ID = RunId("p-0123456789")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def record(seq, kind, **data):
    told = {"run": ID, "position": 1, "attempt": 1, **data}
    return Record(seq, NOW, kind, "shop", None, None, "anna", told, "0" * 64)


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """What a stream tells of a stage that happens whole after the run was read, and before its records are."""
    log = tmp_path / "log"

    def kinds(kind, records):
        stage = SimpleNamespace(run=ID, position=1, attempt=1, kind=kind, change="c-0123456789")
        begun = []

        class Store:
            version = 1

            def records(self, *, after, app, limit):
                if not begun:
                    begun.append(stage)
                    log.write_text("heading │ ok\n")
                return [r for r in records if r.seq > after]

        runs = SimpleNamespace(
            run=lambda id: SimpleNamespace(id=id, app="shop", state=SimpleNamespace(ended=True)),
            told_after=lambda run: 0,
            attempts=lambda run: tuple(begun),
        )
        services = SimpleNamespace(
            pipelines=SimpleNamespace(runs=runs, view=lambda run: run),
            parts=SimpleNamespace(state=SimpleNamespace(store=Store())),
        )
        monkeypatch.setattr(run_stream, "view", lambda _: SimpleNamespace(model_dump=lambda **_: {}))
        monkeypatch.setattr(run_stream, "_logs", lambda *_: (None, log))

        async def told():
            return [text async for text in run_stream.run(services, ID, None)]

        lines = "".join(asyncio.run(told())).split("\n")
        return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]

    return kinds


def test_what_a_stage_said_is_told_though_it_began_and_ended_between_two_looks(kinds):
    told = kinds("check", [record(1, "stage.started"), record(2, "stage.finished")])
    assert told == ["stage.started", "output", "stage.finished", "done"]


def test_what_a_hook_said_is_told_before_its_end_and_so_not_twice(kinds):
    hook = [record(1, "stage.started"), record(2, "hook.finished"), record(3, "stage.finished")]
    assert kinds("deploy", hook) == ["stage.started", "output", "hook.finished", "stage.finished", "done"]
