"""What `homeport init` proposes for sample trees as people have them."""

import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.kernel.ids import is_name
from homeport.spec.detect import (
    WANTED,
    Detected,
    Kind,
    app_name_from,
    detect,
    write,
    write_blank,
)
from homeport.spec.parse import parse

VENV = "python3 -m venv .venv && .venv/bin/python -m pip install"
UVICORN = ".venv/bin/python -m uvicorn {} --host 127.0.0.1 --port $PORT --timeout-keep-alive 75"
OLD_GUNICORN = ".venv/bin/python -m gunicorn --bind 127.0.0.1:$PORT --threads 8 --keep-alive 75 {}"
GUNICORN = OLD_GUNICORN.replace("{}", "--no-control-socket {}")

FASTAPI = """
import re
from fastapi import FastAPI

PATTERN = "\\d+"
app = FastAPI(title="Shop")

@app.get("/")
async def index() -> dict[str, str]:
    return {}

@app.get("/healthz")
async def healthz() -> None: ...
"""
FLASK_FACTORY = """
import flask as f

def create_app(config=None):
    app = f.Flask(__name__)

    @app.route("/health")
    def health(): return "ok"

    return app
"""
ASGI = {
    "mysite/asgi.py": """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_asgi_application()
"""
}
WSGI = {
    "mysite/wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
}
DJANGO = {**ASGI, **WSGI, "manage.py": "import sys\n", "mysite/settings.py": "DEBUG = False\n"}


def proposal(files: dict[str, str], *names: str) -> Detected:
    """What is detected, when all given files are wanted and the file written for it parses to the same."""
    for path in files:
        assert any(fnmatch.fnmatch(path, pattern) for pattern in WANTED), path
    detected = detect(files, names)
    assert detected is not None
    assert bool(detected.command) != bool(detected.static)
    text = write(detected, "sample")
    assert max(map(len, text.splitlines())) < 250
    spec = parse(text)
    assert spec.app == "sample"
    assert spec.build.command == detected.build
    [process] = spec.processes
    assert (process.name, process.command, process.static) == ("web", detected.command, detected.static)
    assert process.health.path == detected.health
    assert [(r.host, r.prefix, r.process) for r in spec.routes] == [("*", "/", "web")]
    for note in (*detected.notes, *detected.build_notes):
        assert f"# {note}\n" in text
    return detected


@pytest.mark.parametrize(
    ("source", "framework", "kind"),
    [
        ("from fastapi import FastAPI\napp = FastAPI()", "FastAPI", Kind.PYTHON_ASGI),
        ("import fastapi\napp: fastapi.FastAPI = fastapi.FastAPI()", "FastAPI", Kind.PYTHON_ASGI),
        ("from starlette.applications import Starlette as S\napp = S(routes=[])", "Starlette", Kind.PYTHON_ASGI),
        ("from litestar import Litestar\napp = Litestar([])", "Litestar", Kind.PYTHON_ASGI),
        ("from quart import Quart\napp = Quart(__name__)", "Quart", Kind.PYTHON_ASGI),
        ("import falcon.asgi\napp = falcon.asgi.App()", "Falcon", Kind.PYTHON_ASGI),
        ("import falcon\napp = falcon.App()", "Falcon", Kind.PYTHON_WSGI),
        ("from flask import Flask\napp = Flask(__name__)", "Flask", Kind.PYTHON_WSGI),
        ("import bottle\napp = bottle.default_app()", "Bottle", Kind.PYTHON_WSGI),
        ("try:\n  from flask import Flask\nexcept ImportError: pass\nif True:\n  app = Flask('x')", "Flask", Kind.PYTHON_WSGI),
        ("async def app(scope, receive, send): ...", "", Kind.PYTHON_ASGI),
        ("def application(environ, start_response): ...", "", Kind.PYTHON_WSGI),
    ],
)  # fmt: skip
def test_frameworks(source: str, framework: str, kind: Kind) -> None:
    detected = proposal({"main.py": source, "requirements.txt": "x\n"})
    variable = "application" if "application(" in source else "app"
    assert detected.kind is kind
    article = "a" if framework else "an"
    name = framework or ("ASGI" if kind is Kind.PYTHON_ASGI else "WSGI")
    assert detected.title == f"{article} {name} app (main:{variable} in main.py)"
    server = UVICORN if kind is Kind.PYTHON_ASGI else GUNICORN
    assert detected.command == server.format(f"main:{variable}")


