"""Looks at databases beside each other, and after a control plane that was killed."""

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.rollout.data import looking
from homeport.rollout.data.looking import Looks
from homeport.system import process

MAIN: Any = SimpleNamespace(key="shop.production.main")


class Asked:
    """In place of a worker."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run(self, work: str, request: object, *, name: str, timeout: float) -> dict[str, Any]:
        self.names.append(name)
        return {}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(looking, "place", lambda *_: {})
    return Asked()


def test_none_ends_the_child_of_another_but_what_was_left_behind_is_ended(
    asked: Asked, tmp_path: Any
) -> None:
    worker: Any = asked
    parts: Any = SimpleNamespace(data_dir=tmp_path)

    def child(name: str) -> subprocess.Popen[bytes]:
        marks = {process.OWNER: str(tmp_path), process.INSTANCE: name}
        return subprocess.Popen(["/bin/sleep", "60"], env=marks)

    Looks(parts, worker).snapshot(MAIN)
    looks = Looks(parts, worker)
    looks.snapshot(MAIN)
    looks.snapshot(MAIN)
    left_over, mine, _ = asked.names
    assert len(set(asked.names)) == 3
    children = [child(left_over), child(mine), child("shop.production.main.insight-0-0")]
    try:
        looks.snapshot(MAIN)
        assert children[0].wait(5) < 0
        assert [c.poll() for c in children[1:]] == [None, None]
    finally:
        for c in children:
            c.kill()
            c.wait()
