"""How busy the machine is, and with whose work. Linux's own counters."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float | None:
    """CPU seconds that all cores together have worked since the machine began; None where that is not told."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        # user, nice, system, idle, iowait, irq, softirq, steal: guest time is within user's.
        numbers = [int(f) for f in fields[:8]]
    except (OSError, ValueError, IndexError):
        return None
    return (sum(numbers) - numbers[3] - numbers[4]) / _TICK if len(numbers) == 8 else None


def process_seconds(pid: int) -> float:
    """CPU seconds of a process and of its children that it has waited for; 0.0 when there is none of it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(f) for f in fields[11:15]) / _TICK
    except (OSError, ValueError, IndexError):
        return 0.0