def test_fastapi_with_its_server_and_health_check() -> None:
    detected = proposal(
        {"shop/main.py": FASTAPI, "requirements.txt": "fastapi==0.115\nUvicorn[standard]>=0.30\n"}
    )
    assert detected.build == f"{VENV} -r requirements.txt"
    assert detected.command == UVICORN.format("shop.main:app")
    assert detected.health == "/healthz"
    assert not any("server" in note for note in detected.build_notes)


def test_a_server_is_installed_and_said_where_the_requirements_have_none() -> None:
    detected = proposal({"main.py": FASTAPI, "requirements.txt": "# uvicorn\nfastapi\n-r more.txt\n"})
    assert detected.build == f"{VENV} -r requirements.txt uvicorn"
    assert "so uvicorn is installed too" in " ".join(detected.build_notes)


@pytest.mark.parametrize(
    ("requirements", "start"),
    [
        ("fastapi[standard]", "uvicorn main:app --host"),
        ("fastapi\ngranian", "granian --interface asgi --host"),
        ("fastapi\nhypercorn==0.17", "hypercorn --bind"),
        ("fastapi\ngunicorn", "uvicorn main:app"),
    ],
)
def test_the_server_that_the_app_asks_for(requirements: str, start: str) -> None:
    detected = proposal({"main.py": FASTAPI, "requirements.txt": requirements})
    assert detected.command.startswith(f".venv/bin/python -m {start}")
    assert ("uvicorn" in detected.build) == ("gunicorn" in requirements)


def test_no_requirements_at_all() -> None:
    assert proposal({"main.py": FASTAPI}).build == f"{VENV} fastapi uvicorn"
    plain = "async def app(scope, receive, send): ..."
    assert proposal({"main.py": plain}).build == f"{VENV} uvicorn"


def test_pyproject_with_a_package_under_src() -> None:
    project = '[project]\nname = "shop"\ndependencies = ["fastapi>=0.1", "granian"]\n'
    detected = proposal({"src/shop/__init__.py": "", "src/shop/web.py": FASTAPI, "pyproject.toml": project})
    assert detected.build == f"{VENV} ."
    assert detected.command == (
        "PYTHONPATH=src .venv/bin/python -m granian --interface asgi --host 127.0.0.1 --port $PORT "
        "--http1-header-read-timeout 60000 shop.web:app"
    )


def test_a_poetry_project_names_its_packages_as_keys() -> None:
    project = '[tool.poetry.dependencies]\npython = "^3.11"\nflask = "^3"\ngunicorn = "^22"\n'
    assert (
        proposal({"app.py": "from flask import Flask\napp = Flask('x')", "pyproject.toml": project}).build
        == f"{VENV} ."
    )


def test_a_uv_project() -> None:
    project = '[project]\nname = "shop"\ndependencies = ["fastapi"]\n'
    detected = proposal({"main.py": FASTAPI, "pyproject.toml": project}, "uv.lock")
    assert detected.build == (
        f"{VENV} uv && .venv/bin/python -m uv sync --frozen --no-dev --inexact "
        "&& .venv/bin/python -m uv pip install uvicorn"
    )


def test_a_flask_factory() -> None:
    detected = proposal({"shop/__init__.py": FLASK_FACTORY, "requirements.txt": "flask"})
    assert detected.build == f"{VENV} -r requirements.txt gunicorn"
    assert detected.command == GUNICORN.format("'shop:create_app()'")
    assert detected.health == "/health"
    waitress = proposal({"shop/__init__.py": FLASK_FACTORY, "requirements.txt": "flask\nwaitress"})
    assert waitress.command == (
        ".venv/bin/python -m waitress --listen 127.0.0.1:$PORT --channel-timeout 75 --call shop:create_app"
    )


def test_waitress_and_an_app_that_is_there() -> None:
    app = "from flask import Flask\napp = Flask('x')"
    assert proposal({"app.py": app, "requirements.txt": "waitress"}).command == (
        ".venv/bin/python -m waitress --listen 127.0.0.1:$PORT --channel-timeout 75 app:app"
    )


def test_an_asgi_factory_and_a_factory_that_returns_at_once() -> None:
    factory = "from starlette.applications import Starlette\ndef create_app():\n    return Starlette()\n"
    assert proposal({"web.py": factory}).command == UVICORN.format("web:create_app --factory")


def test_a_factory_with_an_argument_that_must_be_given_cannot_be_served() -> None:
    assert detect({"web.py": FLASK_FACTORY.replace("config=None", "config")}) is None


