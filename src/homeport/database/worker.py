"""Has a child do a piece of work on a database, and tells what it says."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from homeport.database.errors import WORK_FAILED
from homeport.database.insight import errors as _insight
from homeport.database.migrations import errors as _migrations
from homeport.database.migrations.errors import CANCELLED
from homeport.database.sqlite import errors as _sqlite
from homeport.database.upkeep import errors as _upkeep
from homeport.kernel import errors
from homeport.kernel.errors import HomeportError
from homeport.system import process

DECLARED = (_insight, _migrations, _sqlite, _upkeep)
"""Errors that a child may end with: imported, they are in the catalogue."""
BASE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
LONGEST = 48 * 3600.0

log = logging.getLogger(__name__)

Told = Callable[[str, Mapping[str, Any]], None]


def nobody(kind: str, values: Mapping[str, Any]) -> None:
    """Listens to nothing."""


class Worker:
    """Every call may come from any thread. ``data_dir`` marks what it starts; ``module`` is what a child runs."""

    def __init__(
        self, data_dir: Path, python: str = sys.executable, module: str = "homeport.database.child"
    ) -> None:
        self._data = data_dir
        self._python = python
        self._module = module

    def run(
        self,
        work: str,
        request: Mapping[str, Any],
        *,
        name: str,
        told: Told = nobody,
        stop: Callable[[], str | None] = lambda: None,
        timeout: float = LONGEST,
    ) -> Any:
        """What :data:`homeport.database.works.WORKS` ``[work]`` gives.

        ``name`` marks the child: one of that name that a control plane which was killed left behind is ended
        first. ``told`` gets what it says on the way. ``stop`` is asked a few times a second: a text ends the child,
        and ``database.migration_cancelled`` is raised. Errors of the work are raised as they are;
        ``database.work_failed`` is one that nobody foresaw.
        """
        process.kill_marked(str(self._data), name)
        answer: dict[str, Any] = {}
        stray: list[str] = []

        def take(line: str) -> None:
            document = _document(line)
            if document is None:
                stray.append(line)
                del stray[:-20]
            elif "say" in document:
                told(document.pop("say"), document)
            else:
                answer.update(document)

        lines = _Lines(take)
        status, reason = process.stream(
            (self._python, "-P", "-m", "homeport.system.start", self._module),
            timeout=timeout,
            cwd=Path("/"),
            env={**BASE, process.OWNER: str(self._data), process.INSTANCE: name},
            on_output=lines.feed,
            poll=stop,
            stdin=json.dumps({"work": work, **request}).encode(),
        )
        lines.end()
        if "error" in answer:
            raise _error(answer["error"])
        if "done" in answer:
            return answer["done"]
        if reason is not None and reason != "timeout":
            raise CANCELLED.error(f"cannot go on with {name}: it was stopped")
        how = "it took too long" if reason else _how(status)
        log.error("%s of %s: %s\n%s", work, name, how, "\n".join(stray))
        raise WORK_FAILED.error(
            f"cannot finish {work} of {name}: {how}", hint="see logs/serve.log", details=stray[-1:]
        )


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as the kernel does when memory runs out"
    if status < 0:
        return f"its process was ended by signal {-status}"
    return f"it ended with status {status}"


class _Lines:
    """Whole lines of a stream of bytes."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace"))

    def end(self) -> None:
        if self._rest:
            self._take(self._rest.decode("utf-8", "replace"))
            self._rest = b""


def _document(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() & {"say", "done", "error"} else None


def _error(told: Mapping[str, Any]) -> HomeportError:
    type_ = errors.find(told["code"]) or WORK_FAILED
    return type_.error(told["sentence"], hint=told["hint"], details=told["details"])
