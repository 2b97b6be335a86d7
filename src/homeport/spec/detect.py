"""Recognises what kind of app a directory holds and writes a first ``homeport.toml`` for it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from homeport.kernel.ids import is_name
from homeport.spec import python_app, python_server
from homeport.spec.python_app import Interface, PythonApp
from homeport.spec.values import ShellLine, quoted

WANTED = (
    "requirements.txt",
    "pyproject.toml",
    "package.json",
    "index.html",
    "dist/index.html",
    "_site/index.html",
    "public/index.html",
    "*.py",
    "*/*.py",
    "src/*/*.py",
)
"""What :func:`detect` looks at, as patterns for ``Path.glob`` from the top of the app's directory."""

PASSED_OVER = (".*", "venv", "env", "node_modules", "__pycache__", "site-packages")
"""Directories, as patterns for ``fnmatch``, whose files are not to be read."""

LARGEST_READ = 200_000
"""Bytes. A larger file need not be read: its path with an empty text is enough."""


class Kind(Enum):
    PYTHON_ASGI = "python-asgi"
    PYTHON_WSGI = "python-wsgi"
    NODE = "node"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Detected:
    """A proposal. Of ``command`` and ``static`` exactly one is not ""."""

    kind: Kind
    title: str
    """For people: "a FastAPI app (main:app in main.py)"."""
    build: str = ""
    build_notes: tuple[str, ...] = ()
    """Lines of comment above the build command."""
    command: str = ""
    static: str = ""
    notes: tuple[str, ...] = ()
    """Lines of comment above the command or the static directory."""
    health: str = "/"


def detect(files: Mapping[str, str], top_level: Collection[str] = ()) -> Detected | None:
    """What the app is, or None when the user has to say.

    ``files`` holds the texts of the files that match :data:`WANTED`, by relative path with "/";
    ``top_level`` the names of all that lies at the top of the directory, for the lock files among them.
    A Python app wins over a package.json, which often only builds the assets of one, and both win over
    an index.html.
    """
    names = {*top_level, *(path for path in files if "/" not in path)}
    app = _python(files)
    if app is not None:
        return _python_proposal(app, files, names)
    package = _package(files)
    if _script(package, "start"):
        return _node_proposal(package, names)
    if _script(package, "build"):
        return _built_site_proposal(package, names)
    return _static_proposal(files)


def _python(files: Mapping[str, str]) -> PythonApp | None:
    apps = python_app.find(files)
    if not apps or apps[0].framework != "Django":
        return apps[0] if apps else None
    # A Django project has an asgi.py and a wsgi.py: ASGI is for those who ask for a server of it.
    asked = python_app.requirements(files).keys() & {"channels", "daphne", "hypercorn", "uvicorn"}
    wish = Interface.ASGI if asked else Interface.WSGI
    django = [app for app in apps if app.framework == "Django"]
    return next((app for app in django if app.interface is wish), django[0])


def _python_proposal(app: PythonApp, files: Mapping[str, str], names: Collection[str]) -> Detected:
    server = python_server.choose(
        app.interface, python_app.requirements(files), is_locked=_is_locked(files, names)
    )
    install = python_server.install(server, app, names)
    build = install.command
    build_notes = [f"A virtual environment inside the release, with what {install.source} asks for."]
    if not install.source:
        build_notes = [
            "A virtual environment inside the release. Better list what the app needs, with versions, in a",
            "requirements.txt, and install that: pip install -r requirements.txt",
        ]
    elif not server.is_asked_for:
        build_notes.append(f"That names no server, so {server.name} is installed too; better add it there.")
    notes = [
        f"The server keeps idle connections for {python_server.KEEP_ALIVE} s, so that Homeport closes them first: else it",
        "might close one in the very moment when a request comes on it, which then fails.",
    ]
    if app.framework == "Django":
        settings = [text for path, text in files.items() if path.endswith("settings.py")]
        if any(re.search(r"^STATIC_ROOT\b", text, re.MULTILINE) for text in settings):
            build = python_server.collect_static(build)
        notes.append('ALLOWED_HOSTS must hold the hosts of [routes], and "localhost" for the health check.')
    article = "an " if app.framework == "" else "a "
    return Detected(
        Kind.PYTHON_ASGI if app.interface is Interface.ASGI else Kind.PYTHON_WSGI,
        f"{article}{app.framework or app.interface.name} app ({app.module}:{app.variable} in {app.file})",
        build,
        tuple(build_notes),
        command=python_server.serve(server, app),
        notes=tuple(notes),
        health=app.health or "/",
    )


