"""Run a program and wait for it; find and end processes by what they carry in their environment."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from homeport.kernel.errors import Kind, declare

OWNER = "HOMEPORT_OWNER"
"""Environment variable of every process that Homeport starts: the data directory it belongs to."""
INSTANCE = "HOMEPORT_INSTANCE"
"""Environment variable of every process that Homeport starts: what it is, such as an instance's name."""

NOT_INSTALLED = declare(
    "system.not_installed", Kind.MISSING_PART, "A program that Homeport needs is not on this machine."
)
TIMED_OUT = declare("system.timed_out", Kind.FAILED, "A program ran past its time limit.", retry=True)
PROGRAM_FAILED = declare(
    "system.program_failed", Kind.FAILED, "A program that Homeport ran ended with an error."
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended. ``returncode`` is negative for a signal."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    check: bool = True,
) -> Result:
    """Run ``argv`` without a shell and wait at most ``timeout`` seconds.

    Raises ``system.not_installed``, ``system.timed_out`` (the process and its group are killed) and,
    with ``check``, ``system.program_failed`` for a status other than 0. Output is decoded as UTF-8
    with replacement.
    """
    try:
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as e:
        if cwd is not None and not cwd.is_dir():
            raise PROGRAM_FAILED.error(f"cannot run {argv[0]} in {cwd}: no such directory") from e
        raise NOT_INSTALLED.error(
            f"cannot run {argv[0]}: it is not installed", hint=f"apt-get install {argv[0]}"
        ) from e
    except PermissionError as e:
        raise PROGRAM_FAILED.error(f"cannot run {argv[0]}: permission denied") from e
    try:
        out, err = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as e:
        kill_group(child.pid)
        child.communicate()
        raise TIMED_OUT.error(f"cannot finish {argv[0]}: it ran longer than {timeout:g} s") from e
    except BaseException:
        kill_group(child.pid)
        child.wait()
        raise
    result = Result(
        tuple(argv), child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    )
    if check and not result.ok:
        tail = tuple((result.stderr or result.stdout).strip().splitlines()[-20:])
        raise PROGRAM_FAILED.error(
            f"cannot finish {argv[0]}: it ended with status {result.returncode}", details=tail
        )
    return result


def spawn_detached(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Path) -> int:
    """Start ``argv`` in a session of its own, output appended to a file; returns its pid.

    The process outlives the caller.
    """
    with open(output, "ab") as log:
        child = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _detached.append(child)
    return child.pid


def reap() -> None:
    """Let go of what :func:`spawn_detached` started and has ended: it would stay a zombie as long as we run."""
    for child in tuple(_detached):
        if child.poll() is not None:
            with contextlib.suppress(ValueError):
                _detached.remove(child)


_detached: list[subprocess.Popen[bytes]] = []
"""Kept for the life of this process: a child that is dropped while it runs would be warned about."""


def stream(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path,
    env: Mapping[str, str],
    on_output: Callable[[bytes], None],
    poll: Callable[[], str | None] = lambda: None,
    user: str | None = None,
    stdin: bytes = b"",
) -> tuple[int, str | None]:
    """Run ``argv`` and hand its output, both streams as one, to ``on_output`` in chunks as it comes.

    ``poll`` is asked about four times a second; a text it returns stops the program and is returned
    as the reason. ``stdin`` never touches a disk. Returns (status, None), or (status, reason) when it was stopped; reason is
    "timeout" past ``timeout`` seconds. When it ends, nothing of the process's session is left, and
    nothing that carries its ``HOMEPORT_INSTANCE``.
    """
    read_end, write_end = os.pipe()
    deadline = time.monotonic() + timeout
    given = _in_memory(stdin) if stdin else None
    try:
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL if given is None else given,
            stdout=write_end,
            stderr=write_end,
            start_new_session=True,
            user=user,
        )
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
        if given is not None:
            os.close(given)
    os.set_blocking(read_end, False)
    reason: str | None = None
    try:
        import select

        poller = select.poll()
        poller.register(read_end, select.POLLIN)
        piped = True
        exited_at: float | None = None
        next_poll = 0.0
        while True:
            now = time.monotonic()
            if now >= next_poll:
                next_poll = now + 0.25
                reason = poll()
            if reason is None and now > deadline and child.poll() is None:
                reason = "timeout"
            if reason is not None:
                break
            if child.poll() is not None:
                # The program ended; a child of its own may still hold the pipe for a moment.
                exited_at = exited_at or now
                if now - exited_at > 0.2:
                    break
            if not piped:
                if exited_at is not None:
                    break
                time.sleep(0.005)
            elif poller.poll(50):
                chunk = b""
                with contextlib.suppress(BlockingIOError):
                    chunk = os.read(read_end, 1 << 16)
                if chunk:
                    on_output(chunk)
                else:
                    piped = False
    finally:
        kill_group(child.pid)
        child.wait()
        os.close(read_end)
        if INSTANCE in env:
            kill_marked(env[OWNER], env[INSTANCE])
    return child.returncode, reason


def _in_memory(data: bytes) -> int:
    """A file without a name that holds ``data``: however much it is, nobody waits for its reader."""
    fd = os.memfd_create("homeport-stdin")
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@dataclass(frozen=True, slots=True)
class Captured:
    """What a program gave, its streams apart."""

    returncode: int
    """Negative for a signal."""
    stdout: bytes
    stderr: bytes
    """Its last 8 KB."""
    stopped: str | None
    """Why it was ended: "timeout", or "limit" when it gave more than was allowed."""


