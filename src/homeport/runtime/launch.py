"""Becomes one instance's process: run by supervisor as ``python -I -S launch.py <instance file>``.

It stands between supervisor and the app for some milliseconds, at each start and after each reboot,
so it imports next to nothing, and nothing of Homeport's but ``cgroup`` when a limit is set. In order:

- what is left of a former copy of the same instance is ended: it would hold the port;
- the memory and CPU limits are set up and joined, or it does not start;
- secrets are opened, when there are any: they are in clear only in the process's environment, and a core
  dump, which would hold that, is off unless the app asks for it;
- output goes to the instance's named pipe, opened for reading too, so that the app is never sent
  SIGPIPE and what it printed waits in the pipe while the log daemon is down;
- it becomes the user, with default signals, in the directory, and executes the command.

Whatever fails is told in the instance's log, with status 111; supervisor tries again.
"""

import errno
import json
import os
import signal
import sys
import time

FAILED = 111
LEFTOVER_GRACE = 3.0
"""Seconds a former copy has to end after SIGTERM."""
READER_WAIT = 1.0
"""Seconds to wait for the log daemon to have the pipe open: what an app printed before it ended is lost
when nobody ever did."""
F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20

DOCUMENTS = ("supervisor/instances/%s.json", "supervisor/services/%s.json", "cron/%s/run.json")
"""As in ``logd``."""

Document = dict[str, object]


class Refused(Exception):
    """Why the instance cannot be started."""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def leftovers(marks: list[str]) -> list[int]:
    """Other living processes with the marks of this instance in their environment."""
    wanted = [mark.encode() for mark in marks]
    me = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != me:
            try:
                with open(f"/proc/{name}/environ", "rb") as f:
                    environ = f.read()
            except OSError:
                continue
            if wanted[-1] in environ:
                variables = environ.split(b"\0")
                if all(mark in variables for mark in wanted) and alive(int(name)):
                    found.append(int(name))
    return found


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def end_leftovers(marks: list[str]) -> None:
    pids = leftovers(marks)
    if not pids:
        return
    signal_all(pids, signal.SIGTERM)
    end = time.monotonic() + LEFTOVER_GRACE
    while time.monotonic() < end and any(alive(pid) for pid in pids):
        time.sleep(0.02)  # noqa: TID251 - no Clock here: see the module's docstring
    while pids := leftovers(marks):
        signal_all(pids, signal.SIGKILL)
        time.sleep(0.01)  # noqa: TID251


def open_output(path: str) -> None:
    """Make the pipe this process's output, and /dev/null its input."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    if null > 2:
        os.close(null)
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        pass
    end = time.monotonic() + READER_WAIT
    while time.monotonic() < end:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            break
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
        time.sleep(0.002)  # noqa: TID251
    fd = os.open(path, os.O_RDWR)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    if fd > 2:
        os.close(fd)


def is_masked(path: str, document: Document) -> bool:
    """Whether the log daemon, which sees the name of a pipe only, finds this document by it."""
    fifo = str(document["fifo"])
    data, name = os.path.dirname(os.path.dirname(os.path.dirname(fifo))), os.path.basename(fifo)
    return os.path.realpath(path) in [os.path.realpath(f"{data}/{place % name}") for place in DOCUMENTS]


def open_secrets(path: str, document: Document) -> dict[str, str]:
    """Its sealed variables, in clear; ``path`` is read again when a change of keys came in between.

    Raises Refused, which never tells a value.
    """
    if not document.get("secrets"):
        return {}
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    rooms = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path += [os.path.join(rooms, "system"), str(document["packages"])]
    import seal

    read = [document]

    def tokens() -> dict[str, str]:
        if not read:
            with open(path) as f:
                read.append(json.load(f))
        secrets: dict[str, str] = read.pop()["secrets"]  # type: ignore[assignment]
        return secrets

    try:
        opened: dict[str, str] = seal.open_all(document["key"], tokens)
    except seal.SealError as e:
        raise Refused(e.sentence) from None
    except ImportError as e:
        raise Refused(f"cannot open its secrets: no {e.name} in {document['packages']}") from None
    return opened


def started_at(pid: int) -> str:
    """The start time of a process in clock ticks since boot: with the pid it names one process."""
    with open(f"/proc/{pid}/stat", "rb") as f:
        return f.read().rpartition(b")")[2].split()[19].decode()


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as f:
        return f.read().strip()


def limit(document: Document) -> None:
    """Record this process and its cgroups, make them and join them: in this order, so that all are removed."""
    memory, cpu = document["memory"], document["cpu"]
    path = str(document["launched"])
    if memory is None and cpu is None:
        record(path, [])
        return
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import cgroup

    try:
        groups = cgroup.places(document["cgroup"], memory, cpu)
        directories = [directory for directory, _ in groups]
        record(path, directories)
        cgroup.make(groups)
        cgroup.join(directories)
    except OSError as e:
        raise Refused(f"cannot bind its memory or CPU limit: {e}") from e


def record(path: str, groups: list[str]) -> None:
    """Leave word for the control plane; a rename, so that it is whole."""
    with open(path + ".new", "w") as f:
        f.write(f"{os.getpid()} {started_at(os.getpid())} {boot_id()}\n")
        f.writelines(group + "\n" for group in groups)
    os.replace(path + ".new", path)


def become(user: object, fifo: str, environment: dict[str, str]) -> None:
    import pwd

    if user is None:
        entry = pwd.getpwuid(os.getuid()) if "HOME" not in environment else None
        environment.setdefault("HOME", entry.pw_dir if entry else "/")
        return
    try:
        entry = pwd.getpwnam(str(user))
    except KeyError:
        raise Refused(f"there is no user {user}") from None
    for key, value in (("HOME", entry.pw_dir), ("USER", entry.pw_name), ("LOGNAME", entry.pw_name)):
        environment.setdefault(key, value)
    if entry.pw_uid == os.getuid():
        return
    try:
        os.chown(fifo, entry.pw_uid, -1)  # so that /dev/stdout can be opened by name
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise Refused(f"cannot become user {user}: not root") from None


def main(path: str) -> None:
    with open(path) as f:
        document = json.load(f)
    open_output(document["fifo"])
    try:
        end_leftovers(document["marks"])
        limit(document)
        if document.get("secrets") and not is_masked(path, document):
            raise Refused("its document is not where the log daemon looks for what to mask")
        environment = {**document["environment"], **open_secrets(path, document)}
        become(document["user"], document["fifo"], environment)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        os.chdir(document["directory"])
        os.execve("/bin/sh", ["sh", "-c", document["line"]], environment)
    except (Refused, OSError, ValueError) as e:
        # The text of a ValueError may hold what it is about.
        why = "its document cannot be used" if isinstance(e, ValueError) else str(e)
        os.write(2, f"homeport: cannot start {document['name']}: {why}\n".encode())
    os._exit(FAILED)


if __name__ == "__main__":
    main(sys.argv[1])
