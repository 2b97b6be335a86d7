"""While a health path does not answer well, it is told what is waited for."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from homeport.kernel.masking import Masker
from homeport.rollout import readiness
from homeport.spec.model import Health
from homeport.system.net import ProbeResult

BEGAN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.passed = 0.0

    def now(self):
        return BEGAN + timedelta(seconds=self.passed)

    def monotonic(self):
        return self.passed

    def sleep(self, seconds):
        self.passed += seconds


class Rig:
    def __init__(self, monkeypatch, secrets=()):
        self.clock = Clock()
        self.told = []
        self.answer = lambda passed: ProbeResult(200, 0.0)
        monkeypatch.setattr(readiness, "ask", lambda instance, health: self.answer(self.clock.passed))
        runtime = SimpleNamespace(
            observe=tuple, log_tail=lambda name, lines: (), owns_listener=lambda name, port: True
        )
        parts = SimpleNamespace(
            clock=self.clock,
            runtime=runtime,
            state=SimpleNamespace(store=self, release=lambda *_: SimpleNamespace(digest="0" * 64)),
            masker=lambda: Masker(secrets),
        )
        self.watch = readiness.Watch(parts, lambda: False)

    @contextmanager
    def transaction(self, actor):
        yield SimpleNamespace(append=self.told.append, execute=lambda statement: None, now=self.clock.now())

    def wait(self, n=1, start_timeout=20.0):
        instance = SimpleNamespace(
            release="r2",
            name=f"shop.production.r2.web.{n}", app="shop", environment="production", change="c-1",
            port=20000 + n, created_at=BEGAN,
        )  # fmt: skip
        process = SimpleNamespace(name="web", start_timeout=start_timeout, health=Health(path="/health"))
        return self.watch.wait(instance, process)

    def answers(self):
        return [e.answer for e in self.told if e.kind == "instance.waiting"]


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


def test_it_is_told_once_and_again_when_the_answer_changes(rig):
    refused = ProbeResult(None, 0.0, "connection refused")
    rig.answer = lambda passed: ProbeResult(500, 0.0) if passed < 10 else refused
    problem = rig.wait()
    assert problem.code == "rollout.not_ready"
    assert rig.answers() == ["GET /health answers 500", "nothing listens on $PORT (20001) yet"]
    assert {e.at_most for e in rig.told} == {20.0}
    assert problem.hint.startswith("does the app listen on $PORT?")


def test_an_app_that_is_ready_soon_is_not_told_of(rig):
    rig.answer = lambda passed: ProbeResult(503 if passed < readiness.TELL_AFTER - 0.5 else 200, 0.0)
    assert rig.wait() is None
    assert rig.answers() == []


def test_instances_of_one_process_that_wait_for_the_same_tell_it_once(rig):
    rig.answer = lambda passed: ProbeResult(None, 0.0, "connection refused")
    rig.wait(1)
    rig.watch._failed = False
    rig.wait(2, start_timeout=60.0)
    assert len(rig.answers()) == 1


def test_answers_that_come_and_go_are_not_told_each_time():
    impatience = readiness.Impatience()
    answers = ["a", "b"] * 100
    assert not any(impatience.is_due("i", "web", a, n * 0.1) for n, a in enumerate(answers))


def test_what_an_app_redirects_to_is_told_without_secrets(monkeypatch):
    rig = Rig(monkeypatch, secrets=("hunter2hunter2",))
    rig.answer = lambda passed: ProbeResult(302, 0.0, "", "/login?token=hunter2hunter2")
    rig.wait()
    [told] = rig.answers()
    assert told.startswith("GET /health answers 302 to /login?token=") and "hunter2" not in told


@pytest.mark.parametrize(
    ("result", "problem", "told"),
    [
        (ProbeResult(204, 0.0), None, "GET /h answers 204"),
        (ProbeResult(404, 0.0), "/h answered 404", "GET /h answers 404"),
        (
            ProbeResult(None, 0.0, "no answer within 2 s"),
            "no answer within 2 s",
            "GET /h: no answer within 2 s",
        ),
        (
            ProbeResult(301, 0.0, "", "/h/"),
            "/h answered 301 to /h/; it must answer 2xx itself",
            "GET /h answers 301 to /h/, not 2xx",
        ),
    ],
)
def test_answers_in_words(result, problem, told):
    assert readiness.problem_of(result, "/h") == problem
    assert readiness.waits_for(result, "/h", 20001) == told
