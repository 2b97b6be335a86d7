"""Whether the machine is so busy with other work that answers take longer whoever gives them."""

from collections.abc import Sequence

CROWDED = 0.7
"""The share of all cores that other work takes, from which on latency says nothing of a release."""


class Crowd:
    """Looks at CPU seconds from one look to the next. Not thread-safe."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._at: float | None = None
        self._busy = 0.0
        self._own: dict[int, float] = {}
        self._share = 0.0
        self._own_now: dict[int, float] = {}

    def look(self, now: float, busy: float | None, own: dict[int, float]) -> None:
        """``busy``: CPU seconds of the whole machine, ``own``: those of releases' processes, by pid."""
        self._own_now = {}
        if busy is not None and self._at is not None and now > self._at:
            self._share = (busy - self._busy) / ((now - self._at) * self._cores)
            self._own_now = {
                pid: max(0.0, seconds - self._own.get(pid, seconds)) / ((now - self._at) * self._cores)
                for pid, seconds in own.items()
            }
        if busy is not None:
            self._at, self._busy, self._own = now, busy, own

    def is_crowded(self, pids: Sequence[int]) -> bool:
        """Whether what others than these processes did since the look before took most of the machine."""
        return self._share - sum(self._own_now.get(pid, 0.0) for pid in pids) > CROWDED
