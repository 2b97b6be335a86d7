"""The log daemon: one reader of every instance's named pipe, run as ``python -I -S logd.py <data dir>``.

Pipes in ``logs/fifo/<name>`` become ``logs/<name>.log``, each line after its time in UTC. It imports
nothing of Homeport's so that it stays at the size of a bare interpreter; ``masks`` and what that needs
only once an instance has secrets.

Secrets are masked. Which there are is in an instance's document, which is written before its process
starts: output is read first, then the document is looked at, and what was read waits until the secrets
are known. Half of a value may show when this process is killed between reading the one half and the other.

What holds: an app's output is lost only when the disk has no room (the log then says how many lines),
or when this process is killed between a read and the write that follows it (at most one read of 64 KB
for each instance, and the unfinished last line), or withheld as its secrets cannot be known, or when the app ends while no log daemon runs. While
none runs, an app that fills its pipe (1 MB) waits; it is not killed. One read for each instance in
turn, so one that prints without end does not hold up the others.
"""

import errno
import fcntl
import os
import select
import signal
import stat
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homeport.runtime.masks import Masks, Opening, Secrets

READ_BYTES = 64 * 1024
"""Also the longest line; a longer one is split."""
DOCUMENTS = ("supervisor/instances/%s.json", "supervisor/services/%s.json", "cron/%s/run.json")
"""Where below the data directory the document of a pipe's process may be, by the pipe's name."""
FILE_BYTES = 10_000_000
FILES_KEPT = 3
SCAN_SECONDS = 0.02
SETTLE_NS = 100_000_000
"""A directory's time stamp is coarse: one this young may stand for two changes."""
UNFINISHED_SECONDS = 0.5
"""How long the start of a line waits for its end: last words often have none."""
RETRY_SECONDS = 1.0
F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20