def _is_locked(files: Mapping[str, str], names: Collection[str]) -> bool:
    """Whether versions of packages stand elsewhere than where :func:`python_app.requirements` looks."""
    if "requirements.txt" in names:
        return bool(
            re.search(r"^\s*(-r|-c|--requirement|--constraint)\b", files.get("requirements.txt", ""), re.M)
        )
    return "uv.lock" in names


def _package(files: Mapping[str, str]) -> Mapping[str, object]:
    """package.json, or {} when there is none that can be read."""
    try:
        package = json.loads(files.get("package.json", ""))
    except (ValueError, RecursionError):
        return {}
    return package if isinstance(package, dict) else {}


def _script(package: Mapping[str, object], name: str) -> str:
    scripts = package.get("scripts")
    line = scripts.get(name) if isinstance(scripts, dict) else None
    return line.strip() if isinstance(line, str) else ""


def _dependencies(package: Mapping[str, object]) -> set[str]:
    tables = (package.get(key) for key in ("dependencies", "devDependencies", "optionalDependencies"))
    return {name for table in tables if isinstance(table, dict) for name in table}


def _node_build(package: Mapping[str, object], names: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Build command and the comment above it; both empty where there is nothing to install or build."""
    steps, notes = [], []
    run = "npm run build"
    if {"package-lock.json", "npm-shrinkwrap.json"} & set(names):
        steps.append("npm ci")
        notes.append("Exactly what the lock file says.")
    elif "pnpm-lock.yaml" in names:
        steps.append("pnpm install --frozen-lockfile")
        run = "pnpm run build"
        notes.append("Exactly what the lock file says.")
    elif "yarn.lock" in names:
        steps.append("yarn install --frozen-lockfile")
        run = "yarn run build"
        notes.append("Exactly what the lock file says.")
    elif _dependencies(package):
        steps.append("npm install")
        notes.append('There is no lock file: commit package-lock.json and write "npm ci", so that each build')
        notes.append("installs the same versions.")
    if _script(package, "build"):
        steps.append(run)
    return " && ".join(steps), tuple(notes)


def _node_proposal(package: Mapping[str, object], names: Collection[str]) -> Detected:
    build, build_notes = _node_build(package, names)
    start = _script(package, "start")
    # Started straight, node gets SIGTERM itself; only a plain line means the same outside of npm.
    command = start if re.fullmatch(r"node( [\w./@:=-]+)+", start) else "npm start"
    notes = (
        "The app must listen on process.env.PORT. Set server.keepAliveTimeout = 75_000 in it: Node closes idle",
        "connections after 5 s, perhaps in the moment when Homeport sends a request on one.",
    )
    return Detected(
        Kind.NODE,
        "a Node app (the start script of package.json)",
        build,
        build_notes,
        command=command,
        notes=notes,
    )


_BUILT_INTO = {
    "vite": "dist",
    "astro": "dist",
    "parcel": "dist",
    "@11ty/eleventy": "_site",
    "react-scripts": "build",
}
"""Where tools that build a static site put it, unless told otherwise."""


def _built_site_proposal(package: Mapping[str, object], names: Collection[str]) -> Detected | None:
    tool = next((tool for tool in _BUILT_INTO if tool in _dependencies(package)), None)
    if tool is None:
        return None
    build, build_notes = _node_build(package, names)
    return Detected(
        Kind.STATIC,
        f"a static site that {tool} builds into {_BUILT_INTO[tool]}/",
        build,
        build_notes,
        static=_BUILT_INTO[tool],
        notes=("The directory that the build writes. Homeport serves it itself.",),
    )


def _static_proposal(files: Mapping[str, str]) -> Detected | None:
    for directory in ("dist", "_site", "public"):
        if f"{directory}/index.html" in files:
            notes = ("Homeport serves this directory itself.",)
            return Detected(Kind.STATIC, f"a static site in {directory}/", static=directory, notes=notes)
    if "index.html" in files:
        notes = ("Homeport serves this directory itself: here every file of the repository.",)
        return Detected(Kind.STATIC, "a static site", static=".", notes=notes)
    return None


ANY_HOST = "*"


def write(detected: Detected, app_name: str, host: str = ANY_HOST) -> str:
    """The text of a ``homeport.toml`` with comments. ``app_name`` is a valid name, ``host`` one of [routes]."""
    build = _build(detected.build, detected.build_notes)
    what = ("static", detected.static) if detected.static else ("command", detected.command)
    process = [*_comments(detected.notes), f"{what[0]} = {quoted(what[1])}"]
    if not detected.static:
        process += [
            "# A path that answers 2xx, without a redirect, as soon as the app can serve.",
            f"health = {{ path = {quoted(detected.health)} }}",
        ]
    return _file(f"Homeport runs {detected.title} by this file.", app_name, build, process, host)


def write_blank(app_name: str, build_command: str, start_command: str, host: str = ANY_HOST) -> str:
    """The same for commands that the user gave. ``build_command`` may be "".

    Raises ValueError, with a reason that begins with "must", when a command cannot stand in a spec.
    """
    build = _build(ShellLine().read(build_command) if build_command.strip() else "", ())
    process = [
        f"command = {quoted(ShellLine().read(start_command))}",
        "# A path that answers 2xx, without a redirect, as soon as the app can serve.",
        'health = { path = "/" }',
    ]
    return _file("Homeport runs this app by this file.", app_name, build, process, host)


def _comments(lines: tuple[str, ...]) -> list[str]:
    return [f"# {line}" for line in lines]


def _build(command: str, notes: tuple[str, ...]) -> list[str]:
    if not command:
        return []
    head = "# Runs once for each release, in a fresh copy of the commit's files."
    return ["[build]", head, *_comments(notes), f"command = {quoted(command)}", ""]


def _routes(host: str) -> list[str]:
    if host == ANY_HOST:
        return [
            "# Requests for any host: one app of a machine can have that. A domain of your own instead, once",
            '# its DNS leads here: "shop.example.com" = "web"',
        ]
    return [
        '# Another app has "*", requests for any host. Browsers take names under .localhost for the machine',
        '# that they run on. For others: a domain of your own, "shop.example.com" = "web", once its DNS leads',
        "# here.",
    ]


def _file(first: str, app_name: str, build: list[str], process: list[str], host: str) -> str:
    return "\n".join(
        [
            f"# {first}",
            "# homeport init --keys describes every key.",
            "",
            "[app]",
            f"name = {quoted(app_name)}",
            "",
            *build,
            "[processes.web]",
            "# Runs in the release's directory. PORT says on which port of 127.0.0.1 to listen."
            if process[-1].startswith("health")
            else "# A static site needs no command.",
            *process,
            "",
            "# A process that no route names is a worker: it runs, and gets no requests.",
            "# [processes.worker]",
            '# command = "…"',
            "",
            "[routes]",
            *_routes(host),
            f'{quoted(host)} = "web"',
            "",
        ]
    )


def app_name_from(directory_name: str) -> str:
    """A valid app name as near to the name of a directory as can be; "app" when nothing of it is left."""
    plain = unicodedata.normalize("NFKD", directory_name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if name[:1].isdigit():
        name = f"app-{name}"
    name = name[:40].rstrip("-")
    return name if is_name(name) else "app"