def capture(argv: Sequence[str], *, timeout: float, limit: int) -> Captured:
    """Run ``argv`` for at most ``timeout`` seconds and keep at most ``limit`` bytes of its stdout.

    It sees the environment of this process without what is Homeport's, supervisor's and Python's own, and a
    mark: when this returns, nothing of it is left, not even what it started in a session of its own. A child
    that holds the pipes after the program has ended is not waited for. Raises OSError when it cannot be run.
    """
    import secrets
    import selectors

    own = ("HOMEPORT_", "SUPERVISOR_", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    env |= {OWNER: os.environ.get(OWNER, ""), INSTANCE: f"capture.{secrets.token_hex(8)}"}
    deadline = time.monotonic() + timeout
    child = subprocess.Popen(
        argv,
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stderr is not None
    kept = {child.stdout: bytearray(), child.stderr: bytearray()}
    stopped: str | None = None
    exited_at: float | None = None
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in kept:
                selector.register(pipe, selectors.EVENT_READ, pipe)
            while selector.get_map() and stopped is None:
                now = time.monotonic()
                if now > deadline:
                    stopped = "timeout"
                elif ready := selector.select(0.05):
                    for key, _ in ready:
                        chunk = os.read(key.fd, 1 << 16)
                        if not chunk:
                            selector.unregister(key.fileobj)
                        kept[key.data] += chunk
                    del kept[child.stderr][:-8192]
                    stopped = "limit" if len(kept[child.stdout]) > limit else None
                elif child.poll() is not None:
                    exited_at = exited_at or now
                    if now - exited_at > 0.2:
                        break
        if stopped is None:
            try:
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                stopped = "timeout"
    finally:
        kill_group(child.pid)
        child.wait()
        kill_marked(env[OWNER], env[INSTANCE])
        child.stdout.close()
        child.stderr.close()
    out, err = (bytes(kept[pipe]) for pipe in (child.stdout, child.stderr))
    return Captured(child.returncode, out, err, stopped)


def kill_group(pid: int, sig: int = signal.SIGKILL) -> None:
    """Signal the process group led by ``pid``; silent when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)


def own_pid() -> int:
    return os.getpid()


def cores() -> int:
    """How many processes can run at the same time."""
    return len(os.sched_getaffinity(0))


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


@dataclass(frozen=True, slots=True)
class Marked:
    """A living process that carries our mark."""

    pid: int
    parent: int
    instance: str


def marked(owner: str) -> tuple[Marked, ...]:
    """Processes whose environment says that they belong to this data directory.

    Seen are processes of the same user, or all as root. A process that cleared its environment is
    not found.
    """
    found = []
    key = f"{OWNER}={owner}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/environ", "rb") as f:
                environ = f.read().split(b"\0")
            if key not in environ:
                continue
            stat = Path(f"/proc/{entry.name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] in ("Z", "X"):
            continue
        prefix = f"{INSTANCE}=".encode()
        instance = next((v[len(prefix) :].decode() for v in environ if v.startswith(prefix)), "")
        found.append(Marked(int(entry.name), int(stat[1]), instance))
    return tuple(found)


def kill_marked(owner: str, instance: str) -> None:
    """Kill every process of one instance, and wait until none is left: one may fork while it is killed."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        pids = [m.pid for m in marked(owner) if m.instance == instance and m.pid != os.getpid()]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def kill_family(owner: str, name: str) -> None:
    """Kill every process of the instance ``name`` and of all whose name begins with it and a dot."""
    for instance in {m.instance for m in marked(owner) if f"{m.instance}.".startswith(f"{name}.")}:
        kill_marked(owner, instance)


def program(name: str) -> Path | None:
    """Where a program is on PATH or in the sbin directories, or None."""
    import shutil

    found = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    return Path(found) if found else None


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process, or None when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def foreground(argv: Sequence[str], document: bytes, *, grace: float) -> int:
    """Run ``argv`` in this terminal and wait for it as a shell does; returns its exit status.

    ``document`` can be read from the descriptor whose number is its last argument. Ctrl-C and Ctrl-\\
    are the program's. When the terminal goes away or this process is told to end, the program is told
    so, and killed ``grace`` seconds later. A signal that ends it gives 128 and its number.
    """
    fd = os.memfd_create("document", 0)
    os.write(fd, document)
    os.lseek(fd, 0, os.SEEK_SET)
    told: list[int] = []
    handlers: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.SIG_IGN,
        signal.SIGQUIT: signal.SIG_IGN,
        signal.SIGHUP: lambda number, _: told.append(number),
        signal.SIGTERM: lambda number, _: told.append(number),
    }
    # Before the program starts: it sets what is ignored back to its default.
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    deadline: float | None = None
    try:
        child = subprocess.Popen([*argv, str(fd)], pass_fds=(fd,))
        os.close(fd)
        while True:
            try:
                child.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                pass
            if told and deadline is None:
                deadline = time.monotonic() + grace
                child.send_signal(told[0])
            if deadline is not None and time.monotonic() > deadline:
                child.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    status = child.returncode
    return status if status >= 0 else 128 - status


def replace(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], user: str | None) -> NoReturn:
    """Become another program, with this terminal. Raises OSError when it cannot be run."""
    import pwd

    os.chdir(cwd)
    if user is not None and os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.execvpe(argv[0], list(argv), dict(env))
