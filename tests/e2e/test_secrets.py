"""A secret's whole life, and then every byte is searched for it."""

import base64
import json
import os
import pty
import re
import secrets
import select
import stat
import time
import urllib.parse

import pytest
from live import HOMEPORT

APP = """
import base64, os, sys, time, threading
key = os.environ.get("API_KEY", "")
if key:
    print("raw", key, flush=True)
    for pad in ("", "x", "xx"): print("b64", base64.b64encode((pad + key).encode()).decode(), flush=True)
    sys.stdout.write("split " + key[:9]); sys.stdout.flush(); time.sleep(0.7)
    sys.stdout.write(key[9:] + "\\n"); sys.stdout.flush()
    print("x" * 70000 + key + "y" * 70000, flush=True)
"""
MORE = """
[variables]
API_KEY = { secret = true, required = true, pattern = "^sk_", description = "pays" }
[hooks]
before-traffic = "echo hook $API_KEY; printf %s $API_KEY | base64 -w0; echo"
[cron.speak]
schedule = "0 0 1 1 *"
command = "echo cron $API_KEY; exit 3"
"""


def encodings(value: str) -> list[bytes]:
    raw = value.encode()
    found = [raw, urllib.parse.quote(value, safe="").encode(), raw.hex().encode()]
    found.append(json.dumps(value)[1:-1].encode())
    for lead in range(3):
        text = base64.b64encode(b"\0" * lead + raw)
        start = (0, 2, 3)[lead]
        found.append(text[start : len(text) - len(text) % 4 - 4])
    return found


def hits(root, values) -> list[str]:
    """Files below ``root`` that hold one of the values in any encoding."""
    wanted = [e for value in values for e in encodings(value)]
    found = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                with open(path, "rb") as f:
                    data = f.read()
            except FileNotFoundError:  # of a server that runs
                continue
            found += [f"{path}: {w[:12]!r}…" for w in wanted if w in data]
    return found


@pytest.fixture
def values():
    """A value of a life: nothing else in the world holds it."""
    return [f"sk_{secrets.token_hex(6)}+/ä&'{secrets.token_hex(12)}" for _ in range(3)]


def test_no_secret_is_anywhere_after_a_whole_life(fresh_homeport, values):
    homeport = fresh_homeport
    homeport.up()
    app = homeport.app("shop")
    first, second, third = values
    said: list[str] = []

    def run(*arguments, **options):
        done = homeport.run(*arguments, cwd=app.directory, **options)
        said.append(done.stdout + done.stderr)
        return done

    build = 'command = "echo build $API_KEY; printf %s $API_KEY | base64 -w0; echo"'
    app.write("1", extra=APP, more=MORE, build=build)
    assert "API_KEY" in run("deploy", status=3).stderr
    run("secrets", "set", "API_KEY", stdin="pk_wrong-kind-of-key\n")
    refused = run("deploy", status=3).stderr
    assert "^sk_" in refused and "pk_wrong" not in refused
    run("secrets", "set", "API_KEY", stdin=first + "\n")
    run("deploy")
    assert run("secrets", "list").stdout.split()[5:7] == ["API_KEY", "2"]
    run("secrets", "set", "API_KEY", stdin=second)
    run("deploy", "--config-only")
    # A release that prints it while it crashes.
    app.write("3", extra=APP + "\nraise SystemExit('cannot start with ' + key)\n", more=MORE, build=build)
    run("deploy", status=7)
    run("rollback")
    run("secrets", "set", "API_KEY", stdin=third)
    run("deploy", "--config-only")
    run("cron", "run", "speak", status=1)
    run("run", "--", "sh", "-c", "true")
    run("config", "show")
    run("env", "export")
    run("secrets", "rotate-key")
    homeport.run("restart", cwd=app.directory)
    for command in ("logs", "events", "status", "ps", "releases"):
        run(command)
        run(command, "--json")
    said.append(homeport.run("logs", "--build", "r1", cwd=app.directory).stdout)
    time.sleep(1.0)
    arguments = []
    for pid in homeport.pids():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                arguments.append(f.read())
        except OSError:
            continue
    spoken = "\n".join(said).encode() + b"\0".join(arguments)
    for value in values:
        for encoding in encodings(value):
            assert encoding not in spoken, encoding[:12]
    assert b"[secret]" in spoken
    assert hits(homeport.data, values) == []
    # All three versions can still be opened, after the change of keys.
    assert json.loads(homeport.get("/env", host=app.host)[1])["API_KEY"] == third
    revealed = homeport.run("secrets", "reveal", "API_KEY", cwd=app.directory).stdout
    assert revealed == third + "\n"
    assert any(e["kind"] == "secret.revealed" for e in homeport.json("events", cwd=app.directory))
    run("rollback", "r1")
    assert json.loads(homeport.get("/env", host=app.host)[1])["API_KEY"] == first
    homeport.run("down")
    assert hits(homeport.data, values) == []


