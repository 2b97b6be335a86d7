"""What every runtime holds to: the fake that ships, and supervisor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from supervised_home import Home, free_port, name, wait_for

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import InstanceName
from homeport.runtime.fake import Behaviour, FakeLogReader, FakeRuntime
from homeport.runtime.model import InstanceSpec, InstanceState, InstanceStatus
from homeport.runtime.port import LogReader, Runtime
from homeport.system import seal
from homeport.system.clock import RealClock

ALIVE = (InstanceState.STARTING, InstanceState.RUNNING)
SERVE = "exec python3 -m http.server $PORT --bind 127.0.0.1"
IDLE = "echo hello; exec sleep 1000"
CRASH = "echo oops; exit 3"


@dataclass
class Case:
    runtime: Runtime
    logs: LogReader

    def spec(self, n: int, command: str = IDLE, port: int | None = None, **more: Any) -> InstanceSpec:
        environment = (("PORT", str(port)),) if port else ()
        return InstanceSpec(name(n), command, "/tmp", environment, port, **more)

    def status(self, instance: InstanceName) -> InstanceStatus | None:
        return next((s for s in self.runtime.observe() if s.name == instance), None)

    def wait_state(self, instance: InstanceName, *states: InstanceState) -> InstanceStatus:
        def look() -> InstanceStatus | None:
            status = self.status(instance)
            return status if status is not None and status.state in states else None

        status = wait_for(look, what=f"{instance}: {states}")
        assert status is not None
        return status

    def wait_tail(self, instance: InstanceName, *lines: str) -> None:
        wait_for(lambda: self.runtime.log_tail(instance)[: len(lines)] == lines, what=f"{lines}")


def behave(spec: InstanceSpec) -> Behaviour:
    if spec.command == CRASH:
        return Behaviour(exit="status 3", output=("oops",))
    return Behaviour(output=("hello",) if spec.command == IDLE else ())


@pytest.fixture(params=["fake", "supervisor"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        fake = FakeRuntime(RealClock(), behave)
        yield Case(fake, FakeLogReader(fake))
        return
    home: Home = request.getfixturevalue("home")
    yield Case(home.runtime, home.logs)


def test_nothing_is_there_at_first(case: Case) -> None:
    assert case.runtime.observe() == ()
    assert case.runtime.log_tail(name(1)) == ()
    assert not case.runtime.owns_listener(name(1), free_port())


def test_what_is_started_runs_once(case: Case) -> None:
    case.runtime.start(case.spec(1))
    pid = case.wait_state(name(1), *ALIVE).pid
    case.runtime.start(case.spec(1))
    assert pid is not None
    assert [s.name for s in case.runtime.observe()] == [name(1)]
    status = case.status(name(1))
    assert status is not None and status.pid == pid


def test_observed_in_the_order_of_names(case: Case) -> None:
    for n in (3, 1, 2):
        case.runtime.start(case.spec(n))
    assert [s.name for s in case.runtime.observe()] == [name(1), name(2), name(3)]


def test_stop_ends_them_together_and_may_be_asked_again(case: Case) -> None:
    for n in (1, 2, 3):
        case.runtime.start(case.spec(n))
    case.runtime.stop((name(1), name(2)))
    assert [s.name for s in case.runtime.observe()] == [name(3)]
    case.runtime.stop((name(1), name(2), name(9)))
    case.runtime.stop(())
    assert [s.name for s in case.runtime.observe()] == [name(3)]


def test_logs_outlive_the_instance_until_they_are_forgotten(case: Case) -> None:
    case.runtime.start(case.spec(1))
    case.wait_tail(name(1), "hello")
    case.runtime.stop((name(1),))
    assert case.runtime.log_tail(name(1)) == ("hello",)
    case.runtime.forget_logs(name(1))
    case.runtime.forget_logs(name(1))
    assert case.runtime.log_tail(name(1)) == ()


def test_a_name_may_be_started_again_after_its_stop(case: Case) -> None:
    case.runtime.start(case.spec(1))
    first = case.wait_state(name(1), *ALIVE).pid
    case.runtime.stop((name(1),))
    case.runtime.start(case.spec(1))
    assert case.wait_state(name(1), *ALIVE).pid != first


def test_one_that_ends_at_once_is_seen_to_with_its_last_words(case: Case) -> None:
    case.runtime.start(case.spec(1, CRASH))
    status = case.wait_state(name(1), InstanceState.BACKOFF)
    assert status.exit == "status 3"
    assert status.pid is None
    case.wait_tail(name(1), "oops")
    case.runtime.stop((name(1),))
    assert case.runtime.observe() == ()


def test_a_listener_is_owned_by_who_has_it(case: Case) -> None:
    port = free_port()
    case.runtime.start(case.spec(1, SERVE, port))
    case.runtime.start(case.spec(2))
    wait_for(lambda: case.runtime.owns_listener(name(1), port), what="the listener")
    assert not case.runtime.owns_listener(name(2), port)
    assert not case.runtime.owns_listener(name(1), free_port())


def test_an_unknown_user_is_refused_before_the_start(case: Case) -> None:
    with pytest.raises(HomeportError) as e:
        case.runtime.check(case.spec(1, user="no-such-user"))
    assert e.value.code == "runtime.unknown_user"
    case.runtime.check(case.spec(1))


def test_secrets_are_sealed_anew_as_often_as_asked_for(case: Case) -> None:
    old, new = seal.new_key(), seal.new_key()
    case.runtime.start(case.spec(1, secrets=(("TOKEN", seal.Box([old]).seal("s3cr3t-value")),)))
    case.runtime.start(case.spec(2, secrets=(("TOKEN", seal.Box([seal.new_key()]).seal("of another")),)))
    case.runtime.start(case.spec(3))
    tokens: list[str] = []

    def reseal(token: str) -> str:
        tokens.append(seal.Box([new, old]).reseal(token))
        return tokens[-1]

    assert case.runtime.reseal(reseal) == 2
    assert case.runtime.reseal(reseal) == 2
    assert [seal.Box([new]).open(token) for token in tokens] == ["s3cr3t-value"] * 2
    case.runtime.stop((name(1), name(2)))
    assert case.runtime.reseal(reseal) == 0


def test_what_is_not_there_cannot_be_restarted(case: Case) -> None:
    with pytest.raises(HomeportError) as e:
        case.runtime.restart(name(1))
    assert e.value.code == "runtime.start_failed"


def test_restart_leaves_what_runs_alone(case: Case) -> None:
    case.runtime.start(case.spec(1))
    pid = case.wait_state(name(1), *ALIVE).pid
    case.runtime.restart(name(1))
    assert case.wait_state(name(1), *ALIVE).pid == pid


def test_logs_are_read_merged_and_followed(case: Case) -> None:
    follow = case.logs.follow("shop.production.")
    assert next(follow) is None
    for n in (1, 2):
        case.runtime.start(case.spec(n))
        case.wait_tail(name(n), "hello")
    lines = case.logs.read((name(1), name(2)), since=None, limit=10)
    assert [(instance, text) for _, instance, text in lines] == [(name(1), "hello"), (name(2), "hello")]
    assert case.logs.read((name(1), name(2)), since=None, limit=1) == lines[1:]
    assert case.logs.read((name(1), name(2)), since="2999-01-01T00:00:00Z", limit=9) == []
    assert case.logs.read((name(1),), since=lines[0][0], limit=9) == lines[:1]
    seen = []
    for line in follow:
        if line is None:
            if len(seen) == 2:
                break
            continue
        seen.append(line)
    assert sorted(seen) == sorted(lines)
