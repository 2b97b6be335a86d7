"""A change's stream while records, output and the end come between its looks."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from homeport.api import streams
from homeport.journal.model import Record
from homeport.kernel.ids import ChangeId

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ENDING = ("build.failed", "change.failed", "change.finished")


class Told:
    """A change whose first records are there, and whose others come at a chosen moment."""

    def __init__(self, log, monkeypatch):
        self.log, self.kinds, self.done = log, [], False
        self.version = 1
        monkeypatch.setattr(streams, "_trial", lambda *_: self.between())
        monkeypatch.setattr(streams, "build_log", lambda *_: log)

    def between(self):
        """Called after each look at the records."""

    def records(self, *, after, change):
        found = [
            Record(n, NOW, kind, "shop", "production", change, "anna", {}, "0" * 64)
            for n, kind in enumerate(self.kinds, 1)
        ]
        return [r for r in found if r.seq > after]

    def change(self, id):
        return SimpleNamespace(done=self.done, app="shop", goal=SimpleNamespace(release="r1"), id=id)

    def follow(self, after=0):
        services = SimpleNamespace(
            parts=SimpleNamespace(state=SimpleNamespace(store=self, change=self.change)),
            change=lambda _: SimpleNamespace(model_dump=lambda **_: {}),
        )

        async def told():
            return [text async for text in streams.change(services, ChangeId("c-0123456789"), after, 0)]

        lines = "".join(asyncio.run(told())).split("\n")
        return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


@pytest.fixture
def told(tmp_path, monkeypatch):
    return Told(tmp_path / "log", monkeypatch)


def test_an_end_that_comes_between_two_looks_is_told_whole(told):
    told.kinds = ["change.started", "build.started"]

    def end():
        if not told.done:
            told.log.write_text("boom\n")
            told.kinds += ENDING
            told.done, told.version = True, 2

    told.between = end
    assert told.follow() == ["change.started", "build.started", "output", *ENDING, "done"]


@pytest.mark.parametrize("passed", [(), ("gate.passed",)])
def test_output_follows_the_beginning_of_the_build(told, passed):
    told.log.write_text("cc -o app app.c\n")
    told.kinds, told.done = (
        ["change.started", *passed, "build.started", "build.finished", "change.finished"],
        True,
    )
    kinds = told.follow()
    assert kinds == [
        "change.started",
        *passed,
        "build.started",
        "output",
        "build.finished",
        "change.finished",
        "done",
    ]


def test_output_is_not_told_before_the_build_that_made_it(told):
    told.log.write_text("cc -o app app.c\n")
    told.kinds = ["change.started"]

    def begin():
        if not told.done:
            told.kinds += ["build.started", "build.finished"]
            told.done, told.version = True, 2

    told.between = begin
    assert told.follow() == ["change.started", "build.started", "output", "build.finished", "done"]


def test_who_comes_back_is_told_the_rest(told):
    told.log.write_text("cc -o app app.c\n")
    told.kinds, told.done = ["change.started", "build.started", "build.finished"], True
    assert told.follow(after=2) == ["output", "build.finished", "done"]