def test_instances_come_back_with_their_secrets_when_the_control_plane_is_away(fresh_homeport):
    homeport = fresh_homeport
    homeport.up()
    app = homeport.app("shop")
    app.write("1", more=MORE.partition("[hooks]")[0])
    homeport.run("secrets", "set", "API_KEY", cwd=app.directory, stdin="sk_still-here-after-all")
    homeport.deploy(app)
    serve = next(pid for pid, name in homeport.pids().items() if name == "serve")
    os.kill(serve, 19)
    try:
        victim = homeport.pid_of("shop.production.r1.web.1")
        os.kill(victim, 9)
        homeport.wait(
            lambda: any(n == "shop.production.r1.web.1" and p != victim for p, n in homeport.pids().items())
        )
        homeport.wait(
            lambda: (
                json.loads(homeport.get("/env", host=app.host)[1]).get("API_KEY") == "sk_still-here-after-all"
            )
        )
    finally:
        os.kill(serve, 18)


def test_a_key_of_another_machine_and_a_key_that_others_may_read(fresh_homeport):
    homeport = fresh_homeport
    homeport.up()
    app = homeport.app("shop")
    app.write("1")
    homeport.run("secrets", "set", "TOKEN", cwd=app.directory, stdin="t0ken-of-this-machine")
    key = homeport.data / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    done = homeport.run("secrets", "reveal", "TOKEN", cwd=app.directory, status=None)
    assert done.returncode == 8 and "others may read" in done.stderr and "chmod 600" in done.stderr
    key.chmod(0o600)
    kept = key.read_bytes()
    key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)) + b"\n")
    done = homeport.run("secrets", "reveal", "TOKEN", cwd=app.directory, status=None)
    assert done.returncode != 0 and "another key" in done.stderr
    assert "✗ secrets" in homeport.run("doctor", status=None).stdout
    key.write_bytes(kept)
    assert homeport.run("secrets", "reveal", "TOKEN", cwd=app.directory).stdout == "t0ken-of-this-machine\n"


def test_bad_values_are_refused_and_never_repeated(homeport):
    app = homeport.app("values")
    app.write("1")
    big = "s3cr3t" * 200_000
    done = homeport.run("secrets", "set", "BIG", cwd=app.directory, stdin=big, status=3)
    assert "64 KB" in done.stderr and "s3cr3t" not in done.stderr
    for name in ("PATH", "PORT", "HOMEPORT_X", "1X", "A-B", "A\nB"):
        done = homeport.run("secrets", "set", name, cwd=app.directory, stdin="hush-hush", status=None)
        assert done.returncode in (3, 4) and "hush" not in done.stderr, name
    for name in ("PATH", "PORT", "HOMEPORT_X"):
        homeport.run("env", "set", f"{name}=x", cwd=app.directory, status=3)
    homeport.run("env", "set", "A=1\n2", cwd=app.directory, status=3)
    assert homeport.run("secrets", "set", "EMPTY", cwd=app.directory, stdin="", status=3).stderr
    done = homeport.run("secrets", "reveal", "NOTHING", cwd=app.directory, status=4)
    assert "NOTHING" in done.stderr


def test_values_from_outside_are_read_at_each_rollout(homeport):
    app = homeport.app("outside")
    source = homeport.work / "vault.txt"
    source.write_text("from-a-file-1\n")
    app.write(
        "1",
        more=f'\n[variables]\nTOKEN = {{ from = "file:{source}" }}\n'
        'OTHER = { from = "command:printf from-a-command" }\n',
    )
    homeport.deploy(app)

    def env():
        return json.loads(homeport.get("/env", host=app.host)[1])

    assert (env()["TOKEN"], env()["OTHER"]) == ("from-a-file-1", "from-a-command")
    source.write_text("from-a-file-2\n")
    homeport.run("deploy", "--config-only", cwd=app.directory)
    assert env()["TOKEN"] == "from-a-file-2"
    assert hits(homeport.data, ["from-a-file-1", "from-a-file-2"]) == []
    source.unlink()
    done = homeport.run("deploy", "--config-only", cwd=app.directory, status=None)
    assert done.returncode not in (0, 7) and str(source) in done.stderr
    shown = homeport.run("config", "show", cwd=app.directory).stdout
    assert re.search(r"TOKEN\s+•+ \(version 2\)\s+outside", shown)


def test_a_prompt_on_a_terminal_shows_nothing(homeport):
    app = homeport.app("prompt")
    app.write("1")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(app.directory)
        os.execve(HOMEPORT, [str(HOMEPORT), "secrets", "set", "TOKEN"], homeport.env)
    shown = b""
    for _ in range(2):
        shown += read_until(terminal, b": ")
        os.write(terminal, b"typed-by-hand\n")
    shown += read_until(terminal, b"version 1")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert b"typed-by-hand" not in shown
    assert homeport.run("secrets", "reveal", "TOKEN", "--app", "prompt").stdout == "typed-by-hand\n"


def read_until(terminal: int, end: bytes) -> bytes:
    found = b""
    while end not in found:
        assert select.select([terminal], [], [], 20)[0], found
        found += os.read(terminal, 1000)
    return found
