"""Text for supervisor and argv for what it runs, as data. Pure."""

import importlib.util
import re
import shlex
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

from homeport.kernel.ids import NAME, InstanceName
from homeport.runtime.errors import BAD_DATA_DIRECTORY
from homeport.runtime.layout import LOG_KEPT, Layout
from homeport.runtime.model import InstanceSpec

LOG_BYTES = 10_000_000
"""Size at which a log file is rotated."""
START_RETRIES = 1_000_000
"""Enough that supervisor never gives up; its pause grows by one second with each failed start."""
INCLUDE = "files=programs/*.conf services/*.conf"
MAX_SOCKET_PATH = 90
"""Bytes; the kernel takes 107, and supervisor binds ``<socket>.<pid>`` before it renames."""

BASE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""What every process of an app has, unless its own variables say otherwise."""

_INSTANCE = re.compile(rf"(?:{NAME.pattern})\.(?:{NAME.pattern})\.r[1-9][0-9]*\.(?:{NAME.pattern})\.[0-9]+")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f]|(?:^|\s)[;#]|^\s|\s$|%\(here\)s")
_GLOB = re.compile(r"[*?\[\]]")
_NOT_SIMPLE = re.compile(r"[;&|()<>`{}!\n\r\\]|\$\(")
_SHELL_WORD = re.compile(
    r"[.:!\[]|alias|bg|break|case|cd|command|continue|do|done|elif|else|esac|eval|exec|exit|export|false|fg|fi|for"
    r"|getopts|hash|if|in|jobs|kill|local|printf|pwd|read|readonly|return|set|shift|source|test|then|times|trap|true"
    r"|type|ulimit|umask|unalias|unset|until|wait|while"
)


@dataclass(frozen=True, slots=True)
class Program:
    """One of Homeport's own programs that supervisor keeps running: haproxy, serve, logd."""

    name: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    priority: int = 100
    """Lower starts earlier and, when the supervisor ends, stops later. Instances have 500."""
    stop_wait: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""
    directory: str = "/"


def is_instance(name: str) -> bool:
    """Whether a program or a ``HOMEPORT_INSTANCE`` mark is an instance, not a program of Homeport's."""
    return _INSTANCE.fullmatch(name) is not None


def supervisord(python: str, layout: Layout) -> tuple[str, ...]:
    return (python, "-I", "-m", "homeport.runtime.supervisord", "-c", str(layout.conf))


def launch(python: str, layout: Layout, name: InstanceName) -> tuple[str, ...]:
    """``-I -S`` keeps the start at a few milliseconds and the venv's packages out."""
    return (python, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(layout.instance(name)))


def logd(python: str, layout: Layout) -> tuple[str, ...]:
    return (python, "-I", "-S", str(Path(__file__).with_name("logd.py")), str(layout.data))


def shell_line(command: str) -> str:
    """What ``/bin/sh -c`` is given, so that SIGTERM reaches the user's process and is waited for.

    Debian's dash stays the parent of what ``-c`` names and dies at once of a SIGTERM; supervisor would
    take that for the end of the app. A simple command therefore replaces the shell; before a compound
    one the shell is told to wait for its child, which gets the signal too (the whole group does).
    """
    first = command.split(maxsplit=1)[0] if command.strip() else ""
    if first and not _NOT_SIMPLE.search(command) and "=" not in first and not _SHELL_WORD.fullmatch(first):
        return f"exec {command.strip()}"
    return f"trap 'exit 143' TERM\n{command}"


