"""How a Python app is installed and served: shell lines for its ``homeport.toml``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeport.spec.python_app import Interface, PythonApp

KEEP_ALIVE = 75
"""Seconds that a server keeps an idle connection: longer than the edge does, so that the edge closes first.
A server that closes in the moment when the edge sends a request would fail that request."""

_VENV = "python3 -m venv .venv"
_PYTHON = ".venv/bin/python"

_SERVE = {
    "uvicorn": "{app}{factory} --host 127.0.0.1 --port $PORT --timeout-keep-alive {keep_alive}",
    # 60 s is the most that granian takes.
    "granian": "--interface {interface} --host 127.0.0.1 --port $PORT --http1-header-read-timeout 60000 "
    "{app}{factory}",
    "hypercorn": "--bind 127.0.0.1:$PORT --keep-alive {keep_alive} {app_or_call}",
    "gunicorn": "--bind 127.0.0.1:$PORT --threads 8 --keep-alive {keep_alive}{control} {app_or_call}",
    "waitress": "--listen 127.0.0.1:$PORT --channel-timeout {keep_alive}{call} {app}",
}
_FOR = {
    Interface.ASGI: ("uvicorn", "granian", "hypercorn"),
    Interface.WSGI: ("gunicorn", "granian", "waitress"),
}
"""The first is installed where the app asks for none."""

_CONTROL_SOCKET = (25, 1)
"""gunicorn's version since which it opens a control socket, one for all that a user runs, unless told not
to (its reference of settings, control_socket). An older one refuses to start when it is told."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    is_asked_for: bool
    """Whether the app's own requirements bring it."""
    has_control_socket: bool = False
    """Whether it is surely a gunicorn that opens a control socket."""


def choose(interface: Interface, requirements: Mapping[str, str], *, is_locked: bool = False) -> Server:
    """``requirements``: as :func:`python_app.versions` gives them; ``is_locked``: a lock file decides."""
    for name in _FOR[interface]:
        if name in requirements:
            controlled = name == "gunicorn" and not is_locked and _is_recent(requirements[name])
            return Server(name, True, controlled)
    return Server(_FOR[interface][0], False, _FOR[interface][0] == "gunicorn")


def _is_recent(wanted: str) -> bool:
    """Whether the newest version that ``wanted`` allows has a control socket. False where that is unsure."""
    for clause in filter(None, (clause.strip() for clause in wanted.split(","))):
        found = re.fullmatch(r"(===?|~=|>=|>|!=|<=|<)\s*v?(\d+)(?:\.(\d+))?(\.\d+)*", clause)
        if found is None:
            return False
        operator, version = found[1], (int(found[2]), int(found[3] or 0))
        if operator in (">=", ">", "!="):
            continue
        # "~=25.0" allows 25.3; "~=25.0.1" does not.
        newest = (version[0], 10**9) if operator == "~=" and found[4] is None else version
        if newest < _CONTROL_SOCKET or (operator, version) == ("<", _CONTROL_SOCKET):
            return False
    return True


def serve(server: Server, app: PythonApp) -> str:
    """The command that serves ``app`` on 127.0.0.1, from the top of its directory."""
    target = f"{app.module}:{app.variable}"
    arguments = _SERVE[server.name].format(
        app=target,
        app_or_call=f"'{target}()'" if app.factory else target,
        factory=" --factory" if app.factory else "",
        call=" --call" if app.factory else "",
        interface=app.interface.value,
        control=" --no-control-socket" if server.has_control_socket else "",
        keep_alive=KEEP_ALIVE,
    )
    path = f"PYTHONPATH={app.source} " if app.source else ""
    return f"{path}{_PYTHON} -m {server.name} {arguments}"


@dataclass(frozen=True, slots=True)
class Install:
    command: str
    source: str
    """The file that says what is installed; "" when there is none."""


def install(server: Server, app: PythonApp, names: Collection[str]) -> Install:
    """How to make the virtual environment, given the names at the top of the app's directory."""
    missing = () if server.is_asked_for else (server.name,)
    if "requirements.txt" in names:
        return Install(_pip("-r requirements.txt", *missing), "requirements.txt")
    if "pyproject.toml" in names and "uv.lock" in names:
        # --inexact: uv lies in the environment that it syncs, and would remove itself.
        steps = [_pip("uv"), f"{_PYTHON} -m uv sync --frozen --no-dev --inexact"]
        steps += [f"{_PYTHON} -m uv pip install {name}" for name in missing]
        return Install(" && ".join(steps), "uv.lock")
    if "pyproject.toml" in names:
        return Install(_pip(".", *missing), "pyproject.toml")
    packages = (*((app.package,) if app.package else ()), *missing)
    return Install(_pip(*packages), "")


def collect_static(build: str) -> str:
    """``build`` and then Django's own collecting of static files."""
    return f"{build} && {_PYTHON} manage.py collectstatic --noinput"


def _pip(*packages: str) -> str:
    return f"{_VENV} && {_PYTHON} -m pip install {' '.join(packages)}"
