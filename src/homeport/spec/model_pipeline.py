"""``[pipeline]`` as frozen values. :mod:`homeport.spec.model` has these names too."""

from dataclasses import dataclass

from homeport.kernel.ids import EnvironmentName

STAGES = ("check", "build", "deploy", "smoke", "approve", "verify")
ON_NEWER = ("queue", "supersede")
GATES = ("approval",)


@dataclass(frozen=True, slots=True)
class Check:
    """A command of a ``check`` stage, run in a fresh copy of the commit's files. Times in seconds."""

    name: str
    command: str
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes the files of the built release that match a pattern may have, all together."""

    pattern: str
    """Relative to the release's directory, with ``*`` and ``**``: "dist/**/*.js"."""
    most: int
    gzip: bool = False
    """Count what gzip makes of each file."""


@dataclass(frozen=True, slots=True)
class SmokeRequest:
    """A request to the environment, and what its answer has to be. Times in seconds."""

    path: str
    """Of the app, beginning with "/"."""
    method: str = "GET"
    host: str = ""
    """One of the environment's hosts; "" is the first one."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with it."""
    body: str = ""
    """Sent with it."""
    status: tuple[int, ...] = (200,)
    contains: str = ""
    expect_headers: tuple[tuple[str, str], ...] = ()
    """Name and a text that the value has to contain."""
    expect_json: tuple[tuple[str, str | int | float | bool], ...] = ()
    """JSON path ("items.0.name") and the value that has to be there."""
    within: float = 5.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline: ``kind`` is one of :data:`STAGES`. Times in seconds."""

    kind: str
    name: str
    """Unique in its pipeline; by default the kind, with the environment where there is one."""
    environment: EnvironmentName | None = None
    """Of ``deploy``, ``smoke``, ``approve`` and ``verify``, which always have one; of others none."""
    checks: tuple[Check, ...] = ()
    budgets: tuple[Budget, ...] = ()
    """Of ``build``."""
    requests: tuple[SmokeRequest, ...] = ()
    """Of ``smoke`` and ``verify``."""
    command: str = ""
    """Of ``smoke`` and ``verify``: a shell line with the environment's address as ``HOMEPORT_URL``."""
    timeout: float = 600.0
    """Of ``approve``: how long it waits for a person. Of ``smoke`` and ``verify``: of the command."""
    people: tuple[str, ...] = ()
    """Of ``approve``: who may; () is anybody."""
    own: bool = True
    """Of ``approve``: whether the author of the commit, or who started the run, may approve it."""
    items: tuple[str, ...] = ()
    """Of ``approve``: a checklist that the person ticks."""
    watch_for: float = 0.0
    """Of ``verify``: how long the environment has to stay well."""
    retries: int = 0
    """Of ``smoke``: how often it is tried again."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The way of a commit to production."""

    stages: tuple[Stage, ...] = ()
    """Without any: build, deploy to the default environment, with an approval before where it has a gate."""
    branch: str = "main"
    """The branch whose pushes start it."""
    on_newer: str = "queue"
    """What a newer commit does to a run that waits: one of :data:`ON_NEWER`."""
