"""The log daemon's part that knows secrets; loaded, by its path, with the first document that has any.

What holds: nothing of an instance's output is written before its secrets are known or known to be out of
reach; then it is not written at all. Opening them is another process's work (``unseal.py``): it needs
``cryptography``, which the log daemon does not carry. Meanwhile the instance's pipe is left alone, and
those of others are not held up.
"""

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping
from math import inf
from weakref import WeakValueDictionary

if __package__:
    from homeport.kernel.masking import Masker, Stream
else:  # loaded by its path
    sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernel"))
    from masking import Masker, Stream  # type: ignore[no-redef]

OPEN_SECONDS = 5.0
RETRY_SECONDS = 10.0
"""Output is withheld so long before it is tried again, unless the key file changes."""
UNSEAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unseal.py")


class Withheld:
    """Lets nothing through but the launcher's own words on why the instance cannot be started."""

    def __init__(self, name: str, why: str) -> None:
        self.why = why
        self._lines = 0
        self._harmless = f"homeport: cannot start {name}: {why}".encode()
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        *lines, self._rest = (self._rest + data).split(b"\n")
        passed = lines.count(self._harmless)
        self._lines += len(lines) - passed
        self._rest = self._rest[: len(self._harmless) + 1]  # longer is another line, whatever follows
        return (self._harmless + b"\n") * passed

    def flush(self) -> bytes:
        return b""

    def told(self) -> bytes:
        """How many lines were withheld, as a line."""
        count = self._lines + bool(self._rest)
        return b"homeport: %d lines were withheld here\n" % count if count else b""


class Opening:
    """A process that opens the secrets of one document."""

    def __init__(self, path: str, document: int) -> None:
        self.deadline = time.monotonic() + OPEN_SECONDS
        self.fd, write_end = os.pipe()
        self._answer = b""
        os.set_blocking(self.fd, False)
        os.lseek(document, 0, os.SEEK_SET)
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", UNSEAL, path],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, document, 0),
                    (os.POSIX_SPAWN_DUP2, write_end, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setsigdef=[signal.SIGTERM, signal.SIGINT],
            )
        except OSError:
            os.close(self.fd)
            raise
        finally:
            os.close(write_end)

    def is_done(self) -> bool:
        """Take what it has said so far; whether it has said all, or its time is over."""
        try:
            while data := os.read(self.fd, 1 << 16):
                self._answer += data
        except BlockingIOError:
            return time.monotonic() > self.deadline
        return True

    def wait(self) -> None:
        """Until it is done."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while not self.is_done():
            poll.poll(50)

    def end(self) -> dict[str, str]:
        """``{token: value}``, or ``{"": why not}``. Nothing of it is left."""
        os.close(self.fd)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        try:
            answer = json.loads(self._answer)
            return {str(token): str(value) for token, value in answer.items()}
        except (ValueError, AttributeError):
            over = time.monotonic() > self.deadline
            why = f"no answer in {OPEN_SECONDS:g} s" if over else "no answer"
            return {"": f"cannot open its secrets: {why}"}


class Masks:
    """What the log daemon knows of all instances' secrets."""

    def __init__(self) -> None:
        # A core dump would hold them.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self._opened: dict[str, str] = {}
        self._maskers: WeakValueDictionary[frozenset[str], Masker] = WeakValueDictionary()

    def secrets(self, name: str) -> "Secrets":
        return Secrets(self, name)

    def learn(self, opened: Mapping[str, str]) -> None:
        self._opened.update(opened)

    def values(self, tokens: frozenset[str]) -> frozenset[str] | None:
        """None when one of the tokens was not opened yet."""
        if not tokens <= self._opened.keys():
            return None
        return frozenset(self._opened[token] for token in tokens)

    def stream(self, values: frozenset[str]) -> Stream:
        """A mask for one instance; instances with the same secrets share what is large of it."""
        masker = self._maskers.get(values)
        if masker is None:
            self._maskers[values] = masker = Masker(values)
        return Stream(masker)