class Stamp:
    """The time as it stands before a line: ``2025-01-31T23:59:59.123Z `` (the blank included)."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, ns: int) -> bytes:
        second, rest = divmod(ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return b"%s.%03dZ " % (self._text.encode(), rest // 1_000_000)


def split_lines(data: bytes) -> tuple[bytes | None, bytes]:
    """(whole lines without the last newline, or None; the unfinished rest), no line over READ_BYTES."""
    start = 0
    while len(data) - start > READ_BYTES:
        newline = data.rfind(b"\n", start, start + READ_BYTES + 1)
        if newline < 0:
            newline = start + READ_BYTES
            data = data[:newline] + b"\n" + data[newline:]
        start = newline + 1
    lines, found, rest = data.rpartition(b"\n")
    return (lines, rest) if found else (None, rest)


class Log:
    """A log file of one instance: rotated by size, and never the cause of an error."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self.size = 0
        self.dropped = 0

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self.fd).st_size
        if self.size:
            with open(self.path, "rb") as f:
                f.seek(-1, os.SEEK_END)
                if f.read(1) != b"\n":  # killed in the middle of a write
                    self.size += os.write(self.fd, b"\n")

    def _rotate(self) -> None:
        self.close()
        for n in range(FILES_KEPT, 0, -1):
            older = f"{self.path}.{n - 1}" if n > 1 else self.path
            try:
                os.replace(older, f"{self.path}.{n}")
            except FileNotFoundError:
                continue

    def _write(self, data: bytes) -> bool:
        """Write all of it or nothing."""
        try:
            if self.fd < 0:
                self._open()
            if self.size >= FILE_BYTES:
                self._rotate()
                self._open()
            written = 0
            while written < len(data):
                written += os.write(self.fd, data[written:] if written else data)
        except OSError:
            if self.fd >= 0:
                try:
                    os.ftruncate(self.fd, self.size)
                except OSError:
                    self.close()
            return False
        self.size += len(data)
        return True

    def write(self, lines: bytes, stamp: bytes) -> None:
        """Append whole lines (without the last newline), or count them as dropped."""
        if self.dropped:
            self.tell(stamp)
        if self.dropped or not self._write(stamp + lines.replace(b"\n", b"\n" + stamp) + b"\n"):
            self.dropped += lines.count(b"\n") + 1

    def tell(self, stamp: bytes) -> None:
        """Say how many lines were dropped, when there is room again."""
        if self._write(
            b"%shomeport: %d lines were lost here: no space on the disk\n" % (stamp, self.dropped)
        ):
            self.dropped = 0

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Source:
    """One instance's pipe and log. ``documents`` are the places of what holds its secrets, sealed."""

    def __init__(self, path: str, log: str, documents: list[str], masks: "list[Masks]") -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.inode = os.fstat(self.fd).st_ino
        try:
            fcntl.fcntl(self.fd, F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # over the user's share: it stays at 64 KB
        self.name = os.path.basename(path)
        self.log = Log(log)
        self.rest = b""
        self.waits_since = 0.0
        self.documents = documents
        self.seen: tuple[int, ...] = ()
        self.masks = masks
        self.secrets: Secrets | None = None
        self.waiting = b""
        """What was read, and waits for secrets that are being opened."""

    @property
    def opening(self) -> "Opening | None":
        """While there is one, nothing may be read."""
        return None if self.secrets is None else self.secrets.opening

    def read(self, stamp: bytes, now: float) -> bool:
        """Take one read's worth; False when the pipe is empty."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return False
        self.waits_since = now
        self.look(now, has_output=True)
        if self.opening is not None:
            self.waiting = data
        else:
            self.take(data, stamp)
        return True

    def look(self, now: float, *, has_output: bool) -> None:
        """Follow what the document says by now; that may begin to open secrets."""
        document, status = self.documents[0], None
        for place in self.documents:
            try:
                document, status = place, os.stat(place)
                break
            except OSError:
                continue
        if status is None:
            if has_output and not self.seen and self.secrets is None:
                self.know().withhold("its document is gone", now)
            return  # forgotten: what is known stays
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self.seen and not (self.secrets is not None and self.secrets.is_due(now)):
            return
        self.seen = seen
        try:
            with open(document, "rb") as f:
                text = f.read()
                if self.secrets is not None or b'"secrets"' in text:
                    self.know().follow(document, text, f.fileno(), now)
        except OSError as e:
            self.know().withhold(f"cannot read its document: {e.strerror}", now)

    def know(self) -> "Secrets":
        """``masks`` is empty until the first one has secrets: then it holds what all have in common."""
        if not self.masks:
            sys.path.append(os.path.dirname(os.path.abspath(__file__)))
            from masks import Masks

            self.masks.append(Masks())
        if self.secrets is None:
            self.secrets = self.masks[0].secrets(self.name)
        return self.secrets

    def opened(self, stamp: bytes, now: float) -> None:
        """The opening is done: what waited for it goes its way."""
        assert self.secrets is not None
        self.waits_since = now
        if self.secrets.opened(now):
            self.seen = ()  # the document may have changed meanwhile
        waiting, self.waiting = self.waiting, b""
        self.take(waiting, stamp)

    def take(self, data: bytes, stamp: bytes) -> None:
        self.put(data if self.secrets is None else self.secrets.feed(data), stamp)

    def put(self, data: bytes, stamp: bytes) -> None:
        lines, self.rest = split_lines(self.rest + data)
        if lines is not None:
            self.log.write(lines, stamp)

    def settle(self, stamp: bytes, now: float) -> None:
        """Finish what waited too long."""
        if self.opening is not None:
            return
        if now - self.waits_since > UNFINISHED_SECONDS:
            if self.secrets is not None:
                self.put(self.secrets.flush(), stamp)
            self.finish(stamp)
        if self.log.dropped and now - self.waits_since > RETRY_SECONDS:
            self.waits_since = now
            self.log.tell(stamp)

    def finish(self, stamp: bytes) -> None:
        if self.rest:
            self.log.write(self.rest, stamp)
            self.rest = b""

    def close(self, stamp: bytes, now: float) -> None:
        """Take what is in the pipe and let go of it."""
        for _ in range(4 * PIPE_BYTES // READ_BYTES):  # a pipe that is still written to never ends
            self.await_secrets(stamp)
            if not self.read(stamp, now):
                break
        self.await_secrets(stamp)
        if self.secrets is not None:
            self.put(self.secrets.close(), stamp)
        self.finish(stamp)
        os.close(self.fd)
        self.log.close()

    def await_secrets(self, stamp: bytes) -> None:
        if self.opening is not None:
            self.opening.wait()
            self.opened(stamp, time.monotonic())


class Daemon:
    def __init__(self, data: str) -> None:
        self.logs = f"{data}/logs"
        self.fifos = f"{data}/logs/fifo"
        self.data = data
        self.masks: list[Masks] = []
        self.sources: dict[str, Source] = {}
        self.by_fd: dict[int, Source] = {}
        self.poll = select.poll()
        self.changed = 0
        self.settled = False
        self.stamp = Stamp()
        self.stopping = False
        self.waiting: dict[int, Source] = {}
        """Sources whose secrets are being opened, by what tells of the end of that; their pipes are let be."""

    def scan(self) -> None:
        """Follow what appears in and vanishes from the directory of pipes."""
        try:
            changed = os.stat(self.fifos).st_mtime_ns
        except OSError:
            return
        if changed == self.changed and self.settled:
            return
        self.changed = changed
        self.settled = time.time_ns() - changed > SETTLE_NS
        seen: dict[str, int] = {}
        for name in os.listdir(self.fifos):
            try:
                status = os.stat(f"{self.fifos}/{name}")
            except OSError:
                continue
            if stat.S_ISFIFO(status.st_mode):
                seen[name] = status.st_ino
        for name in [n for n, source in self.sources.items() if seen.get(n) != source.inode]:
            source = self.sources.pop(name)
            if source.opening is not None:
                self.resume(source)
            self.poll.unregister(source.fd)
            del self.by_fd[source.fd]
            source.close(self.stamp(time.time_ns()), time.monotonic())
        for name in seen.keys() - self.sources.keys():
            try:
                documents = [f"{self.data}/{place % name}" for place in DOCUMENTS]
                source = Source(f"{self.fifos}/{name}", f"{self.logs}/{name}.log", documents, self.masks)
            except OSError:
                self.settled = False  # no descriptor left, or just gone: look again
                continue
            self.sources[name] = source
            self.by_fd[source.fd] = source
            self.poll.register(source.fd, select.POLLIN)
            source.look(time.monotonic(), has_output=False)
            self.await_secrets(source)

    def await_secrets(self, source: Source) -> None:
        """Do not read it while its secrets are being opened."""
        if source.opening is not None:
            self.poll.unregister(source.fd)
            self.poll.register(source.opening.fd, select.POLLIN)
            self.waiting[source.opening.fd] = source

    def resume(self, source: Source) -> None:
        """Read it again."""
        assert source.opening is not None
        self.poll.unregister(source.opening.fd)
        del self.waiting[source.opening.fd]
        self.poll.register(source.fd, select.POLLIN)

    def follow_openings(self, stamp: bytes, now: float) -> None:
        for source in list(self.waiting.values()):
            if source.opening is not None and source.opening.is_done():
                self.resume(source)
                source.opened(stamp, now)

    def run(self) -> None:
        scanned = settled = 0.0
        while not self.stopping:
            ready = self.poll.poll(SCAN_SECONDS * 1000)
            now = time.monotonic()
            stamp = self.stamp(time.time_ns())
            for fd, _ in ready:
                if fd in self.by_fd:
                    self.by_fd[fd].read(stamp, now)
                    self.await_secrets(self.by_fd[fd])
            if self.waiting:
                self.follow_openings(stamp, now)
            if now - scanned >= SCAN_SECONDS or not ready:
                scanned = now
                self.scan()
            if now - settled > UNFINISHED_SECONDS / 2:
                settled = now
                for source in self.sources.values():
                    source.settle(stamp, now)
        for source in self.sources.values():
            source.close(self.stamp(time.time_ns()), time.monotonic())

    def stop(self, *_: object) -> None:
        self.stopping = True


def hold(path: str) -> int:
    """Wait until no other log daemon has this data directory."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            return fd
        except OSError as e:
            if e.errno != errno.EINTR:
                raise


def main(data: str) -> None:
    for directory in (f"{data}/logs", f"{data}/logs/fifo"):
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
    lock = hold(f"{data}/logs/.logd.lock")
    daemon = Daemon(data)
    signal.signal(signal.SIGTERM, daemon.stop)
    signal.signal(signal.SIGINT, daemon.stop)
    daemon.run()
    os.close(lock)


if __name__ == "__main__":
    main(sys.argv[1])
