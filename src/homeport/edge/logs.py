"""The access log's writer: a small process beside HAProxy that keeps the file within bounds.

HAProxy writes to a pipe and never waits for it: when the writer cannot keep up or is gone, lines are
lost and requests are not. It cannot write the file itself, since it drops O_APPEND from its standard
output and can be told to open no other.
"""

import contextlib
import fcntl
import os
import signal
from pathlib import Path

from homeport.system.clock import RealClock

PIPE_BYTES = 1 << 20
LOGS_KEPT_AT_MOST = 20
"""Older logs beyond these are not looked for."""
REST_SECONDS = 0.05


def become_writer_of_own_output(path: Path, max_bytes: int, keep: int) -> None:
    """From here on what this process, and what it becomes by exec, prints goes to ``path``.

    A process is left behind that writes it, until nobody has the pipe open any more. It is no child of
    this one: HAProxy's master ends only when it has no children left.
    """
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    child = os.fork()
    if child == 0:
        try:
            if os.fork() != 0:
                os._exit(0)
            os.close(writer)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(name, signal.SIG_IGN)
            copy(reader, path, max_bytes, keep)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    os.dup2(writer, 1)
    os.close(writer)


def copy(source: int, path: Path, max_bytes: int, keep: int) -> None:
    """Append all that comes from ``source`` to ``path``, in whole lines, rotated past ``max_bytes``.

    A disk that is full loses lines and nothing else. After each read it rests, so that a
    busy HAProxy does not wake it for every line: that cost 2 % of the requests the edge can carry.
    """
    clock = RealClock()
    log = _open(path)
    rest = b""
    while chunk := os.read(source, PIPE_BYTES):
        clock.sleep(REST_SECONDS)
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if not newline:
            continue
        data = whole + newline
        with contextlib.suppress(OSError):
            if not _is_at(path, log):
                # It was deleted, or moved away by hand: what is written there nobody reads.
                os.close(log)
                log = _open(path)
            while data:
                # As many whole lines as still fit; one that fits no file gets a file of its own.
                room = max_bytes - os.fstat(log).st_size
                fits = len(data) if len(data) <= room else data.rfind(b"\n", 0, max(room, 0)) + 1
                if not fits and os.fstat(log).st_size:
                    os.close(log)
                    rotate(path, keep)
                    log = _open(path)
                    continue
                fits = fits or data.find(b"\n") + 1
                os.write(log, data[:fits])
                data = data[fits:]


def rotate(path: Path, keep: int) -> None:
    """``path`` becomes ``path.1``, that ``path.2``, …; ``keep`` of them stay."""
    for n in range(keep - 1, -1, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(numbered(path, n), numbered(path, n + 1))
    if keep < 1:
        path.unlink(missing_ok=True)


def _is_at(path: Path, log: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(log))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def numbered(path: Path, n: int) -> Path:
    """The log that was rotated ``n`` times; 0 is the present one."""
    return path.with_name(f"{path.name}.{n}") if n else path
