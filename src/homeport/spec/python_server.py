"""How a Python app is installed and served: shell lines for its ``homeport.toml``."""

from __future__ import annotations

from collections.abc import Collection
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
    "gunicorn": "--bind 127.0.0.1:$PORT --threads 8 --keep-alive {keep_alive} {app_or_call}",
    "waitress": "--listen 127.0.0.1:$PORT --channel-timeout {keep_alive}{call} {app}",
}
_FOR = {
    Interface.ASGI: ("uvicorn", "granian", "hypercorn"),
    Interface.WSGI: ("gunicorn", "granian", "waitress"),
}
"""The first is installed where the app asks for none."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    is_asked_for: bool
    """Whether the app's own requirements bring it."""


def choose(interface: Interface, requirements: Collection[str]) -> Server:
    for name in _FOR[interface]:
        if name in requirements:
            return Server(name, True)
    return Server(_FOR[interface][0], False)


def serve(server: Server, app: PythonApp) -> str:
    """The command that serves ``app`` on 127.0.0.1, from the top of its directory."""
    target = f"{app.module}:{app.variable}"
    arguments = _SERVE[server.name].format(
        app=target,
        app_or_call=f"'{target}()'" if app.factory else target,
        factory=" --factory" if app.factory else "",
        call=" --call" if app.factory else "",
        interface=app.interface.value,
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