def complete_environment(spec: InstanceSpec, marks: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The instance's whole environment. ``marks`` win over everything; the launcher adds HOME."""
    return {**BASE_ENVIRONMENT, **dict(spec.environment), **dict(marks)}


@cache
def packages() -> str:
    """The directory that ``cryptography`` is installed in."""
    spec = importlib.util.find_spec("cryptography")
    assert spec is not None and spec.origin is not None  # Homeport depends on it
    return str(Path(spec.origin).parents[1])


def secret_members(spec: InstanceSpec, layout: Layout, marks: Sequence[tuple[str, str]]) -> dict[str, object]:
    """What a document says of sealed variables, and of how to open them; {} when there are none.

    The launcher opens them only as the process starts, and the log daemon to mask them in its output.
    """
    taken = {key for key, _ in marks}
    sealed = {name: token for name, token in spec.secrets if name not in taken}
    return {"secrets": sealed, "key": str(layout.key_file), "packages": packages()} if sealed else {}


def instance_document(
    spec: InstanceSpec, layout: Layout, marks: Sequence[tuple[str, str]], cgroup: str
) -> dict[str, object]:
    """What the launcher reads. ``cgroup`` is the name of the cgroup for its limits."""
    return {
        "name": spec.name,
        "line": shell_line(spec.command),
        "directory": spec.directory,
        "environment": complete_environment(spec, marks),
        "marks": [f"{key}={value}" for key, value in marks],
        "user": spec.user,
        "memory": spec.memory,
        "cpu": spec.cpu,
        "cgroup": cgroup,
        "fifo": str(layout.fifo(spec.name)),
        "launched": str(layout.launched(spec.name)),
        "stop_grace": spec.stop_grace,
        **secret_members(spec, layout, marks),
    }


def check_data_directory(layout: Layout) -> None:
    """Raise ``runtime.bad_data_directory`` when supervisor's configuration cannot name this path."""
    path = str(layout.data)
    what = ""
    if not layout.data.is_absolute():
        what = "it is not absolute"
    elif _UNWRITABLE.search(path):
        what = "supervisor takes no control characters, no blank at an end, and no ' ;', ' #' or '%(here)s' in a path"
    elif _GLOB.search(path):
        what = "supervisor reads * ? [ ] as patterns"
    elif len(str(layout.socket).encode()) > MAX_SOCKET_PATH:
        what = f"the path of a unix socket may have {MAX_SOCKET_PATH} bytes, {layout.socket} has more"
    if what:
        raise BAD_DATA_DIRECTORY.error(
            f"cannot use the data directory {path!r}: {what}",
            hint="choose a short, plain path with --data-dir",
        )


def _value(text: str) -> str:
    """A configuration value that supervisor reads back as ``text``."""
    if _UNWRITABLE.search(text):
        raise ValueError(f"supervisor's configuration cannot hold {text!r}")
    return text.replace("%", "%%")


def _argv(argv: Sequence[str]) -> str:
    return _value(shlex.join(argv))


def _environment(variables: Sequence[tuple[str, str]]) -> str:
    """``KEY="value"`` pairs. Supervisor knows no escapes, and strips quotes at the ends of a value."""
    pairs = []
    for key, text in variables:
        quote = "'" if '"' in text else '"'
        if quote in text or text != text.strip("'\"") or not key.replace("_", "a").isalnum():
            raise ValueError(f"supervisor's configuration cannot hold {key}={text!r}")
        pairs.append(f"{key}={quote}{text}{quote}")
    return _value(",".join(pairs))


def _wait(seconds: float) -> int:
    return max(1, ceil(seconds))


def render_program(spec: InstanceSpec, argv: Sequence[str]) -> str:
    """The program file of one instance; ``argv`` is :func:`launch`'s."""
    return f"""\
[program:{spec.name}]
command={_argv(argv)}
directory=/
priority=500
autostart=true
autorestart=true
startsecs=1
startretries={START_RETRIES}
stopsignal=TERM
stopwaitsecs={_wait(spec.stop_grace)}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
"""


def _render_own(layout: Layout, program: Program) -> str:
    # Supervisor expands ``%`` twice in stdout_logfile.
    return f"""
[program:{program.name}]
command={_argv(program.argv)}
directory={_value(program.directory)}
environment={_environment(program.environment)}
priority={program.priority}
autostart=true
autorestart=true
startsecs=1
startretries={START_RETRIES}
stopsignal=TERM
stopwaitsecs={_wait(program.stop_wait)}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={_value(_value(str(layout.log(program.name))))}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_KEPT}
"""


def render_supervisord(
    layout: Layout, programs: Sequence[Program] = (), *, nodaemon: bool = False, user: str = ""
) -> str:
    """``supervisord.conf``. ``user``: who it runs as when that is root, so that it does not warn.

    Raises ``runtime.bad_data_directory``, and ValueError for what the format cannot hold.
    """
    check_data_directory(layout)
    as_user = f"user={_value(user)}\n" if user else ""
    head = f"""\
; Written by Homeport; changes are lost.
[unix_http_server]
file={_value(str(layout.socket))}
chmod=0700

[supervisord]
logfile={_value(str(layout.supervisor_log))}
logfile_maxbytes={LOG_BYTES}
logfile_backups={LOG_KEPT}
loglevel=info
pidfile={_value(str(layout.pid_file))}
directory=/
umask=022
nodaemon={"true" if nodaemon else "false"}
minfds=1024
minprocs=200
nocleanup=true
{as_user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
{INCLUDE}
"""
    own = sorted(programs, key=lambda p: (p.priority, p.name))
    return head + "".join(_render_own(layout, program) for program in own)


_EXIT = re.compile(
    r" (?P<how>exited|stopped): (?P<name>\S+) \((?:exit status (?P<status>-?\d+)|terminated by (?P<signal>SIG\w+|signal \d+))"
    r"(?P<core> \(core dumped\))?"
)


def parse_exits(log: str) -> Iterator[tuple[str, str]]:
    """(program, how it ended) for each end that supervisord's log tells of; "" when it was asked to.

    Supervisor's API does not give the status of a process that ended within its first second.
    """
    for match in _EXIT.finditer(log):
        if match["how"] == "stopped":
            yield match["name"], ""
        elif match["signal"]:
            core = ", core dumped" if match["core"] else ""
            yield match["name"], _signal(match["signal"]) + core
        else:
            yield match["name"], f"status {match['status']}"


def _signal(name: str) -> str:
    try:
        sig = signal.Signals[name]
    except KeyError:
        return name
    return f"signal {sig.value} ({sig.name})"
