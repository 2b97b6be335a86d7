"""Becomes a service's process: run by supervisor as ``python -I -S service_launch.py <document>``.

A database must not end because its supervisor was killed. So where the service's process of a former
supervisor lives, this one does not start a second: it stands for it, hands it the signal that asks it to
end, and becomes the service only when that process is gone. A service that takes over (a pooler) is started
beside the former one instead, which hands it its sockets and clients and ends.

As ``launch.py``, it imports next to nothing; whatever fails is told in the service's log, with status 111.
"""

import json
import os
import resource
import signal
import sys
import time

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import launch

POLL = 0.05
LEFTOVER_WAIT = 10.0
"""Seconds that children of a leader that was killed have to end by themselves."""
FILES = 65536


def leader(path: str) -> int | None:
    """The process that the last launcher became, when it is that very one and lives."""
    try:
        with open(path) as f:
            pid, started, boot = f.readline().split()
        if boot == launch.boot_id() and launch.started_at(int(pid)) == started and launch.alive(int(pid)):
            return int(pid)
    except (OSError, ValueError, IndexError):
        pass
    return None


def keep(pid: int, number: int) -> bool:
    """Stand for a living process until it ends; returns whether this one was told to end it."""
    told: list[int] = []

    def tell(_: int, __: object) -> None:
        told.append(number)
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    for caught in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(caught, tell)
    while launch.alive(pid):
        time.sleep(POLL)  # noqa: TID251 - no Clock here: see the module's docstring
    for caught in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(caught, signal.SIG_DFL)
    return bool(told)


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(path: str) -> None:
    with open(path) as f:
        document = json.load(f)
    launch.open_output(document["fifo"])
    try:
        number = signal.Signals["SIG" + document["stop_signal"]]
        living = leader(document["launched"])
        if living is not None and not document["takes_over"]:
            message = f"homeport: {document['name']} runs on as process {living}\n"
            os.write(2, message.encode())
            if keep(living, number):
                os._exit(0)
            living = None
        if living is None and not document["takes_over"]:
            end = time.monotonic() + LEFTOVER_WAIT
            while launch.leftovers(document["marks"]) and time.monotonic() < end:
                time.sleep(POLL)  # noqa: TID251
        with open(path) as f:
            document = json.load(f)  # it may have been written anew meanwhile
        launch.record(document["launched"], [])
        raise_file_limit()
        environment = dict(document["environment"])
        launch.become(document["user"], document["fifo"], environment)
        for caught in range(1, signal.NSIG):
            if caught not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(caught) == signal.SIG_IGN:
                signal.signal(caught, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        os.chdir(document["directory"])
        argv = document["argv"]
        os.execve(argv[0], argv, environment)
    except (launch.Refused, OSError, ValueError, KeyError) as e:
        os.write(2, f"homeport: cannot start {document['name']}: {e}\n".encode())
    os._exit(launch.FAILED)


if __name__ == "__main__":
    main(sys.argv[1])
