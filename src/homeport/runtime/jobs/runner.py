"""Runs one scheduled command and leaves word of its end: ``python -I -S runner.py <run directory>``.

It goes into the background at once and depends on nobody: the control plane may be killed. In order:

- it claims the run by linking ``claim`` into place, which only one can; it is on disk before anything is
  started, so a run is started at most once, over power cuts too;
- the command is started by ``launch.py``, as an instance's process is;
- the command is ended, with all its processes, when it runs past its time or ``stop`` appears (its text
  is the reason), with SIGTERM and after the grace SIGKILL;
- what the command left running is ended;
- ``result`` is written, whole or not at all.

The runner carries a mark of its own, for what the launcher ends goes by the run's.
"""

import errno
import fcntl
import json
import os
import signal
import struct
import sys
import termios
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import launch

LOOK_SECONDS = 1.0
"""Between two looks for a ``stop`` that no signal told of."""
DRAIN_SECONDS = 10.0
"""The log daemon's time to take the last output before the end is told; it may have secrets to open first."""
HURRIED_SECONDS = 2.0
"""The same once this runner is told to end."""
WRITE_SECONDS = 600.0
"""How long a result is tried to be written on a full disk."""
SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
TO_END = SIGNALS - {signal.SIGCHLD}
INTERRUPTED = "lost"
"""The reason when this runner is told to end and the run is not: Homeport or the machine goes down."""


def background() -> None:
    """Go on in a process whose parent is gone, with no open file of the caller's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
    os.chdir("/")


def write_whole(directory: str, name: str, text: str, *, take: bool = False) -> bool:
    """Write a file that is there whole or not, and on disk on return. False when ``take`` came too late."""
    fresh = f"{directory}/.{name}.{os.getpid()}"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        if take:
            os.link(fresh, f"{directory}/{name}")
            os.unlink(fresh)
        else:
            os.replace(fresh, f"{directory}/{name}")
    except FileExistsError:
        os.unlink(fresh)
        return False
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return True


def claim(directory: str) -> bool:
    me = os.getpid()
    try:
        text = f"{me} {launch.started_at(me)} {launch.boot_id()}\n"
        return write_whole(directory, "claim", text, take=True)
    except OSError:
        return False  # the run is gone, or the disk is full: then it is tried again


def asked(directory: str) -> str:
    try:
        with open(f"{directory}/stop") as f:
            return f.read().strip()
    except OSError:
        return ""


def start(directory: str) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        launch.main(f"{directory}/run.json")
    except BaseException as e:
        try:
            os.write(2, f"homeport: cannot start: {e}\n".encode())
        except OSError:
            pass
    os._exit(launch.FAILED)


def group_members(group: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
                found.append(int(name))
    return found


def processes(child: int, marks: list[str]) -> list[int]:
    """What lives of the run: by its mark, and by its group for one that overwrote its environment."""
    return sorted({*launch.leftovers(marks), *group_members(child)} - {os.getpid()})


class Watch:
    """Waits for the end of the command, or brings it about."""

    def __init__(self, directory: str, document: dict[str, object], child: int) -> None:
        self.directory = directory
        self.child = child
        self.marks = [str(mark) for mark in document["marks"]]  # type: ignore[attr-defined]
        self.grace = float(str(document["stop_grace"]))
        self.deadline = time.monotonic() + float(str(document["timeout"]))
        self.reason = ""
        self.kill_at = 0.0
        self.interrupted = False

    def wait(self) -> int:
        """The command's wait status; ``reason`` says why it was ended, if it was."""
        while True:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                return status
            now = time.monotonic()
            if not self.reason:
                self.reason = asked(self.directory) or (INTERRUPTED if self.interrupted else "")
                if not self.reason and now >= self.deadline:
                    self.reason = "timed out"
                if self.reason:
                    self.kill_at = now + self.grace
                    launch.signal_all(processes(self.child, self.marks), signal.SIGTERM)
            elif now >= self.kill_at:
                launch.signal_all(processes(self.child, self.marks), signal.SIGKILL)
            until = (self.kill_at if self.reason else self.deadline) - now
            self.sleep(min(LOOK_SECONDS, max(0.05, until)))

    def sleep(self, seconds: float) -> None:
        """Until a signal or the time comes."""
        info = signal.sigtimedwait(SIGNALS, seconds)
        if info is not None and info.si_signo != signal.SIGCHLD:
            self.interrupted = True

    def end_rest(self) -> None:
        """End what the command left running."""
        rest = processes(self.child, self.marks)
        if not rest:
            return
        launch.signal_all(rest, signal.SIGTERM)
        end = time.monotonic() + self.grace
        while time.monotonic() < end:
            if not (rest := processes(self.child, self.marks)):
                return
            self.sleep(0.05)
        while rest := processes(self.child, self.marks):
            launch.signal_all(rest, signal.SIGKILL)
            self.sleep(0.02)


def hold(fifo: str) -> int:
    """Open the command's pipe before it does: what a short one printed waits there for a log daemon that is
    late. -1 when it cannot be opened; then the launcher cannot either, and fails."""
    try:
        try:
            os.mkfifo(fifo, 0o600)
        except FileExistsError:
            pass
        return os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return -1


def drain(fd: int, seconds: float) -> None:
    """Wait until the log daemon has taken all that is in the pipe; what it leaves there is thrown away.

    The end of the run takes away its document, without which the daemon does not know what to mask.
    """
    if fd < 0:
        return
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        (left,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))
        if not left:
            break
        if signal.sigtimedwait(TO_END, 0.01) is not None:
            end = min(end, now + HURRIED_SECONDS)
    else:
        try:
            while os.read(fd, 1 << 16):
                pass
        except BlockingIOError:
            pass
    os.close(fd)


def tell(directory: str, result: dict[str, object]) -> None:
    """Leave word. A full disk is waited for; a directory that is gone is not."""
    end = time.monotonic() + WRITE_SECONDS
    while True:
        try:
            write_whole(directory, "result", json.dumps(result))
            return
        except OSError as e:
            if e.errno == errno.ENOENT or time.monotonic() > end:
                return
        time.sleep(1)  # noqa: TID251


def main(directory: str) -> None:
    background()
    if not claim(directory):
        os._exit(0)
    reason, status = asked(directory), None
    if not reason:
        with open(f"{directory}/run.json") as f:
            document = json.load(f)
        output = hold(document["fifo"])
        watch = Watch(directory, document, start(directory))
        status = watch.wait()
        watch.end_rest()
        drain(output, HURRIED_SECONDS if watch.interrupted else DRAIN_SECONDS)
        reason = watch.reason
    tell(directory, {"reason": reason, "status": status, "finished": time.time()})  # noqa: TID251
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
