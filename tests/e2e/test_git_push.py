"""A push to an app's repository is a run of its pipeline, and fails with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import App, Homeport


def push(
    homeport: Homeport, app: App, *arguments: str, remote: str = "homeport"
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["git", "push", remote, *arguments], cwd=app.directory, env=homeport.env, capture_output=True, text=True, timeout=150
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def start_push(homeport: Homeport, app: App, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["git", "push", "homeport", *arguments],
        cwd=app.directory,
        env=homeport.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A runner in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def repository(homeport: Homeport, app: App) -> Path:
    return homeport.data / "repositories" / f"{app.name}.git"


def head(homeport: Homeport, app: App, ref: str = "refs/heads/main") -> str:
    done = subprocess.run(
        ["git", f"--git-dir={repository(homeport, app)}", "rev-parse", "--verify", "--quiet", ref],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def is_clean(homeport: Homeport, app: App) -> bool:
    """Nothing of a refused push is left."""
    return not list(repository(homeport, app).glob("objects/*incoming*")) and not list(
        repository(homeport, app).glob("objects/pack/tmp_*")
    )


def runs(homeport: Homeport, app: App) -> list[dict[str, object]]:
    """The newest first; none of an app that nothing of was ever taken."""
    done = homeport.run("pipeline", "list", "--json", cwd=app.directory, status=None)
    return json.loads(done.stdout) if done.returncode == 0 else []


@pytest.fixture
def shop(homeport: Homeport, request: pytest.FixtureRequest) -> App:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30].rstrip("-")
    app = homeport.app(name)
    app.write("1", replicas=1)
    homeport.run("remote", cwd=app.directory)
    return app


def test_a_push_ships(homeport: Homeport, shop: App) -> None:
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode == 0, done.stderr
    assert homeport.get("/", host=shop.host)[1] == "1"
    assert head(homeport, shop) == shop.git("rev-parse", "HEAD")
    run = runs(homeport, shop)[0]
    assert run["cause"] == "push" and run["state"] == "passed" and run["subject"] == "version 1"
    again = homeport.run("remote", cwd=shop.directory)
    assert "there already" in again.stdout
    shop.git("remote", "set-url", "homeport", "/elsewhere")
    assert "points to /elsewhere" in homeport.run("remote", cwd=shop.directory, status=5).stderr
    assert shop.git("remote", "get-url", "homeport") == "/elsewhere"


def test_a_failed_run_fails_the_push(homeport: Homeport, shop: App) -> None:
    good = shop.git("rev-parse", "HEAD")
    assert push(homeport, shop, "HEAD:main").returncode == 0
    shop.write("2", replicas=1, build='command = "echo no such luck; exit 1"')
    for _ in range(2):  # the ref did not move, so it is tried again
        done = push(homeport, shop, "HEAD:main")
        assert done.returncode != 0 and "no such luck" in done.stderr
        assert head(homeport, shop) == good
    assert homeport.get("/", host=shop.host)[1] == "1"
    assert [r["state"] for r in runs(homeport, shop)][:3] == ["failed", "failed", "passed"]
    assert is_clean(homeport, shop)


def test_what_is_refused(homeport: Homeport, shop: App) -> None:
    shop.git("tag", "-a", "v1", "-m", "v1")
    blob = shop.git("hash-object", "-w", "app.py")
    cases = [
        (["v1"], "a tag starts nothing"),
        (["HEAD:refs/heads/other"], "starts from main"),
        (["HEAD:refs/notes/x"], "neither a branch nor a preview"),
        ([f"{blob}:refs/previews/blob"], "no commit but a blob"),
        ([f"{blob}:refs/heads/main"], ""),
        (["v1:refs/previews/tag"], "no commit but a tag"),
        (["HEAD:refs/previews/No_Name"], "cannot make a preview"),
        (["HEAD:main", "HEAD:refs/previews/x"], "2 refs"),
    ]
    for arguments, why in cases:
        done = push(homeport, shop, *arguments)
        assert done.returncode != 0 and why in done.stderr, (arguments, done.stderr)
    assert not runs(homeport, shop) and not head(homeport, shop)
    (shop.directory / "homeport.toml").write_text("[app]\nname = 3\nodd = 1\n")
    shop.commit("broken")
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode != 0 and "odd" in done.stderr
    (shop.directory / "homeport.toml").unlink()
    shop.commit("without")
    assert "it holds no homeport.toml" in push(homeport, shop, "HEAD:main").stderr
    other = homeport.app("other-app")
    other.write("1")
    other.git("remote", "add", "homeport", str(repository(homeport, shop)))
    assert "names app other-app" in push(homeport, other, "HEAD:main").stderr
    assert is_clean(homeport, shop) and not runs(homeport, shop)


def test_a_branch_is_not_deleted(homeport: Homeport, shop: App) -> None:
    assert push(homeport, shop, "HEAD:main").returncode == 0
    done = push(homeport, shop, ":main")
    assert done.returncode != 0 and "cannot delete branch main" in done.stderr
    assert head(homeport, shop)


def test_a_huge_file(homeport: Homeport, shop: App) -> None:
    """A gigabyte of zeros is a megabyte in a pack; a random one is refused while it comes in."""
    with open(shop.directory / "zeros", "wb") as f:
        f.truncate(1_000_000_000)
    shop.commit("zeros")
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode != 0 and "a file of 1 GB" in done.stderr, done.stderr
    assert is_clean(homeport, shop) and not runs(homeport, shop)
    left = sum(p.stat().st_size for p in repository(homeport, shop).rglob("*") if p.is_file())
    assert left < 1_000_000
    shop.git("reset", "-q", "--hard", "HEAD~1")
    assert push(homeport, shop, "HEAD:main").returncode == 0


def test_a_huge_push(homeport: Homeport, shop: App) -> None:
    settings = repository(homeport, shop) / "homeport.config"
    settings.write_text(settings.read_text().replace('maxInputSize = "200000000"', "maxInputSize = 1000000"))
    (shop.directory / "noise").write_bytes(os.urandom(3_000_000))
    shop.commit("noise")
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode != 0 and "exceeds maximum allowed size" in done.stderr
    assert is_clean(homeport, shop) and not runs(homeport, shop)
    # Settings that were changed are put right.
    homeport.run("remote", cwd=shop.directory)
    assert push(homeport, shop, "HEAD:main").returncode == 0


SLOW = 'command = "sleep 12"'


def test_a_second_push_queues(homeport: Homeport, shop: App) -> None:
    first = shop.write("1", replicas=1, build=SLOW)
    pushing = start_push(homeport, shop, f"{first}:refs/heads/main")
    homeport.wait(lambda: [r for r in runs(homeport, shop) if r["state"] == "running"])
    second = shop.write("2", replicas=1)
    done = push(homeport, shop, "HEAD:main")
    output, _ = pushing.communicate(timeout=150)
    assert pushing.returncode == 0, output
    assert done.returncode == 0, done.stderr
    assert "queued" in done.stderr
    assert head(homeport, shop) == second and homeport.get("/", host=shop.host)[1] == "2"
    assert [r["commit"] for r in runs(homeport, shop)] == [second, first]


def test_two_who_do_not_know_of_each_other(homeport: Homeport, shop: App) -> None:
    assert push(homeport, shop, "HEAD:main").returncode == 0
    base = shop.git("rev-parse", "HEAD")
    first = shop.write("a", replicas=1, build=SLOW)
    pushing = start_push(homeport, shop, f"{first}:refs/heads/main")
    homeport.wait(lambda: [r for r in runs(homeport, shop) if r["state"] == "running"])
    shop.git("reset", "-q", "--hard", base)
    shop.write("b", replicas=1)
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode != 0 and "does not contain" in done.stderr
    output, _ = pushing.communicate(timeout=150)
    assert pushing.returncode == 0, output
    assert head(homeport, shop) == first and homeport.get("/", host=shop.host)[1] == "a"


def test_interrupted_pusher(homeport: Homeport, shop: App) -> None:
    """Ctrl-C fails the push; the run goes on, and a push again finds it."""
    shop.write("1", replicas=1, build=SLOW)
    pushing = start_push(homeport, shop, "HEAD:main")
    homeport.wait(lambda: [r for r in runs(homeport, shop) if r["state"] == "running"])
    os.killpg(pushing.pid, signal.SIGINT)
    output, _ = pushing.communicate(timeout=150)
    assert pushing.returncode != 0, output
    done = push(homeport, shop, "HEAD:main")
    assert done.returncode == 0 and "is under way" in done.stderr, done.stderr
    assert len(runs(homeport, shop)) == 1 and homeport.get("/", host=shop.host)[1] == "1"


def test_control_plane_killed_mid_push(homeport: Homeport, shop: App) -> None:
    shop.write("1", replicas=1, build=SLOW)
    pushing = start_push(homeport, shop, "HEAD:main")
    homeport.wait(lambda: [r for r in runs(homeport, shop) if r["state"] == "running"])
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    output, _ = pushing.communicate(timeout=90)
    assert pushing.returncode == 0, output
    assert "Traceback" not in output
    assert homeport.get("/", host=shop.host)[1] == "1"


def test_a_preview(homeport: Homeport, shop: App) -> None:
    shop.write("1", replicas=1, more='\n[previews]\ndomain = "localhost"\n')
    assert push(homeport, shop, "HEAD:main").returncode == 0
    shop.write("hats", replicas=1, more='\n[previews]\ndomain = "localhost"\n')
    done = push(homeport, shop, "HEAD:refs/previews/hats")
    assert done.returncode == 0 and f"hats.{shop.name}.localhost" in done.stderr, done.stderr
    assert homeport.get("/", host=f"hats.{shop.name}.localhost")[1] == "hats"
    assert homeport.get("/", host=shop.host)[1] == "1"
    assert head(homeport, shop, "refs/previews/hats")
    done = push(homeport, shop, ":refs/previews/hats")
    assert done.returncode == 0, done.stderr
    homeport.wait(lambda: homeport.get("/", host=f"hats.{shop.name}.localhost")[0] == 404)
    assert not head(homeport, shop, "refs/previews/hats")


def test_over_ssh_by_a_forced_command(homeport: Homeport, shop: App, tmp_path: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZW1tZXJ0aWFtIGlzIGEgZ29vZCBuYW1lISEh"
    line = homeport.run("git-key", "anna", key).stdout.strip()
    forced = line.partition('command="')[2].partition('" ssh-')[0].replace('\\"', '"').replace("\\\\", "\\")
    ssh = tmp_path / "ssh"
    # What sshd does: the command that the client asks for is in a variable, the key's own is run by a shell.
    ssh.write_text(f'#!/bin/sh\nshift $(($# - 1))\nSSH_ORIGINAL_COMMAND="$1" exec /bin/sh -c {forced!r}\n')
    ssh.chmod(0o755)
    app = homeport.app("overssh")
    app.write("1", replicas=1)
    app.git("remote", "add", "homeport", "deploy@host:overssh.git")
    environment = homeport.env | {"GIT_SSH_COMMAND": str(ssh), "GIT_SSH_VARIANT": "simple"}
    done = subprocess.run(
        ["git", "push", "homeport", "HEAD:main"],
        cwd=app.directory,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert runs(homeport, app)[0]["actor"] == "anna"
    fetched = subprocess.run(
        ["git", "ls-remote", "homeport"], cwd=app.directory, env=environment, capture_output=True, text=True
    )
    assert app.git("rev-parse", "HEAD") in fetched.stdout
    for command in (
        "",
        "ls",
        "git-receive-pack '../x.git'",
        "git-receive-pack 'a.git'; id",
        "scp -t /",
        "git-receive-pack a b",
    ):
        refused = subprocess.run(
            ["/bin/sh", "-c", forced],
            env=homeport.env | {"SSH_ORIGINAL_COMMAND": command},
            capture_output=True,
            text=True,
        )
        assert refused.returncode != 0 and "cannot" in refused.stderr and not refused.stdout, command
    assert not (homeport.data / "repositories" / "a.git").exists()


def test_without_a_homeport(fresh_homeport: Homeport) -> None:
    homeport = fresh_homeport
    homeport.up()
    app = homeport.app()
    app.write("1", replicas=1)
    homeport.run("remote", cwd=app.directory)
    homeport.run("down")
    done = push(homeport, app, "HEAD:main")
    assert done.returncode != 0 and "it does not run" in done.stderr and "homeport up" in done.stderr
    assert not head(homeport, app) and is_clean(homeport, app)
