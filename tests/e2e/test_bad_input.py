"""What people get wrong and machines do to them: a clear sentence, a hint, a stable exit status, nothing lost."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE, ROLLED_BACK, MISSING_PART, NO_SPACE = 3, 4, 5, 6, 7, 8, 9
NAME_HINT = "1 to 40 of a-z, 0-9 and inner hyphens"


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    app.write("1", replicas=1)
    homeport.deploy(app)
    return app


# Where there is no app, no commit, no repository


def test_no_spec(homeport, shop, refused):
    empty = homeport.work / "empty"
    empty.mkdir()
    for command in ("deploy", "ps", "logs", "rollback", "releases", "restart"):
        refused(command, cwd=empty, status=INVALID, says="no homeport.toml", hint="homeport init")


def test_no_repository_no_commit_and_a_spec_that_is_not_committed(homeport, shop, refused):
    bare = homeport.work / "bare"
    bare.mkdir()
    (bare / "homeport.toml").write_text((shop.directory / "homeport.toml").read_text())
    refused("deploy", cwd=bare, status=INVALID, says="in no git repository", hint="git init")
    young = homeport.app("young")
    (young.directory / "homeport.toml").write_text(
        (shop.directory / "homeport.toml").read_text().replace('"shop"', '"young"')
    )
    refused("deploy", cwd=young.directory, status=NOT_FOUND, says="has no commit yet", hint="git commit")
    (young.directory / ".gitignore").write_text("homeport.toml\n")
    young.commit("without the spec")
    refused("deploy", cwd=young.directory, status=INVALID, says="holds no homeport.toml", hint="git add")
    assert homeport.get()[:2] == (200, "1")


def test_a_commit_that_does_not_exist(homeport, shop, refused):
    for commit in ("nope", "0" * 40, "--output=/tmp/x", "HEAD^{tree}", "$(id)", "../../x"):
        hint = "git log --oneline"
        refused(
            "deploy", "--", commit, cwd=shop.directory, status=NOT_FOUND, says="cannot find commit", hint=hint
        )
    assert homeport.environment(shop)["serving"] == "r1"


def test_every_error_of_a_spec_in_one_go(homeport, shop, refused):
    broken = homeport.work / "broken"
    broken.mkdir()
    (broken / "homeport.toml").write_text('[app]\nname = "../../etc"\n[proceses.web]\ncommand = 3\n')
    done = refused("deploy", cwd=broken, status=INVALID, says="homeport.toml:2", hint="init --keys")
    assert "'app.name'" in done.stderr and 'did you mean "processes"' in done.stderr
    (broken / "homeport.toml").write_bytes(b"\xff\xfe\x00[app")
    refused("deploy", cwd=broken, status=INVALID, says="homeport.toml")


# Names


def test_unknown_app_environment_release_and_process(homeport, shop, refused):
    at = {"cwd": shop.directory}
    refused("ps", "--app", "shopp", status=NOT_FOUND, says="app 'shopp'", hint='did you mean "shop"')
    refused("destroy", "nope", "--yes", "nope", status=NOT_FOUND, says="app 'nope'", hint="known: shop")
    refused("ps", "--env", "staging", **at, status=NOT_FOUND, says="'staging'", hint="known: production")
    refused("rollback", "r99", **at, status=NOT_FOUND, says="release r99", hint="ready to serve: r1")
    refused("rollback", **at, status=CONFLICT, says="no earlier release", hint="homeport releases")
    refused("rollback", "r1", **at, status=CONFLICT, says="serves already")
    refused("exec", "--process", "nope", "true", **at, status=NOT_FOUND, says="process 'nope'", hint="web")
    refused("scale", "nosuch=1", **at, status=NOT_FOUND, says="process 'nosuch'", hint="known: web")


@pytest.mark.parametrize("bad", ["../../etc", "a b", "$(id)", "shop?x", "é", "Shop", "", "a\nb"])
def test_names_that_are_paths_or_shell_fragments(homeport, shop, refused, bad):
    at = {"cwd": shop.directory, "status": INVALID, "hint": NAME_HINT}
    refused("ps", f"--env={bad}", says="environment's name", **at)
    refused("deploy", f"--env={bad}", says="environment's name", **at)
    if bad:
        refused("ps", f"--app={bad}", says="app's name", **at)
        refused("destroy", "--yes", bad, "--", bad, says="app's name", **at)
    refused("scale", "--", f"{bad}=1", says="process's name", **at)
    release = {"cwd": shop.directory, "status": INVALID, "hint": "such as r3"}
    refused("rollback", "--", f"r1{bad}" if bad else "r0", says="as a release", **release)


def test_counts_that_cannot_be(homeport, shop, refused):
    at = {"cwd": shop.directory, "status": INVALID}
    refused("scale", "web=0", says="scale web to 0", hint="homeport destroy shop", **at)
    refused("scale", "web=101", says="scale web to 101", hint="0 to 100", **at)
    for bad in ("web=-1", "web", "web=", "web=²", "web=1.5", "web=0x2"):
        refused("scale", bad, says=f"cannot read {bad!r}", hint="web=3", **at)
    refused("scale", "web=1", "web=2", says="cannot read 'web=2'", hint="each process once", **at)
    refused("scale", "web=" + "9" * 5000, says="cannot scale web to 999999999", hint="0 to 100", **at)
    assert homeport.environment(shop)["processes"][0]["wanted"] == 1


def test_times_that_cannot_be_read(homeport, shop, refused):
    for bad in ("yesterday", "2026-13-45T00:00", "99999999999999d", "-1h"):
        refused(
            "logs",
            f"--since={bad}",
            cwd=shop.directory,
            status=INVALID,
            says="cannot read --since",
            hint="10m",
        )


def test_whoever_calls_may_have_any_name(homeport, shop):
    before = homeport.env
    try:
        for who in ("DOMAIN\\jo", "a\nb", "José", ""):
            homeport.env = before | {"LOGNAME": who}
            homeport.run("scale", "web=1", cwd=shop.directory)
    finally:
        homeport.env = before
    assert "DOMAIN_jo" in {e["actor"] for e in homeport.json("events", "-n", "50", cwd=shop.directory)}


def test_destroy_says_nothing_but_what_it_does(homeport, shop):
    done = homeport.run("destroy", "nope", "--yes", "nope", status=NOT_FOUND)
    assert "Warning" not in done.stderr


def test_runs_drills_and_schemas_that_are_not_there(homeport, shop, refused):
    for id in ("nope", "b-0123456789", "../x", "last"):
        for command in (("backup", "show"), ("backup", "cancel")):
            refused(
                *command, id, status=NOT_FOUND, says=f"cannot find run {id!r}", hint="homeport backup runs"
            )
        refused("drill", "show", id, status=NOT_FOUND, says=f"{id!r}", hint="homeport drill history")
    for name in ("restored_nope", "restored_20261121t163000"):
        refused(
            "restore", "merge", name, "--missing", "--confirm", "shop", cwd=shop.directory, status=NOT_FOUND,
            says=f"cannot merge {name}", hint="homeport restore list",
        )  # fmt: skip


# Starting


def test_a_port_in_use(homeport, fresh_homeport, refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = refused(
            "up", "--http", address, status=CONFLICT, says=f"cannot listen on {address}", hint="choose another",
            at=fresh_homeport,
        )  # fmt: skip
        assert f"(pid {os.getpid()})" in done.stderr
        refused(
            "up", "--https", address, status=CONFLICT, says=f"listen on {address}", hint="choose another",
            at=fresh_homeport,
        )  # fmt: skip
    # Another Homeport's edge is a stranger too.
    address = f"127.0.0.1:{homeport.port}"
    refused("up", "--http", address, status=CONFLICT, says="haproxy (pid", hint="choose", at=fresh_homeport)
    assert not fresh_homeport.pids()
    for bad in ("127.0.0.1:99999", "nope", "..:80", ":0", "1.2.3.4:http", "[::1:80", "a b:80"):
        refused("up", "--http", bad, status=None, says="cannot listen on", at=fresh_homeport)
    address = f"127.0.0.1:{fresh_homeport.port}"
    refused("up", "--http", address, "--https", address, status=INVALID, says="both", at=fresh_homeport)
    assert not fresh_homeport.pids()
    fresh_homeport.up()


def path_with(directory, *programs):
    """A PATH with these programs only."""
    directory.mkdir()
    for name in programs:
        (directory / name).symlink_to(shutil.which(name))
    return str(directory)


def test_an_old_haproxy_or_what_is_none(fresh_homeport, refused):
    fake = fresh_homeport.work / "fake"
    fake.mkdir()
    script = fake / "haproxy"
    at = {"at": fresh_homeport, "env": {"PATH": f"{fake}:{os.environ['PATH']}"}, "status": MISSING_PART}
    script.write_text("#!/bin/sh\necho 'HAProxy version 2.4.22-0ubuntu0.22.04.2 2023/08/14'\n")
    script.chmod(0o755)
    refused("up", says="HAProxy 2.4.22", hint="haproxy.debian.net", **at)
    script.write_text("#!/bin/sh\necho hello\n")
    refused("up", says="is not HAProxy", hint="apt-get install haproxy", **at)
    done = fresh_homeport.run("doctor", status=None)
    assert not fresh_homeport.pids() and done.returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide /usr/sbin from a program")
def test_no_haproxy(fresh_homeport):
    # It is looked for in the sbin directories too, so these are hidden, in a mount namespace of the test's own.
    hidden = fresh_homeport.work / "hidden"
    hidden.mkdir()
    found = Path(shutil.which("haproxy")).resolve()
    homeport = Path(os.path.dirname(os.path.abspath(__import__("sys").executable))) / "homeport"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this root is no mount point (a chroot): it cannot hide a directory")
    script = f"mount --bind {hidden} {found.parent} && exec {homeport} up"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=fresh_homeport.env, capture_output=True, text=True
    )
    assert done.returncode == MISSING_PART, done.stderr
    assert "cannot run the edge: HAProxy is not installed" in done.stderr
    assert "hint: apt-get install haproxy" in done.stderr and "Traceback" not in done.stderr
    assert not fresh_homeport.pids()


def test_a_data_directory_that_is_not_ours_or_newer_or_too_long(fresh_homeport, refused):
    at = {"at": fresh_homeport}
    fresh_homeport.data.mkdir()
    (fresh_homeport.data / "thesis.tex").write_text("years of work")
    refused("up", status=CONFLICT, says="'thesis.tex'", hint="an empty directory", **at)
    assert [p.name for p in fresh_homeport.data.iterdir()] == ["thesis.tex"]
    (fresh_homeport.data / "thesis.tex").unlink()
    mine = fresh_homeport.data / "homeport.json"
    mine.write_text('{"layout": 99, "http": "127.0.0.1:1", "https": null}')
    refused("up", status=CONFLICT, says="newer Homeport (layout 99", hint="install the newer", **at)
    refused("down", status=CONFLICT, says="newer Homeport (layout 99", hint="install the newer", **at)
    for foreign in ("[1, 2]", "{}", '{"http": 5}', '{"layout": "x", "http": "nope", "https": null}'):
        mine.write_text(foreign)
        refused("up", status=None, says="homeport.json", **at)
    mine.write_text('{"layout": 1, "ht')
    refused("up", status=1, says="not valid JSON", hint="truncated", **at)
    assert mine.read_text() == '{"layout": 1, "ht'
    long = fresh_homeport.work / ("x" * 120)
    refused("up", "--data-dir", str(long), status=INVALID, says="unix socket may have", hint="a short", **at)
    refused("up", "--data-dir", "/proc/nope", status=1, says="cannot use /proc/nope", hint="--data-dir", **at)
    file = fresh_homeport.work / "file"
    file.write_text("")
    refused("up", "--data-dir", str(file / "below"), status=1, says="cannot use", hint="--data-dir", **at)
    assert not fresh_homeport.pids()


def test_two_ups_at_once_make_one_homeport(fresh_homeport):
    ups = [fresh_homeport.start("up") for _ in range(3)]
    outs = [u.communicate(timeout=90)[0] for u in ups]
    assert 0 in [u.returncode for u in ups], outs
    for up, out in zip(ups, outs, strict=True):
        assert "Traceback" not in out
        assert up.returncode in (0, CONFLICT), out
        assert up.returncode == 0 or ("cannot start Homeport" in out and "hint: " in out)
    names = sorted(fresh_homeport.pids().values())
    assert names.count("serve") == 1 and names.count("logd") == 1

    def supervisors():
        pids = fresh_homeport.pids() | {fresh_homeport.supervisord(): ""}
        paths = [Path(f"/proc/{pid}/cmdline") for pid in pids]
        return [p for p in paths if b"supervisord.conf" in (p.read_bytes() if p.exists() else b"")]

    fresh_homeport.wait(lambda: len(supervisors()) == 1)
    assert "runs already" in fresh_homeport.run("up").stdout
    other = f"127.0.0.1:{fresh_homeport.port + 1}"
    done = fresh_homeport.run("up", "--http", other, status=CONFLICT)
    assert "on other addresses" in done.stderr and "homeport down first" in done.stderr


# A full disk


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(fresh_homeport, refused):
    fresh_homeport.data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=340m", "tmpfs", str(fresh_homeport.data)]
    subprocess.run(mount, check=True)
    try:
        fresh_homeport.up()
        app = fresh_homeport.app("shop")
        app.write("1", replicas=1)
        fresh_homeport.deploy(app)
        at = {"cwd": app.directory, "at": fresh_homeport}
        app.write("filling", build='command = "head -c 200000000 /dev/zero > big; sleep 30"')
        done = fresh_homeport.run("deploy", cwd=app.directory, status=None)
        assert done.returncode in (ROLLED_BACK, NO_SPACE) and "cannot build: the disk is full" in done.stderr
        with open(fresh_homeport.data / "filler", "wb") as filler:
            filler.write(bytes(100_000_000))
        app.write("2", replicas=1)
        refused("deploy", status=NO_SPACE, says="are free for", hint="remove something", **at)
        assert fresh_homeport.get(host=app.host)[:2] == (200, "1")
        with open(fresh_homeport.data / "filler", "ab", buffering=0) as filler:
            try:
                while filler.write(bytes(100_000)):
                    pass
            except OSError:
                pass
        refused("deploy", status=NO_SPACE, says="free", hint="remove something", **at)
        refused("scale", "web=2", status=NO_SPACE, says="the disk is full", hint="make room", **at)
        for _ in range(20):
            assert fresh_homeport.get(host=app.host)[:2] == (200, "1")
        assert fresh_homeport.environment(app)["health"] == "up"
        done = fresh_homeport.run("doctor", status=1)
        assert "✗ disk" in done.stdout
        fresh_homeport.run("down")
        refused("up", status=NO_SPACE, says="No space left", at=fresh_homeport)
        (fresh_homeport.data / "filler").unlink()
        fresh_homeport.up()
        assert fresh_homeport.wait(lambda: fresh_homeport.get(host=app.host)[:2] == (200, "1"))
        fresh_homeport.run("scale", "web=2", cwd=app.directory)
    finally:
        fresh_homeport.run("down", status=None)
        subprocess.run(["umount", "-l", str(fresh_homeport.data)], check=True)


# Apps that do not behave


def test_a_health_path_that_redirects_and_one_that_is_slow(homeport, shop):
    shop.write("redirects", start_timeout="8s", after='def health(h): h.answer(302, "", Location="/login")')
    done = homeport.deploy(shop, status=ROLLED_BACK)
    assert "/health answered 302 to /login; it must answer 2xx itself" in done.stderr
    assert "r1 serves production on" in done.stderr and "hint: " in done.stderr
    shop.write("slow", start_timeout="8s", after='def health(h): time.sleep(4); h.answer(200, "well")')
    assert "no answer within 2 s" in homeport.deploy(shop, status=ROLLED_BACK).stderr
    # Slow, but within its timeout: that is an answer.
    shop.write("patient", replicas=1, after='def health(h): time.sleep(1); h.answer(200, "well")')
    homeport.deploy(shop)
    assert homeport.get()[1] == "patient"


def test_an_app_that_binds_late_or_elsewhere(homeport, shop):
    shop.write("late", replicas=1, extra="time.sleep(3)")
    homeport.deploy(shop)
    assert homeport.get()[1] == "late"
    text = (shop.directory / "app.py").read_text()
    shop.write("elsewhere", start_timeout="2s", replicas=1)
    text = (shop.directory / "app.py").read_text().replace('int(os.environ["PORT"])', "0")
    (shop.directory / "app.py").write_text(text)
    shop.commit("elsewhere")
    done = homeport.deploy(shop, status=ROLLED_BACK)
    assert "connection refused" in done.stderr and "$PORT" in done.stderr
    assert homeport.get()[1] == "late"


def test_an_app_that_ignores_sigterm_and_forks_away_leaves_nothing(homeport):
    app = homeport.app("stubborn")
    app.write(
        "1",
        replicas=1,
        keep_warm="0s",
        extra="import subprocess\n"
        'subprocess.Popen("trap : TERM; while :; do sleep 1; done", shell=True, start_new_session=True)\n'
        "if os.fork() == 0:\n"
        "    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    if os.fork() == 0: time.sleep(1000)\n"
        "    time.sleep(1000)\n",
    )
    text = (app.directory / "app.py").read_text()
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint"
    (app.directory / "app.py").write_text(text.replace("print", stubborn, 1))
    app.commit("stubborn")
    homeport.deploy(app)
    mine = [pid for pid, name in homeport.pids().items() if name.startswith("stubborn.")]
    assert len(mine) >= 4
    homeport.run("restart", cwd=app.directory)
    homeport.wait(lambda: not set(mine) & homeport.pids().keys(), seconds=20)
    assert homeport.get(host=app.host)[0] == 200
    homeport.run("destroy", "stubborn", "--yes", "stubborn")
    assert not [n for n in homeport.pids().values() if n.startswith("stubborn.")]


def test_an_app_that_prints_100_mb_keeps_the_disk_bounded_and_others_logs_coming(homeport, shop):
    shop.write("quiet", replicas=1, keep_warm="0s")
    homeport.deploy(shop)
    app = homeport.app("loud")
    app.write(
        "1", replicas=1, extra='line = "x" * 999\nfor i in range(100_000): print(i, line)\nsys.stdout.flush()'
    )
    deploying = homeport.start("deploy", "-q", cwd=app.directory)
    homeport.run("restart", cwd=shop.directory)
    homeport.wait(
        lambda: "listening as quiet" in homeport.run("logs", "-n", "5", cwd=shop.directory).stdout, seconds=10
    )
    out, _ = deploying.communicate(timeout=150)
    assert deploying.returncode == 0, out
    logs = [p for p in homeport.data.rglob("*") if p.is_file() and "loud.production" in p.name]
    assert sum(p.stat().st_size for p in logs) < 60_000_000
    assert "99999 xxx" in homeport.run("logs", "-n", "3", cwd=app.directory).stdout
    homeport.run("destroy", "loud", "--yes", "loud")


def test_a_build_that_prints_control_characters_cannot_touch_the_screen(homeport, shop):
    printed = r"printf '\033[2J\033]0;owned\007red\033[31m\rback\r\n\303\050 \342\200\256evil\n'"
    shop.write("printing", replicas=1, build=f"command = '''{printed}'''")
    done = homeport.deploy(shop)
    shop.write("printing 2", build=f"command = '''{printed}; exit 3'''")
    failed = homeport.deploy(shop, status=ROLLED_BACK)
    for text in (done.stdout, done.stderr, failed.stdout, failed.stderr):
        assert not [c for c in text if c != "\n" and not c.isprintable()], repr(text)
    assert "evil" in done.stdout and "status 3" in failed.stderr


def test_a_build_that_prints_100_mb_keeps_a_bounded_log(homeport, shop):
    shop.write(
        "verbose", replicas=1, build='command = "yes 0123456789abcdef | head -c 100000000; echo the end"'
    )
    homeport.deploy(shop, "-q")
    release = homeport.environment(shop)["serving"]
    log = homeport.data / "releases" / "shop" / f"{release}.log"
    assert log.stat().st_size < 21_000_000
    assert b"more output was not kept" in log.read_bytes()[-200:]
    assert homeport.get()[1] == "verbose"


def test_a_deploy_while_another_runs_is_refused_by_name_and_can_take_over(homeport, shop, refused):
    shop.write("hanging", build='command = "sleep 60"')
    first = homeport.start("deploy", cwd=shop.directory)
    running = homeport.wait(
        lambda: (c := homeport.environment(shop)["change"]) and not c["done"] and c, seconds=20
    )
    shop.write("taking over", replicas=1)
    at = {"cwd": shop.directory, "status": CONFLICT, "says": f"deploy {running['id']} of shop to"}
    refused("deploy", hint="--replace", **at)
    refused("scale", "web=2", hint="--replace", **at)
    refused("restart", hint="--replace", **at)
    refused("rollback", hint="--replace", **at)
    homeport.deploy(shop, "--replace")
    assert homeport.get()[1] == "taking over"
    out, _ = first.communicate(timeout=150)
    assert first.returncode == ROLLED_BACK and "Traceback" not in out
    assert "taken over" in out or "took over" in out
    assert not [n for n in homeport.pids().values() if ".build." in n]


def test_two_apps_want_the_same_route(homeport, shop, refused):
    thief = homeport.app("thief")
    thief.write("1", host="shop.localhost")
    refused(
        "deploy", cwd=thief.directory, status=CONFLICT, hint="[routes]",
        says="cannot route shop.localhost/ to thief: shop (production) has it",
    )  # fmt: skip
    assert homeport.get()[0] == 200 and homeport.get()[1] != "1"
    assert [a["name"] for a in homeport.json("apps")] == ["shop"]
