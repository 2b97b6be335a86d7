"""How long homeport up waits for a control plane that does not answer."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.main import lifecycle


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


@pytest.mark.parametrize(
    ("alive", "waited"),
    [
        (itertools.repeat({7}), lifecycle.SLOW_START),
        (itertools.chain([{7}], itertools.repeat({8})), lifecycle.START_TIMEOUT),
        (itertools.chain([{7}], itertools.repeat(set())), lifecycle.START_TIMEOUT),
        (itertools.repeat(set()), lifecycle.START_TIMEOUT),
    ],
    ids=["one that is slow", "one after the other", "one that ended", "none"],
)
def test_one_that_has_not_ended_has_longer(
    alive: Iterable[set[int]], waited: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(alive)
    monkeypatch.setattr(lifecycle, "_control_planes", lambda _: next(looks))
    clock = Clock()
    with pytest.raises(HomeportError, match="nothing answers after"):
        lifecycle._await_answer(tmp_path, clock)
    assert waited <= clock.passed < waited + 1
