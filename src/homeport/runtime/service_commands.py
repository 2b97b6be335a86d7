"""What supervisor and the launcher are told of a service, as data. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from homeport.runtime.commands import BASE_ENVIRONMENT, START_RETRIES
from homeport.runtime.layout import Layout

FIRST_PRIORITY = 11
"""After the log daemon (10) and before the edge (20), apps (500) and what they serve with."""
RANKS = range(8)
_NAME = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")


def is_service(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and len(name) <= 120


def launch(python: str, path: Path) -> tuple[str, ...]:
    """The launcher's argv for the document at ``path``."""
    return (python, "-I", "-S", str(Path(__file__).with_name("service_launch.py")), str(path))


def document(
    name: str,
    argv: Sequence[str],
    layout: Layout,
    marks: Sequence[tuple[str, str]],
    *,
    directory: str,
    user: str | None,
    environment: Mapping[str, str],
    stop_signal: str,
    grace: float,
    rank: int,
    takes_over: bool,
) -> dict[str, object]:
    return {
        "name": name,
        "argv": list(argv),
        "directory": directory,
        "environment": {**BASE_ENVIRONMENT, **environment, **dict(marks)},
        "marks": [f"{key}={value}" for key, value in marks],
        "user": user,
        "stop_signal": stop_signal,
        "grace": grace,
        "rank": rank,
        "takes_over": takes_over,
        "fifo": str(layout.fifo(name)),
        "launched": str(layout.services / f"{name}.launched"),
    }


def program(name: str, argv: Sequence[str], *, stop_signal: str, grace: float, rank: int) -> str:
    """Its program file; ``argv`` is :func:`launch`'s. Only its leader is signalled: it ends its own children."""
    command = shlex.join(argv).replace("%", "%%")
    return f"""\
[program:{name}]
command={command}
directory=/
priority={FIRST_PRIORITY + rank}
autostart=true
autorestart=true
startsecs=1
startretries={START_RETRIES}
stopsignal={stop_signal}
stopwaitsecs={max(1, ceil(grace))}
redirect_stderr=true
stdout_logfile=NONE
"""
