"""Becomes a one-off command in the caller's terminal: ``python -I -S terminal.py <descriptor>``.

The descriptor holds the document (:mod:`homeport.runtime.oneoff`). Input and output stay the terminal's,
so nothing of it is kept: there is no log to mask. Limits, user, directory, variables and secrets are an
instance's. Should the caller die, the command is told to end.
"""

import ctypes
import json
import os
import signal
import sys
import warnings  # noqa: F401 - os.execvpe wants it, and the user that this becomes may not be able to read it

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import launch

PR_SET_PDEATHSIG = 1
NOT_FOUND, NOT_RUNNABLE = 127, 126
"""As a shell has it."""


def main(descriptor: int) -> None:
    parent = os.getppid()
    with os.fdopen(descriptor) as f:
        document = json.load(f)
    path = f"/proc/self/fd/{descriptor}"
    argv = document["argv"]
    try:
        limit(document)
        environment = {**document["environment"], **launch.open_secrets(path, document)}
        become(document, environment)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGHUP)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(document["directory"])
        os.execvpe(argv[0], argv, environment)
    except FileNotFoundError:
        near = [f"{place}/{argv[0]}" for place in (".venv/bin", "node_modules/.bin") if "/" not in argv[0]]
        found = [name for name in near if os.path.exists(name)]
        hint = f"; {found[0]} is there" if found else ""
        print(f"homeport: cannot run {argv[0]}: no such program or directory{hint}", file=sys.stderr)
        os._exit(NOT_FOUND)
    except (launch.Refused, OSError, ValueError) as e:
        why = "its document cannot be used" if isinstance(e, ValueError) else str(e)
        print(f"homeport: cannot run {argv[0]}: {why}", file=sys.stderr)
        os._exit(NOT_RUNNABLE)


def limit(document: dict[str, object]) -> None:
    """Memory and CPU, as an instance has them; the groups are removed by the next clean-up of its name."""
    if document["memory"] is None and document["cpu"] is None:
        return
    import cgroup

    try:
        groups = cgroup.places(document["cgroup"], document["memory"], document["cpu"])
        cgroup.make(groups)
        cgroup.join([directory for directory, _ in groups])
    except OSError as e:
        raise launch.Refused(f"cannot bind its memory or CPU limit: {e}") from e


def become(document: dict[str, object], environment: dict[str, str]) -> None:
    """As :func:`launch.become`, with no pipe to hand over."""
    import pwd

    user = document["user"]
    entry = pwd.getpwuid(os.getuid()) if user is None else pwd.getpwnam(str(user))
    environment.setdefault("HOME", entry.pw_dir)
    if user is None:
        return
    environment.setdefault("USER", entry.pw_name)
    environment.setdefault("LOGNAME", entry.pw_name)
    if entry.pw_uid != os.getuid():
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main(int(sys.argv[1]))
