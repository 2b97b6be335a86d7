"""Finds the web app in Python sources: which variable of which module a server is to serve."""

from __future__ import annotations

import ast
import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum


class Interface(Enum):
    ASGI = "asgi"
    WSGI = "wsgi"


@dataclass(frozen=True, slots=True)
class PythonApp:
    """``module:variable``, as servers are told of it."""

    interface: Interface
    framework: str
    """Its name for people, such as "FastAPI"; "" when the app is a plain ASGI or WSGI function."""
    package: str
    """What pip installs for the framework, or ""."""
    file: str
    module: str
    variable: str
    factory: bool = False
    """Whether ``variable`` is a function that makes the app."""
    source: str = ""
    """The directory that must be on the import path, "" for the top."""
    health: str = ""
    """A path of the app that looks like a health check, or ""."""


_FRAMEWORKS = {
    ("fastapi", "FastAPI"): (Interface.ASGI, "FastAPI"),
    ("starlette", "Starlette"): (Interface.ASGI, "Starlette"),
    ("litestar", "Litestar"): (Interface.ASGI, "Litestar"),
    ("quart", "Quart"): (Interface.ASGI, "Quart"),
    ("blacksheep", "Application"): (Interface.ASGI, "BlackSheep"),
    ("falcon.asgi", "App"): (Interface.ASGI, "Falcon"),
    ("django", "get_asgi_application"): (Interface.ASGI, "Django"),
    ("flask", "Flask"): (Interface.WSGI, "Flask"),
    ("bottle", "Bottle"): (Interface.WSGI, "Bottle"),
    ("bottle", "default_app"): (Interface.WSGI, "Bottle"),
    ("falcon", "App"): (Interface.WSGI, "Falcon"),
    ("django", "get_wsgi_application"): (Interface.WSGI, "Django"),
}
"""(package or module, what is called) of each framework, as its own documentation makes an app."""

_FACTORIES = ("create_app", "make_app", "get_app", "build_app", "app_factory")
_VARIABLES = ("app", "application", "api", "asgi", "wsgi", "server")
_MODULES = ("main", "app", "asgi", "wsgi", "server", "web", "api", "__init__")
_ELSEWHERE = {"tests", "test", "docs", "doc", "examples", "example", "scripts", "benchmarks", "migrations"}
_HEALTH = re.compile(r"/(?:[a-z0-9]+/)*(?:_?health(?:z|check|-check)?|livez|readyz|ready|up|ping)/?")


def find(files: Mapping[str, str]) -> tuple[PythonApp, ...]:
    """The apps in ``files`` (path to text), the likeliest first. Files that do not parse are passed over."""
    found: list[PythonApp] = []
    for path, text in files.items():
        *folders, name = path.split("/")
        stem = name.removesuffix(".py")
        source, packages = ("src", folders[1:]) if folders[:1] == ["src"] else ("", folders)
        parts = [*packages, *([] if stem == "__init__" else [stem])]
        if not name.endswith(".py") or not parts or _ELSEWHERE & set(folders):
            continue
        if stem.startswith("test_") or not all(part.isascii() and part.isidentifier() for part in parts):
            continue
        tree = _parsed(text)
        if tree is not None:
            found += _apps(tree, path, ".".join(parts), source)
    return tuple(sorted(found, key=_unlikeliness))


def _unlikeliness(app: PythonApp) -> tuple[bool, bool, int, int, int, str, str]:
    stem = app.file.rsplit("/", 1)[-1].removesuffix(".py")
    return (
        app.framework == "",
        app.factory,
        app.file.removeprefix("src/").count("/"),
        _rank(stem, _MODULES),
        _rank(app.variable, _VARIABLES),
        app.file,
        app.variable,
    )


