"""A control plane that ends right before or after any of its effects, and the next one, which goes on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from homeport.journal.store import Store
from homeport.runtime.jobs import files, rounds
from homeport.runtime.jobs.model import RunState

sys.path.insert(0, str(Path(__file__).parent))

from jobs_home import JobsHome


class Killed(BaseException):
    pass


class Effects:
    """Counts effects; the one numbered ``last`` is the control plane's last, done or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.last = -1
        self.before = False
        self.fired = False
        for owner, name in (
            (files, "write_atomic"),
            (files, "remove_tree"),
            (rounds.process, "run"),
            (rounds.process, "kill_marked"),
        ):
            monkeypatch.setattr(owner, name, self.watched(getattr(owner, name)))
        transaction = Store.transaction
        watch = self

        @contextmanager
        def watched(store: Store, actor: str) -> Iterator[Any]:
            with transaction(store, actor) as tx:
                yield tx
                watch.at(True)
            watch.at(False)
            watch.count += 1

        monkeypatch.setattr(Store, "transaction", watched)

    def watched(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self.at(True)
            result = effect(*args, **more)
            self.at(False)
            self.count += 1
            return result

        return call

    def at(self, before: bool) -> None:
        if not self.fired and (self.count, before) == (self.last, self.before):
            self.fired = True
            raise Killed


@pytest.mark.parametrize("before", [True, False])
def test_a_run_starts_once_whatever_was_the_last_effect(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    effects = Effects(monkeypatch)
    home = JobsHome()
    try:
        home.job('echo "$HOMEPORT_RUN" >> out', schedule="@every 2s", overlap="queue")
        reached = 0
        for last in range(40):
            effects.count, effects.last, effects.before, effects.fired = 0, last, before, False
            done = len(ended(home))
            for _ in range(400):
                try:
                    home.jobs.tick()
                except Killed:
                    home.control_plane()
                if len(ended(home)) > done and (effects.fired or effects.count > last + 4):
                    break
                home.clock.sleep(0.02)
                # The time to the next run is of no interest here.
                home.clock.shift += 0.05
            reached += effects.fired
            if last > 10:
                break
        assert reached >= 10
        home.tick_until(lambda: not [r for r in home.runs().values() if r.state is RunState.RUNNING])
        runs = home.runs().values()
        assert {r.state for r in runs} <= {RunState.SUCCEEDED, RunState.WAITING}
        lines = (home.data / "out").read_text().split()
        assert sorted(lines) == sorted(r.id for r in runs if r.state is RunState.SUCCEEDED)
        due = sorted(r.due_at for r in runs)
        assert [(b - a).total_seconds() for a, b in pairwise(due)] == [2.0] * (len(due) - 1)
        assert {e["run"] for e in home.events("cron.finished")} == set(lines)
        assert len(home.events("cron.finished")) == len(home.events("cron.started")) == len(lines)
    finally:
        home.end()


def ended(home: JobsHome) -> list[str]:
    return [r.id for r in home.runs().values() if not r.state.is_active]
