"""Which filesystem a path is on, from what the kernel lists: a mount that hangs is not touched."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def filesystem(path: Path, mounts: str | None = None) -> str | None:
    """A name of the filesystem that ``path``, absolute and without links, lies on; None where that is not known.

    ``mounts``: as the kernel writes them (proc(5), ``/proc/[pid]/mountinfo``); None reads them.
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 5:
            continue
        point = Path(_OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[4]))
        # Of two at one place the later hides the earlier.
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), fields[2])
    return found[1] if found else None
