"""Work for executors, on a clock that only sleeping moves."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeport.kernel.ids import AppName, EnvironmentName, RunId
from homeport.kernel.masking import Masker
from homeport.rollout.pipeline.stages.work import Work
from homeport.spec.model import Stage


class FakeClock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self):
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


class KeptLog:
    def __init__(self) -> None:
        self.text = ""

    def write(self, chunk: bytes) -> None:
        self.text += chunk.decode()


@pytest.fixture
def make_work():
    def make(stage: Stage, **more) -> Work:
        given = {
            "app": AppName("shop"),
            "environment": EnvironmentName("staging"),
            "run": RunId("p-0123456789"),
            "stage": stage,
            "data_dir": Path("/nowhere"),
            "scratch": Path("/nowhere/scratch"),
            "archive": Path("/nowhere/archive.tar"),
            "log": KeptLog(),
            "masker": Masker(("geheim-4711",)),
            "clock": FakeClock(),
            "stop": lambda: None,
            "name": "p-0123456789.0",
            "hosts": ("shop.localhost",),
        }
        return Work(**{**given, **more})

    return make