class Secrets:
    """The secrets of one instance: what stands between its pipe and its log.

    ``feed``, ``flush`` and ``close`` give what may be written. ``flush`` is for the start of a line
    that waited too long: what follows it is masked with it in mind.
    """

    def __init__(self, masks: Masks, name: str) -> None:
        self.opening: Opening | None = None
        """While there is one, nothing may be fed."""
        self._retry_at = inf
        self._key = ""
        self._key_seen: tuple[int, ...] = ()
        self._masks = masks
        self._name = name
        self._values: frozenset[str] = frozenset()
        """Of the document, and of those before it: what was printed then may be in the pipe still."""
        self._mask: Stream | Withheld = masks.stream(frozenset())
        self._due = b""
        """To be put out with what comes next."""
        self._line_ended = True

    def follow(self, path: str, document: bytes, fd: int, now: float) -> None:
        """Mask what the document says; where it is not known yet, begin to open it (``fd`` has it open)."""
        self._retry_at = inf
        try:
            tokens, self._key = sealed_in(document)
        except ValueError:
            self.withhold("cannot read its document", now)
            return
        self._key_seen = identity(self._key)
        values = self._masks.values(tokens)
        if values is not None:
            self._use(values)
            return
        try:
            self.opening = Opening(path, fd)
        except OSError as e:
            self.withhold(f"cannot open its secrets: {e.strerror}", now)

    def is_due(self, now: float) -> bool:
        """Whether the same document is worth another look: it could not be used, but now that may be over."""
        return now >= self._retry_at or (self._retry_at < inf and identity(self._key) != self._key_seen)

    def opened(self, now: float) -> bool:
        """The opening is done, or its time is over. Whether the secrets are known now."""
        assert self.opening is not None
        answer = self.opening.end()
        self.opening = None
        why = answer.pop("", None)
        if why is not None:
            self.withhold(why, now)
            return False
        self._masks.learn(answer)
        self._use(frozenset(answer.values()))
        return True

    def _use(self, values: frozenset[str]) -> None:
        if isinstance(self._mask, Stream) and values <= self._values:
            return
        self._leave()
        self._values |= values
        self._mask = self._masks.stream(self._values)

    def withhold(self, why: str, now: float) -> None:
        """Let nothing through from here on."""
        self._retry_at = now + RETRY_SECONDS
        if isinstance(self._mask, Withheld) and self._mask.why == why:
            return
        self._leave()
        self._say(f"homeport: output is withheld because its secrets cannot be opened: {why}\n".encode())
        self._mask = Withheld(self._name, why)

    def _leave(self) -> None:
        """Let go of the mask that there is."""
        self._say(self._mask.told()) if isinstance(self._mask, Withheld) else self._put(self._mask.flush())

    def _put(self, data: bytes) -> None:
        if data:
            self._due += data
            self._line_ended = data.endswith(b"\n")

    def _say(self, line: bytes) -> None:
        if line:
            self._put(line if self._line_ended else b"\n" + line)

    def _take(self) -> bytes:
        due, self._due = self._due, b""
        return due

    def feed(self, data: bytes) -> bytes:
        self._put(self._mask.feed(data))
        return self._take()

    def flush(self) -> bytes:
        self._put(self._mask.flush())
        return self._take()

    def close(self) -> bytes:
        self._leave()
        return self._take()


def sealed_in(document: bytes) -> tuple[frozenset[str], str]:
    """(the sealed values of an instance document, its key file). Raises ValueError for what is none."""
    try:
        content = json.loads(document)
        return frozenset(map(str, content.get("secrets", {}).values())), str(content.get("key", ""))
    except AttributeError:
        raise ValueError("not an instance document") from None


def identity(path: str) -> tuple[int, ...]:
    """What changes when a file does; () when it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
