"""One command of a stage, from its start to the last of what it started."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport.kernel.masking import Masker, Stream
from homeport.kernel.units import format_duration, format_size
from homeport.rollout.pipeline.stages.place import DISK_FULL, OVER_BUDGET, Watch
from homeport.rollout.pipeline.stages.work import CLOSING, Work
from homeport.system import process

KEPT = 16_384
"""Bytes of a command's last output that are told with how it ended."""
LONGEST = 16_384
"""Bytes. A longer line is told in pieces."""
TOLD = 20
"""Lines."""
NOT_INTERACTIVE = {"CI": "true", "TERM": "dumb"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int | None
    """None: it was ended before it did so itself."""
    problem: str
    """"" when it did well, else "status 1", "signal 9", "it ran longer than 10 m" or the like."""
    seconds: float
    lines: tuple[str, ...]
    """Its last output, without secrets."""

    @property
    def ok(self) -> bool:
        return not self.problem


class Lines:
    """Cuts a command's output into whole lines without secrets, of at most :data:`LONGEST` bytes."""

    def __init__(self, masker: Masker, give: Callable[[bytes], None]) -> None:
        self._stream = Stream(masker)
        self._give = give
        self._open = b""

    def feed(self, chunk: bytes) -> None:
        self._take(self._stream.feed(chunk))

    def close(self) -> None:
        self._take(self._stream.flush())
        if self._open:
            self._give(_seen(self._open))
            self._open = b""

    def _take(self, masked: bytes) -> None:
        *whole, self._open = (self._open + masked).split(b"\n")
        for line in whole:
            self._give(_seen(line))
        while len(self._open) > LONGEST:
            self._give(_seen(self._open[:LONGEST]))
            self._open = self._open[LONGEST:]


def _seen(line: bytes) -> bytes:
    """What a terminal shows of a line that was written over itself, as progress bars do."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def run(
    work: Work,
    line: str,
    *,
    mark: str,
    directory: Path,
    timeout: float,
    watch: Watch,
    tell: Callable[[bytes], None],
    more: Mapping[str, str] | None = None,
) -> Ended:
    """Run a shell line for at most ``timeout`` seconds; ``tell`` gets each line that it prints.

    When it ends, nothing with its mark is left, whatever it forked. Its input is empty.
    """
    last: list[bytes] = []
    size = 0

    def keep(text: bytes) -> None:
        nonlocal size
        tell(text)
        last.append(text)
        size += len(text)
        while len(last) > 1 and (size > KEPT or len(last) > TOLD):
            size -= len(last.pop(0))

    lines = Lines(work.masker, keep)
    started = work.clock.monotonic()
    environment = {k: v for k, v in work.variables.items() if k != "NO_COLOR"}
    try:
        status, reason = process.stream(
            ["/bin/sh", "-c", line],
            timeout=timeout,
            cwd=directory,
            env={
                **environment,
                **NOT_INTERACTIVE,
                **(more or {}),
                process.OWNER: str(work.data_dir),
                process.INSTANCE: mark,
            },
            on_output=lines.feed,
            poll=watch,
        )
    except OSError as e:
        return Ended(None, f"it cannot be started: {e.strerror or e}", 0.0, ())
    finally:
        lines.close()
    seconds = round(work.clock.monotonic() - started, 3)
    problem = _problem(work, status, reason, timeout)
    told = tuple(text.decode("utf-8", "replace") for text in last)
    return Ended(status if reason is None else None, problem, seconds, told)


def _problem(work: Work, status: int, reason: str | None, timeout: float) -> str:
    match reason:
        case None:
            return "" if status == 0 else f"status {status}" if status > 0 else f"signal {-status}"
        case "timeout":
            return f"it ran longer than {format_duration(timeout)}"
        case x if x == DISK_FULL:
            return "the disk is full"
        case x if x == OVER_BUDGET:
            return f"its files take more than allowed: build.disk is {format_size(work.disk)}"
        case _:
            return why(reason)


def why(stopped: str) -> str:
    """What ``Work.stop`` said, for people."""
    return "the control plane is stopping" if stopped == CLOSING else "it was cancelled"