def test_django_is_served_by_wsgi_unless_it_asks_for_a_server_of_asgi() -> None:
    detected = proposal({**DJANGO, "requirements.txt": "django\n"})
    assert detected.kind is Kind.PYTHON_WSGI
    assert detected.command == GUNICORN.format("mysite.wsgi:application")
    assert "ALLOWED_HOSTS" in " ".join(detected.notes)
    assert "collectstatic" not in detected.build
    detected = proposal({**DJANGO, "requirements.txt": "django\nuvicorn\n"})
    assert detected.kind is Kind.PYTHON_ASGI
    assert detected.command == UVICORN.format("mysite.asgi:application")
    assert proposal(ASGI).kind is Kind.PYTHON_ASGI


def test_django_collects_static_files_where_it_has_a_place_for_them() -> None:
    settings = {"mysite/settings.py": "STATIC_URL = '/s/'\nSTATIC_ROOT = 'collected'\n"}
    detected = proposal({**DJANGO, **settings, "requirements.txt": "django"})
    assert detected.build.endswith("gunicorn && .venv/bin/python manage.py collectstatic --noinput")


def test_the_likeliest_of_several_apps() -> None:
    flask = "from flask import Flask\napp = Flask('x')"
    files = {
        "tests/app.py": FASTAPI,
        "examples/main.py": FASTAPI,
        "test_app.py": FASTAPI,
        "zebra.py": flask,
        "shop/app.py": flask,
        "app.py": "from flask import Flask\nother = Flask('x')\napp = Flask('y')",
        "not-a-module.py": FASTAPI,
        "broken.py": "def (",
        "null.py": "\0",
        "deep.py": "x = " + "(" * 5000,
    }
    assert proposal(files).title == "a Flask app (app:app in app.py)"


@pytest.mark.parametrize(
    "source",
    [
        "from fastapi import FastAPI\ndef f():\n    app = FastAPI()",
        "from fastapi import FastAPI\nif __name__ == '__main__':\n    app = FastAPI()",
        "from mine import FastAPI\napp = FastAPI()",
        "app = FastAPI()",
        "from fastapi import APIRouter\napp = APIRouter()",
        "async def app(request): ...",
        "print('hello')",
        "from .fastapi import FastAPI\napp = FastAPI()",
        "from fastapi import FastAPI\napp: FastAPI",
        "from fastapi import FastAPI\napp, other = FastAPI(), 1",
        "from fastapi import FastAPI\nself.app = FastAPI()",
        "from fastapi import FastAPI\ndef create_app(*, config):\n    return FastAPI()",
        "from fastapi import FastAPI\ndef make_something():\n    return FastAPI()",
        "import fastapi\napp = [fastapi][0].FastAPI()",
        "async def handle(scope, receive, send): ...",
        "def app(scope, receive, send): ...",
        "async def app(environ, start_response): ...",
    ],
)
def test_what_only_looks_like_an_app(source: str) -> None:
    assert detect({"main.py": source}) is None


@pytest.mark.parametrize(
    "path",
    ["index.html", "my-app.py", "test_app.py", "tests/app.py", "src/__init__.py", "__init__.py", "a.b/x.py"],
)
def test_files_that_are_no_modules_of_the_app(path: str) -> None:
    detected = detect({path: FASTAPI})
    assert detected is None or detected.kind is Kind.STATIC


def test_a_health_check_of_another_part_is_not_taken_for_that_of_the_app() -> None:
    source = FASTAPI.replace("@app.get", "@router.get")
    assert proposal({"main.py": source}).health == "/"


def node(**more: object) -> dict[str, str]:
    return {"package.json": json.dumps({"name": "x", "scripts": {"start": "node server.js"}, **more})}


