"""Begins contracts that are due."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.rollout import state, trials
from homeport.rollout.data.contracts import WAITING, Contract, all_of
from homeport.rollout.model import Environment
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts, id_for

log = logging.getLogger(__name__)


class Contracts:
    """Begins what is due."""

    def __init__(self, parts: Parts, rollouts: Rollouts) -> None:
        self._parts = parts
        self._rollouts = rollouts

    def tick(self) -> None:
        """One look. Each environment for itself: one that cannot be now is looked at again by the next."""
        parts = self._parts
        waiting = [c for c in all_of(parts.state.store) if c.state == WAITING]
        if not waiting:
            return
        environments = {(e.app, e.name): e for e in parts.state.environments()}
        for key in sorted({(c.app, c.environment) for c in waiting}):
            environment = environments.get(key)
            mine = [
                c
                for c in waiting
                if (c.app, c.environment) == key
                and environment is not None
                and c.release == environment.serving
            ]
            if environment is None or not mine or parts.state.running(*key):
                continue
            trial = trials.newest(parts.state, *key)
            if trial is not None and trial.state == trials.RUNNING:
                continue
            if self._has_others(environment):
                continue
            try:
                self._begin(environment, mine)
            except HomeportError as e:
                log.info("contracts of %s %s: %s", *key, e.sentence)

    def _has_others(self, environment: Environment) -> bool:
        """Whether instances of another release are there; they are kept warm no longer."""
        parts = self._parts
        assert environment.serving is not None
        spec = parts.spec(environment.app, environment.name, environment.serving)
        others = [
            i
            for i in parts.state.instances(environment.app, environment.name)
            if i.release != environment.serving
        ]
        with parts.state.store.transaction("homeport") as tx:
            for i in others:
                if i.retire_at is not None and i.retire_at > tx.now and not i.weight:
                    until = text_time(tx.now + timedelta(seconds=spec.rollout.drain))
                    state.update_instance(tx, i.name, retire_at=text_time(tx.now), drain_until=until)
        return bool(others)

    def _begin(self, environment: Environment, contracts: Sequence[Contract]) -> None:
        serving = environment.serving
        versions = ",".join(v for c in contracts for v in c.versions)
        key = f"contract:{environment.app}:{environment.name}:{serving}:{versions}"
        self._rollouts.migrate(
            environment.app,
            environment.name,
            databases=tuple(c.name for c in contracts),
            schema={"subset": "contract"},
            actor="homeport",
            id=id_for(key),
        )
