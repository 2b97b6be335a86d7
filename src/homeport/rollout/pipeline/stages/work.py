"""What a stage's executor is given, and what it answers with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from homeport.kernel.clock import Clock
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, RunId
from homeport.kernel.masking import Masker
from homeport.spec.model import Stage

CANCELLED = "cancelled"
CLOSING = "closing"
"""What ``Work.stop`` says when the control plane ends: the stage has not ended, and begins anew later."""


class Log(Protocol):
    """A stage's output, such as a :class:`homeport.rollout.build.BuildLog`: it masks and bounds itself."""

    def write(self, chunk: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one stage of one run.

    An executor ``run(work) -> Found`` may be called again for the same work after it was cut off: it first
    ends what is left of the attempt before, found by ``name``, and clears ``scratch``.
    """

    app: AppName
    environment: EnvironmentName
    run: RunId
    stage: Stage
    data_dir: Path
    scratch: Path
    """A directory of the stage's own, below ``data_dir``; the executor makes it, and removes it at its end."""
    archive: Path
    """The tar of the commit."""
    log: Log
    masker: Masker
    clock: Clock
    stop: Callable[[], str | None]
    """Why it has to end now: :data:`CANCELLED`, :data:`CLOSING`, or None. Asked a few times a second, from
    several threads."""
    name: str
    """The mark (``system.process.INSTANCE``) that its processes carry, or begin theirs with; no other's
    name may begin with it and a dot."""
    disk: int = 2_000_000_000
    """Bytes that its files may take: the spec's ``build.disk``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its commands see: PATH, HOME, the app's plain variables; no secrets."""
    edge: tuple[str, int] = ("127.0.0.1", 80)
    """Where the edge takes HTTP."""
    hosts: tuple[str, ...] = ()
    """Of the environment's routes; "*" is any host."""
    release: ReleaseId | None = None
    """The one that the run has built or deployed."""
    release_directory: Path | None = None
    """Where its build is."""
    observe: Callable[[], tuple[bool, str]] = lambda: (True, "")
    """Whether the environment is well and serves the release; else a sentence that says why not."""
    figures: Callable[[], dict[str, Any] | None] = lambda: None
    """Error rate and latency of the release and of the one before; None: there are none."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a stage ended. ``reason`` is one line, "" when it is well; all text is without secrets."""

    ok: bool
    reason: str = ""
    lines: tuple[str, ...] = ()
    """The last lines of what failed, at most 20."""
    details: dict[str, Any] = field(default_factory=dict)
    """Fits into JSON."""
    stopped: str | None = None
    """What ``Work.stop`` said, when the stage was ended by it."""
