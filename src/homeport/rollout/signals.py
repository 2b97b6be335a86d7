"""Numbers of a team's own that help to judge a release: from a URL, or from a command."""

import json
import logging
import math
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from homeport.kernel.ids import ChangeId, ReleaseId
from homeport.rollout import canary, desired
from homeport.rollout.parts import Parts
from homeport.rollout.trials import Trial
from homeport.runtime import commands
from homeport.spec.model import Signal
from homeport.system import process, web

log = logging.getLogger(__name__)

LIMIT = 100_000
"""Bytes of an answer."""


class Signals:
    """Measures in the background; a look takes what has arrived since the last one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="signal")
        self._next: dict[tuple[ChangeId, str], float] = {}
        self._asked: dict[tuple[ChangeId, str], Future[canary.Signal]] = {}

    def of(self, trial: Trial, wanted: tuple[Signal, ...]) -> list[canary.Signal]:
        """Each signal measured since the last look: one that was not says nothing."""
        found: list[canary.Signal] = []
        now = self._parts.clock.monotonic()
        for signal in wanted:
            key = (trial.change, signal.name)
            answer = self._asked.get(key)
            if answer is not None and answer.done():
                del self._asked[key]
                found.append(answer.result())
            elif answer is None and now >= self._next.get(key, 0.0):
                self._next[key] = now + signal.interval
                self._asked[key] = self._pool.submit(self._measure, trial, signal)
        return found

    def forget(self, present: frozenset[ChangeId]) -> None:
        """Drop what is known of other trials than these."""
        for book in (self._next, self._asked):
            for key in [k for k in book if k[0] not in present]:
                del book[key]

    def _measure(self, trial: Trial, signal: Signal) -> canary.Signal:
        value = self._number(trial, signal, "new", trial.release)
        stable = None
        if signal.compare and trial.before is not None:
            # A comparison with nothing is none.
            stable = self._number(trial, signal, "before", trial.before)
            value = None if stable is None else value
        return canary.Signal(signal.name, value, signal.most, signal.least, stable)

    def _number(self, trial: Trial, signal: Signal, side: str, release: ReleaseId) -> float | None:
        try:
            text = (
                self._fetch(signal, side, release) if signal.url else self._run(trial, signal, side, release)
            )
            return number(text, signal.json)
        except (ValueError, web.Unanswered) as e:
            log.warning("signal %s of %s: %s", signal.name, trial.app, e)
        except Exception:
            log.exception("signal %s of %s", signal.name, trial.app)
        return None

    def _fetch(self, signal: Signal, side: str, release: ReleaseId) -> str:
        url = signal.url.replace("{release}", release).replace("{side}", side)
        return web.get(url, timeout=signal.timeout, limit=LIMIT).decode("utf-8", "replace")

    def _run(self, trial: Trial, signal: Signal, side: str, release: ReleaseId) -> str:
        """What the command prints; it runs in the new release's directory, whichever side it is asked about."""
        parts = self._parts
        config = parts.state.change(trial.change).config
        app, environment = trial.app, trial.environment
        spec = parts.spec(app, environment, trial.release)
        plain = desired.variables(
            app, environment, trial.release, "", spec, config, parts.storage(app, environment, spec)
        )
        printed = bytearray()
        status, reason = process.stream(
            ["/bin/sh", "-c", signal.command],
            timeout=signal.timeout,
            cwd=Path(parts.run_directory(app, environment, trial.release)),
            env={
                **commands.BASE_ENVIRONMENT,
                **plain,
                **parts.vault.values(app, environment, dict(config.secrets)),
                "HOMEPORT_SIDE": side,
                "HOMEPORT_RELEASE": release,
                process.OWNER: str(parts.data_dir),
                process.INSTANCE: f"{app}.{environment}.{trial.release}.signal-{signal.name}-{side}",
            },
            on_output=lambda chunk: printed.extend(chunk[: max(0, LIMIT - len(printed))]),
            user=next((p.user for p in spec.processes if p.user is not None), None),
        )
        if reason is not None or status != 0:
            raise ValueError("it took too long" if reason == "timeout" else f"it ended with status {status}")
        return printed.decode("utf-8", "replace")


def number(text: str, path: str) -> float:
    """The number of an answer: the whole text, or what lies at ``path`` ("data.0.rate") of it as JSON.

    Raises ValueError when there is none.
    """
    value: Any = text.strip()
    if path:
        value = json.loads(text)
        for part in path.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise ValueError(f"the answer has no {path}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("the answer is no number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        # What Python says of it holds the answer, which may hold a secret.
        raise ValueError("the answer is no number") from None
    if not math.isfinite(found):
        raise ValueError("the answer is no number")
    return found