@pytest.mark.parametrize(
    ("files", "names", "build", "command"),
    [
        (node(), (), "", "node server.js"),
        (node(dependencies={"express": "4"}), (), "npm install", "node server.js"),
        (node(dependencies={"express": "4"}), ("package-lock.json",), "npm ci", "node server.js"),
        (node(dependencies={"express": "4"}), ("yarn.lock",), "yarn install --frozen-lockfile", "node server.js"),
        (node(dependencies={"express": "4"}), ("pnpm-lock.yaml",), "pnpm install --frozen-lockfile", "node server.js"),
        (node(scripts={"start": "next start", "build": "next build"}, dependencies={"next": "14"}),
         ("package-lock.json",), "npm ci && npm run build", "npm start"),
        (node(scripts={"start": "node -r dotenv/config a/b.js --port=$PORT"}), (), "", "npm start"),
        (node(scripts={"start": "node --enable-source-maps dist/index.mjs"}), (), "",
         "node --enable-source-maps dist/index.mjs"),
        (node(scripts={"start": "node a.js && echo done"}), (), "", "npm start"),
    ],
)  # fmt: skip
def test_node(files: dict[str, str], names: tuple[str, ...], build: str, command: str) -> None:
    detected = proposal(files, *names)
    assert (detected.kind, detected.build, detected.command) == (Kind.NODE, build, command)
    assert "process.env.PORT" in detected.notes[0]


def test_a_python_app_wins_over_the_package_json_of_its_assets() -> None:
    assert proposal({**node(), "main.py": FASTAPI}).kind is Kind.PYTHON_ASGI


@pytest.mark.parametrize(
    "package",
    [
        "",
        "{",
        "[]",
        '{"scripts": []}',
        '{"scripts": {"start": 1}}',
        '{"scripts": {"start": " "}}',
        "[" * 10**5,
    ],
)
def test_a_package_json_of_no_use_is_passed_over(package: str) -> None:
    assert detect({"package.json": package}) is None
    assert proposal({"package.json": package, "index.html": "x"}).kind is Kind.STATIC


@pytest.mark.parametrize(
    ("paths", "static"),
    [
        (("index.html",), "."),
        (("public/index.html",), "public"),
        (("dist/index.html",), "dist"),
        (("_site/index.html",), "_site"),
        (("index.html", "dist/index.html"), "dist"),
    ],
)
def test_static_sites(paths: tuple[str, ...], static: str) -> None:
    detected = proposal(dict.fromkeys(paths, "<html>"))
    assert (detected.kind, detected.build, detected.static) == (Kind.STATIC, "", static)


def test_the_file_for_a_static_site_has_nothing_of_a_command() -> None:
    text = write(proposal({"public/index.html": "<html>"}), "site")
    assert (
        '[processes.web]\n# A static site needs no command.\n# Homeport serves this directory itself.\nstatic = "public"\n\n'
        in text
    )
    assert "PORT" not in text
    assert "health" not in text


def test_a_site_that_a_tool_builds() -> None:
    package = json.dumps(
        {"scripts": {"build": "vite build", "dev": "vite"}, "devDependencies": {"vite": "5"}}
    )
    detected = proposal({"package.json": package, "index.html": "<html>"}, "package-lock.json")
    assert (detected.kind, detected.build, detected.static) == (
        Kind.STATIC,
        "npm ci && npm run build",
        "dist",
    )


def test_a_tool_that_is_not_known_is_left_to_the_user() -> None:
    package = json.dumps({"scripts": {"build": "make"}, "devDependencies": {"x": "5"}})
    assert detect({"package.json": package, "index.html": "<html>"}) is None


def test_nothing_to_go_by() -> None:
    assert detect({}) is None
    assert detect({"requirements.txt": "fastapi"}, ["README.md"]) is None


def test_the_file_for_a_fastapi_app_reads_well() -> None:
    assert (
        write(proposal({"main.py": FASTAPI, "requirements.txt": "fastapi"}), "shop")
        == """\
# Homeport runs a FastAPI app (main:app in main.py) by this file.
# homeport init --keys describes every key.

[app]
name = "shop"

[build]
# Runs once for each release, in a fresh copy of the commit's files.
# A virtual environment inside the release, with what requirements.txt asks for.
# That names no server, so uvicorn is installed too; better add it there.
command = "python3 -m venv .venv && .venv/bin/python -m pip install -r requirements.txt uvicorn"

[processes.web]
# Runs in the release's directory. PORT says on which port of 127.0.0.1 to listen.
# The server keeps idle connections for 75 s, so that Homeport closes them first: else it
# might close one in the very moment when a request comes on it, which then fails.
command = ".venv/bin/python -m uvicorn main:app --host 127.0.0.1 --port $PORT --timeout-keep-alive 75"
# A path that answers 2xx, without a redirect, as soon as the app can serve.
health = { path = "/healthz" }

# A process that no route names is a worker: it runs, and gets no requests.
# [processes.worker]
# command = "…"

[routes]
# Requests for any host: one app of a machine can have that. A domain of your own instead, once
# its DNS leads here: "shop.example.com" = "web"
"*" = "web"
"""
    )


