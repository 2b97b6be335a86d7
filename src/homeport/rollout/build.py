"""From an archive to a release's files, or to nothing but a log."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.masking import Masker, Stream
from homeport.kernel.units import format_duration, format_size
from homeport.rollout import archive
from homeport.spec.model import Build, Hook
from homeport.system import files, process

FAILED = declare("rollout.build_failed", Kind.FAILED, "The app's build command ended with an error.")
HUNG = declare("rollout.build_timeout", Kind.FAILED, "The app's build ran past build.timeout.")
OVER_BUDGET = declare(
    "rollout.build_over_budget",
    Kind.NO_SPACE,
    "The app's build took more than build.disk, or the disk filled.",
)
CANCELLED = declare(
    "rollout.cancelled", Kind.ROLLED_BACK, "Another command took over, or the change was aborted."
)
DISK_FULL = declare(
    "rollout.disk_full",
    Kind.NO_SPACE,
    "The data directory's disk has no room for another release.",
    retry=False,
)

MAX_LOG = 20_000_000
"""Bytes of build output that are kept; the rest is counted."""
RESERVE = 256_000_000
"""Bytes that a build leaves free on the disk, for the state, logs and what serves."""


class BuildLog:
    """A build's output, kept beside the release's directory; bounded, and without secrets."""

    def __init__(self, path: Path, masker: Masker, *, append: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab" if append else "wb", buffering=0)  # noqa: SIM115 - closed by close()
        self._left = max(0, MAX_LOG - self._file.tell())
        self._dropped = 0
        self._stream = Stream(masker)

    def write(self, chunk: bytes) -> None:
        self._keep(self._stream.feed(chunk))

    def _keep(self, chunk: bytes) -> None:
        kept = chunk[: self._left]
        try:
            if kept:
                self._file.write(kept)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
        self._left -= len(kept)
        self._dropped += len(chunk) - len(kept)

    def close(self) -> None:
        self._keep(self._stream.flush())
        if self._dropped:
            self._file.write(f"\n[{format_size(self._dropped)} more output was not kept]\n".encode())
        self._file.close()


def check_room(data_dir: Path, needed: int) -> None:
    """Raise ``rollout.disk_full`` when ``needed`` bytes beyond the reserve are not free."""
    free = files.free_bytes(data_dir)
    if free < needed + RESERVE:
        raise DISK_FULL.error(
            f"cannot deploy: {format_size(free)} are free for {data_dir}, "
            f"{format_size(needed + RESERVE)} are needed",
            hint="homeport releases shows what takes room; remove something, then deploy again",
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A build: what it is made from, where, and under which limits."""

    source: Path
    """The archive."""
    target: Path
    log_path: Path
    settings: Build
    hooks: tuple[Hook, ...]
    environment: Mapping[str, str]
    masker: Masker
    data_dir: Path
    name: str
    """The mark of its processes."""
    cancelled: Callable[[], bool]
    clock: Clock


def build(work: Work) -> int:
    """Unpack the source into the target and run the build command there; returns bytes on disk.

    Begins anew whatever an interrupted build of this name left. On any error the target is gone and
    nothing of the build runs; the log stays. Raises ``rollout.build_failed``, ``build_timeout``,
    ``build_over_budget`` or ``cancelled``, with the log's last lines as details.
    """
    process.kill_marked(str(work.data_dir), work.name)
    files.remove_tree(work.target, within=work.data_dir)
    log = BuildLog(work.log_path, work.masker)
    try:
        try:
            return _build(work, log)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OVER_BUDGET.error(f"cannot build {work.name}: the disk is full") from e
        finally:
            log.close()
    except BaseException as e:
        files.remove_tree(work.target, within=work.data_dir)
        if isinstance(e, HomeportError) and not e.details:
            e.details = files.tail_lines(work.log_path, 50)
        raise


def _build(work: Work, log: BuildLog) -> int:
    archive.unpack(work.source, work.target)
    by_name = {hook.name: hook for hook in work.hooks}
    command = work.settings.command
    steps = [
        ("hook before-build", by_name["before-build"]) if "before-build" in by_name else None,
        ("build command", Hook("build", command, work.settings.timeout)) if command else None,
        ("hook after-build", by_name["after-build"]) if "after-build" in by_name else None,
    ]
    for step in steps:
        if step is not None:
            _run(*step, work, log)
    # Written out, so that it survives a power cut once it is recorded as ready.
    process.run(("sync", "-f", str(work.target)), timeout=60, check=False)
    return files.tree_bytes(work.target)


def _run(what: str, step: Hook, work: Work, log: BuildLog) -> None:
    log.write(f"$ {step.command}\n".encode())
    measured_at = work.clock.monotonic()
    pause = 0.5

    def watch() -> str | None:
        nonlocal measured_at, pause
        if work.cancelled():
            return "cancelled"
        started = work.clock.monotonic()
        if started - measured_at < pause:
            return None
        if files.free_bytes(work.data_dir) < RESERVE:
            return "disk"
        over = files.tree_bytes(work.target) > work.settings.disk
        measured_at = work.clock.monotonic()
        # A walk over a large tree is slow: never spend more than a tenth of the time on it.
        pause = max(0.5, 10 * (measured_at - started))
        return "budget" if over else None

    mark = {"HOMEPORT_HOOK": step.name} if what.startswith("hook") else {}
    status, reason = process.stream(
        ["/bin/sh", "-c", step.command],
        timeout=step.timeout,
        cwd=work.target,
        env={**work.environment, **mark, process.OWNER: str(work.data_dir), process.INSTANCE: work.name},
        on_output=log.write,
        poll=watch,
    )
    if reason == "timeout":
        raise HUNG.error(
            f"cannot build: the {what} ran longer than {format_duration(step.timeout)}",
            hint="raise its timeout, or find what it waits for in the lines above",
        )
    if reason == "cancelled":
        raise CANCELLED.error("cannot go on building: it was cancelled, or taken over by another command")
    size = files.tree_bytes(work.target)
    if reason is not None or size > work.settings.disk:
        limit = f"build.disk is {format_size(work.settings.disk)}"
        what = "the disk is full" if reason == "disk" else f"it takes more than allowed ({limit})"
        raise OVER_BUDGET.error(f"cannot build: {what}", hint="make the build smaller, or raise build.disk")
    if status != 0:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise FAILED.error(
            f"cannot build: the {what} ended with {how}",
            hint="the log's last lines tell why; nothing was changed",
        )
