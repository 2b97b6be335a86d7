"""Where a stage's commands run: the commit's files, unpacked anew, and room on the disk while they do."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_size
from homeport.rollout import archive
from homeport.rollout.build import RESERVE
from homeport.rollout.pipeline.stages.work import Found, Work
from homeport.system import files, process

DISK_FULL = "disk"
OVER_BUDGET = "budget"


class Unusable(Exception):
    """There is no place to run in. ``found`` says why."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.reason)
        self.found = found


@contextmanager
def unpacked(work: Work) -> Iterator[Path]:
    """The commit's files in ``work.scratch`` for the block; afterwards nothing of them, or of the processes
    with the work's mark, is left.

    Ends and removes first what a control plane that was killed has left. Raises :class:`Unusable`.
    """
    clear(work)
    try:
        free, needed = files.free_bytes(work.data_dir), work.archive.stat().st_size + RESERVE
        if free < needed:
            sentence = f"{format_size(free)} are free for {work.data_dir}, {format_size(needed)} are needed"
            raise Unusable(Found(False, f"there is no room on the disk: {sentence}"))
        archive.unpack(work.archive, work.scratch)
    except HomeportError as e:
        clear(work)
        raise Unusable(Found(False, e.sentence, e.details)) from e
    except OSError as e:
        clear(work)
        raise Unusable(Found(False, f"the commit's files cannot be unpacked: {_why(e)}")) from e
    try:
        yield work.scratch
    finally:
        clear(work)


def clear(work: Work) -> None:
    """End what carries the work's mark and remove its scratch directory."""
    process.kill_family(str(work.data_dir), work.name)
    files.remove_tree(work.scratch, within=work.data_dir)


def _why(e: OSError) -> str:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return e.strerror or str(e)


class Watch:
    """Why the commands of a stage have to end: what ``Work.stop`` says, or how full the disk is.

    Asked by each command's thread; measures for all of them.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._measured_at = work.clock.monotonic()
        self._pause = 0.5
        self._reason: str | None = None

    def __call__(self) -> str | None:
        with self._lock:
            if self._reason is None:
                self._reason = self._work.stop() or self._measure()
            return self._reason

    @property
    def stopped(self) -> str | None:
        """What ``Work.stop`` said, when it was that."""
        return None if self._reason in (DISK_FULL, OVER_BUDGET) else self._reason

    def _measure(self) -> str | None:
        work = self._work
        started = work.clock.monotonic()
        if started - self._measured_at < self._pause:
            return None
        if files.free_bytes(work.data_dir) < RESERVE:
            return DISK_FULL
        over = files.tree_bytes(work.scratch) > work.disk
        self._measured_at = work.clock.monotonic()
        # A walk over a large tree is slow: never spend more than a tenth of the time on it.
        self._pause = max(0.5, 10 * (self._measured_at - started))
        return OVER_BUDGET if over else None