@pytest.mark.parametrize("write_it", [lambda host: write(proposal({"main.py": FASTAPI}), "blog", host),
                                      lambda host: write_blank("blog", "", "./run", host)])  # fmt: skip
def test_where_another_app_has_every_host_the_file_names_one_that_a_browser_finds(write_it: Any) -> None:
    text = write_it("blog.localhost")
    assert [(r.host, r.prefix, r.process) for r in parse(text).routes] == [("blog.localhost", "/", "web")]
    assert 'Another app has "*"' in text and '"shop.example.com" = "web"' in text


@pytest.mark.parametrize(
    ("requirement", "told"),
    [
        ("gunicorn", True),
        ("gunicorn>=20", True),
        ("gunicorn>=20,<26", True),
        ("gunicorn[gevent]~=25.0 ; python_version > '3'", True),
        ("gunicorn==25.1.0", True),
        ("gunicorn == 25.3 --hash=sha256:00 # pinned", True),
        ("gunicorn<=25.1", True),
        ("gunicorn==25.0.3", False),
        ("gunicorn~=25.0.1", False),
        ("gunicorn<25.1", False),
        ("gunicorn>=20,<23", False),
        ("gunicorn~=20.1", False),
        ("gunicorn==25.*", False),
        ("gunicorn @ https://example.com/gunicorn.tar.gz", False),
        ("gunicorn\n-c constraints.txt", False),
    ],
)
def test_a_gunicorn_that_knows_of_control_sockets_is_told_to_open_none(requirement: str, told: bool) -> None:
    app = "from flask import Flask\napp = Flask('x')"
    detected = proposal({"app.py": app, "requirements.txt": f"flask\n{requirement}\n"})
    assert detected.command == (GUNICORN if told else OLD_GUNICORN).format("app:app")


def test_where_a_lock_file_or_poetry_says_which_gunicorn_it_is_told_nothing_it_may_not_know() -> None:
    app = "from flask import Flask\napp = Flask('x')"
    project = '[project]\nname = "x"\ndependencies = ["flask", "gunicorn"]\n'
    poetry = '[tool.poetry.dependencies]\nflask = "^3"\ngunicorn = "^22"\n'
    assert proposal({"app.py": app, "pyproject.toml": project}).command == GUNICORN.format("app:app")
    for text, names in ((project, ("uv.lock",)), (poetry, ())):
        detected = proposal({"app.py": app, "pyproject.toml": text}, *names)
        assert detected.command == OLD_GUNICORN.format("app:app")


@pytest.mark.parametrize(
    ("build", "start"),
    [("", "./run"), ("  ", 'sh -c "exec ./serve --port=$PORT"'), ("make 'a b' \\\\ \"c\"", "./run\t-x # é")],
)
def test_a_file_for_commands_that_the_user_gave(build: str, start: str) -> None:
    spec = parse(write_blank("x", build, start))
    assert (spec.build.command, spec.processes[0].command) == (build.strip(), start)
    assert spec.is_routed("web")


@pytest.mark.parametrize(("build", "start"), [("", ""), ("", "a\nb"), ("a\0b", "x"), ("", "x" * 10_001)])
def test_commands_that_no_file_can_hold(build: str, start: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        write_blank("x", build, start)


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("shop", "shop"),
        ("My Shop", "my-shop"),
        ("shop.example.com", "shop-example-com"),
        ("__Crème_Brûlée__", "creme-brulee"),
        ("2048", "app-2048"),
        ("", "app"),
        ("日本", "app"),
        ("---", "app"),
        ("x" * 60, "x" * 40),
        ("x" * 39 + "-yyy", "x" * 39),
        ("9" * 60, "app-" + "9" * 36),
        ("$(rm -rf ~)", "rm-rf"),
    ],
)
def test_an_app_name_from_a_directory(directory: str, name: str) -> None:
    assert app_name_from(directory) == name


@settings(max_examples=200, deadline=None, database=None)
@given(st.text())
def test_a_directory_always_gives_a_valid_name(directory: str) -> None:
    assert is_name(app_name_from(directory))


@settings(max_examples=50, deadline=None, database=None)
@given(
    st.dictionaries(
        st.sampled_from(["main.py", "package.json", "pyproject.toml", "requirements.txt"]), st.text()
    )
)
def test_any_texts_are_detected_or_not(files: dict[str, str]) -> None:
    detected = detect(files)
    if detected is not None:
        parse(write(detected, "x"))
