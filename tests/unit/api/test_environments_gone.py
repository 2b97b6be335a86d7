"""Environments that are destroyed while they are looked at."""

from types import SimpleNamespace
from typing import Any

import pytest

from homeport.api.services import Services
from homeport.kernel.errors import ErrorType, HomeportError, Kind

UNKNOWN = ErrorType("test.unknown_environment", Kind.NOT_FOUND, "for this test")
BROKEN = ErrorType("test.broken", Kind.FAILED, "for this test")


class Environments:
    """``fails`` maps those that cannot be looked at to whether they are gone then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: dict[str, bool]) -> None:
        self.there = ["preview-hats", "production"]
        self._fails = fails
        monkeypatch.setattr("homeport.api.services.status.view", lambda *_: None)
        parts = SimpleNamespace(
            runtime=SimpleNamespace(observe=list),
            edge=SimpleNamespace(observe=list),
            looping={},
            state=SimpleNamespace(
                environments=self.environments, environment=self.environment, instances=lambda *_: ()
            ),
        )
        rest: dict[str, Any] = dict.fromkeys(Services.__dataclass_fields__)
        self.services: Any = Services(**rest | {"parts": parts})
        self.services._environment = self.look

    def environments(self, app: str | None = None) -> list[Any]:
        return [SimpleNamespace(app="shop", name=name, serving=None) for name in self.there]

    def environment(self, app: str, name: str) -> None:
        if name not in self.there:
            raise UNKNOWN.error(f"cannot find environment {name}")

    def look(self, environment: Any, view: object) -> Any:
        if environment.name in self._fails:
            if self._fails[environment.name]:
                self.there.remove(environment.name)
            raise BROKEN.error(f"cannot look at {environment.name}")
        return environment


def test_what_is_gone_by_now_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Environments(monkeypatch, {"preview-hats": True})
    assert [e.name for e in world.services.environments()] == ["production"]


def test_what_is_there_and_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Environments(monkeypatch, {"preview-hats": False})
    with pytest.raises(HomeportError, match="cannot look"):
        world.services.environments()


def test_the_one_that_was_asked_for_and_went_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Environments(monkeypatch, {"preview-hats": True})
    with pytest.raises(HomeportError, match="cannot find environment preview-hats"):
        world.services.environment("shop", "preview-hats")
    assert world.services.environment("shop", "production").name == "production"
