"""``python -m homeport.edge.start <edge directory> [log bytes] [logs kept]``: become HAProxy.

For a supervisor to run.

It refuses files that are not whole and a port that a stranger has, with one clear line on stderr and
a status other than 0. When an HAProxy on the same configuration still runs, because its supervisor was
killed, the new one gets its listening sockets and lets it finish what it has: no connection is refused.

A process of its own writes the access log; see :mod:`homeport.edge.logs`.
"""

import contextlib
import os
import sys
from pathlib import Path

from homeport.edge import control, logs, preflight
from homeport.edge.commands import Layout
from homeport.kernel.errors import EXIT_USAGE, HomeportError

LOG_BYTES = 50_000_000
ALLOCATOR = (
    "glibc.malloc.tcache_max=65536:glibc.malloc.tcache_count=64:glibc.malloc.trim_threshold=134217728"
    ":glibc.malloc.top_pad=16777216:glibc.malloc.mmap_threshold=134217728"
)
"""For HAProxy's buffers of 16 kB, which glibc else gives back to the system and asks for again: worth 3 %
of the requests that the edge can carry (bench/edge.py, 25 rounds in random order)."""
LOGS_KEPT = 5


def arguments(program: Path, layout: Layout, pid: int, old: tuple[int, ...], *, sockets: bool) -> list[str]:
    """HAProxy's command line. ``pid`` names the master's socket; it is this process's own."""
    argv = [
        str(program), "-W", "-db", "-f", str(layout.config), "-p", str(layout.pid_file),
        "-S", f"{layout.master_socket(pid)},mode,600",
    ]  # fmt: skip
    if old and sockets:
        argv += ["-x", str(layout.admin_socket)]
    if old:
        argv += ["-sf", *(str(p) for p in old)]
    return argv


def prepare(layout: Layout) -> list[str]:
    """Check all that can be checked; returns the command line. Raises HomeportError."""
    preflight.check_haproxy()
    preflight.check_files(layout)
    preflight.check_config(layout.config, layout)
    for bind in preflight.binds_of(layout.config.read_text()):
        preflight.check_bind(bind, lambda pid: control.is_ours(pid, layout))
    for path in layout.directory.glob("m*.sock"):
        pid = path.name[1 : -len(".sock")]
        if pid.isdigit() and not control.is_ours(int(pid), layout):
            path.unlink(missing_ok=True)
    old = control.processes(layout)
    answers = False
    with contextlib.suppress(HomeportError):
        control.info(layout)
        answers = True
    return arguments(preflight.haproxy(), layout, os.getpid(), old, sockets=answers)


def main(argv: list[str]) -> int:
    if not 1 <= len(argv) <= 3 or not all(x.isdigit() for x in argv[1:]):
        print(
            "usage: python -m homeport.edge.start <edge directory> [log bytes] [logs kept]", file=sys.stderr
        )
        return EXIT_USAGE
    layout = Layout(Path(argv[0]).resolve())
    try:
        command = prepare(layout)
    except HomeportError as e:
        for line in (e.sentence, *e.details, *((f"hint: {e.hint}",) if e.hint else ())):
            print(line, file=sys.stderr)
        return e.kind.exit_status
    limits = [int(x) for x in argv[1:]]
    max_bytes = limits[0] if limits else LOG_BYTES
    keep = limits[1] if len(limits) > 1 else LOGS_KEPT
    logs.become_writer_of_own_output(layout.access_log, max_bytes, keep)
    os.putenv("GLIBC_TUNABLES", ALLOCATOR)
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