def _rank(word: str, order: tuple[str, ...]) -> int:
    return order.index(word) if word in order else len(order)


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the app's own "\d"
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _apps(tree: ast.Module, file: str, module: str, source: str) -> Iterator[PythonApp]:
    names = _imports(tree)
    for variable, call in _assignments(tree.body):
        framework = _framework(call, names)
        if framework:
            yield _app(framework, file, module, variable, source, _health(tree.body, variable))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in _FACTORIES and not _required(node.args):
            for variable, call in (*_assignments(node.body), *_returned(node)):
                framework = _framework(call, names)
                if framework:
                    health = _health(node.body, variable)
                    yield _app(framework, file, module, node.name, source, health, factory=True)
                    break
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in _VARIABLES:
            arguments = [a.arg for a in node.args.args]
            if isinstance(node, ast.AsyncFunctionDef) and arguments == ["scope", "receive", "send"]:
                yield PythonApp(Interface.ASGI, "", "", file, module, node.name, source=source)
            if isinstance(node, ast.FunctionDef) and arguments[1:] == ["start_response"]:
                yield PythonApp(Interface.WSGI, "", "", file, module, node.name, source=source)


def _app(
    framework: tuple[Interface, str],
    file: str,
    module: str,
    variable: str,
    source: str,
    health: str,
    factory: bool = False,
) -> PythonApp:
    interface, title = framework
    return PythonApp(interface, title, title.lower(), file, module, variable, factory, source, health)


def _imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``{"FastAPI": "fastapi.FastAPI"}``."""
    names: dict[str, str] = {}
    for node in _top_level(tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported, those in ``if`` and ``try`` among them."""
    for node in body:
        yield node
        if (isinstance(node, ast.If) and "__name__" not in ast.dump(node.test)) or isinstance(node, ast.Try):
            yield from _top_level(node.body)


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Each ``name = value`` and ``name: type = value``."""
    for node in _top_level(body):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _returned(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    for node in _top_level(function.body):
        if isinstance(node, ast.Return) and node.value:
            yield "", node.value


def _framework(value: ast.expr, names: Mapping[str, str]) -> tuple[Interface, str] | None:
    """The framework whose app ``value`` makes, if it is such a call."""
    if not isinstance(value, ast.Call):
        return None
    attributes: list[str] = []
    node = value.func
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    module, _, called = ".".join((names[node.id], *attributes)).rpartition(".")
    return _FRAMEWORKS.get((module, called)) or _FRAMEWORKS.get((module.split(".")[0], called))


def _required(arguments: ast.arguments) -> bool:
    """Whether a function cannot be called without arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional > len(arguments.defaults) or any(default is None for default in arguments.kw_defaults)


def _health(body: list[ast.stmt], variable: str) -> str:
    """The path of a health check among the ``@variable.get("/…")`` and ``@variable.route("/…")`` in ``body``."""
    for node in _top_level(body):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="get" | "route"),
                    args=[ast.Constant(value=str(path)), *_],
                ) if owner == variable and _HEALTH.fullmatch(path):
                    return path
    return ""


def requirements(files: Mapping[str, str]) -> dict[str, str]:
    """The packages that requirements.txt and pyproject.toml ask for, names normalised as pip does.

    Each with the versions that are allowed, as written (">=25,<26"): "" for any, "?" where that cannot be
    told.
    """
    lines = files.get("requirements.txt", "").splitlines()
    try:
        project = tomllib.loads(files.get("pyproject.toml", ""))
    except (ValueError, RecursionError):
        project = {}
    lines += _strings(project, "project", "dependencies")
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?([^;#]*)", line)
        if match is not None:
            # A hash or another option may follow: "gunicorn==25.1 --hash=sha256:…".
            found[_normal(match[1])] = re.split(r"\s--?\w", match[3])[0].strip(" \t\\()")
        if re.match(r"\s*(fastapi|litestar)\s*\[[^\]]*\b(standard|all)\b", line, re.I):
            found.setdefault("uvicorn", "")
    # Poetry's are names with versions in a notation of its own.
    return {_normal(name): "?" for name in _strings(project, "tool", "poetry", "dependencies")} | found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _strings(value: object, *path: str) -> list[str]:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | dict) else []
