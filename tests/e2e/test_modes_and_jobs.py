"""Maintenance, read-only, scheduled commands and one-off commands, as people use them."""

import http.client
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest
from live import HOMEPORT

MORE = """
[read_only]
exempt = ["/login"]
[maintenance]
page = "closed.html"
[cron.tick]
schedule = "@every 1s"
command = "echo tick $HOMEPORT_RELEASE"
[cron.never-mind]
schedule = "0 0 1 1 *"
command = "echo out; echo broken >&2; exit 4"
retries = 1
retry_delay = "1s"
"""


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    (app.directory / "closed.html").write_text("<h1>Closed for today</h1>")
    app.write("1", more=MORE)
    homeport.deploy(app)
    return app


@pytest.fixture
def connection(homeport):
    """One connection that is kept alive over every switch."""
    kept = http.client.HTTPConnection("127.0.0.1", homeport.port, timeout=10)
    yield kept
    kept.close()


def ask(connection, method="GET", path="/", **headers):
    connection.request(
        method, path, body=b"x" if method == "POST" else None, headers={"Host": "shop.localhost"} | headers
    )
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_maintenance_turns_all_away_at_once_but_those_let_through(homeport, shop, connection):
    assert ask(connection)[0] == 200
    homeport.run(
        "maintenance", "on", "--message", 'Back <soon> "really"', "--until", "1h", cwd=shop.directory
    )
    status, body, headers = ask(connection)
    assert status == 503 and body == "<h1>Closed for today</h1>"
    assert {k.lower() for k in headers} >= {"retry-after"}
    status, body, _ = ask(connection, Accept="application/json")
    assert status == 503 and json.loads(body)["detail"] == 'Back <soon> "really"'
    assert "maintenance" in homeport.run("status").stdout
    shown = homeport.run("maintenance", "show", cwd=shop.directory).stdout
    assert "root" in shown or os.environ.get("USER", "") in shown
    assert "until" in shown
    homeport.run("maintenance", "on", "--allow", "127.0.0.0/8", cwd=shop.directory)
    assert ask(connection)[0] == 200
    homeport.run("maintenance", "off", cwd=shop.directory)
    assert ask(connection)[0] == 200
    done = homeport.run("maintenance", "off", cwd=shop.directory, status=5)
    assert "not on" in done.stderr
    kinds = [(e["kind"], e["data"].get("on")) for e in homeport.json("events", cwd=shop.directory)]
    assert ("mode.changed", True) in kinds and ("mode.changed", False) in kinds


def test_read_only_refuses_what_changes_something_but_on_exempt_paths(homeport, shop, connection):
    homeport.run("read-only", "on", cwd=shop.directory)
    assert ask(connection)[0] == 200
    status, _, headers = ask(connection, "POST")
    assert status == 503 and headers.get("content-type", headers.get("Content-Type")).startswith(
        "application/problem+json"
    )
    assert ask(connection, "POST", "/login")[0] == 200
    assert ask(connection, "POST", "/loginx")[0] == 503
    assert ask(connection, "POST", "/login/../x")[0] == 503
    homeport.run("read-only", "off", cwd=shop.directory)
    assert ask(connection, "POST")[0] == 200


def test_a_mode_ends_by_itself_and_survives_a_restart_of_everything(homeport, shop):
    homeport.run("maintenance", "on", cwd=shop.directory)
    homeport.run("down")
    homeport.run("up")
    homeport.wait(lambda: homeport.get()[0] == 503)
    homeport.run("maintenance", "on", "--until", "10s", cwd=shop.directory)
    homeport.wait(lambda: homeport.get()[0] == 200)
    assert homeport.run("maintenance", "show", cwd=shop.directory).stdout == "off\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--until", "yesterday"), "duration"),
        (("--until", "2020-01-01T00:00Z"), "passed"),
        (("--allow", "10.0.0.0/99"), "10.0.0.0/99"),
        (("--message", "bell \a"), "control character"),
    ],
)
def test_bad_modes_change_nothing(homeport, shop, arguments, says):
    done = homeport.run("maintenance", "on", *arguments, cwd=shop.directory, status=3)
    assert says in done.stderr
    assert homeport.get()[0] == 200


def test_cron_runs_by_the_clock_and_by_hand_and_keeps_what_was_printed(homeport, shop):
    listed = homeport.run("cron", "list", cwd=shop.directory).stdout
    assert "tick" in listed and "@every 1s" in listed and "never-mind" in listed
    homeport.wait(
        lambda: (
            sum(
                r["state"] == "succeeded"
                for r in homeport.json("cron", "history", "tick", cwd=shop.directory)
            )
            >= 3
        )
    )
    runs = homeport.json("cron", "history", "tick", cwd=shop.directory)
    due = [r["due_at"] for r in runs]
    assert len(set(due)) == len(due)
    done = homeport.run("cron", "run", "tick", cwd=shop.directory)
    assert "tick r1" in done.stdout and "succeeded" in done.stdout
    homeport.run("cron", "pause", "tick", cwd=shop.directory)
    assert "paused by" in homeport.run("cron", "list", cwd=shop.directory).stdout
    time.sleep(1.2)
    before = homeport.json("cron", "history", "tick", cwd=shop.directory)[0]["due_at"]
    time.sleep(2.2)
    assert homeport.json("cron", "history", "tick", cwd=shop.directory)[0]["due_at"] == before
    homeport.run("cron", "resume", "tick", cwd=shop.directory)
    homeport.wait(lambda: homeport.json("cron", "history", "tick", cwd=shop.directory)[0]["due_at"] > before)
    failed = homeport.run("cron", "run", "never-mind", cwd=shop.directory, status=1)
    assert "broken" in failed.stdout and "status 4" in failed.stdout
    done = homeport.run("cron", "run", "tock", cwd=shop.directory, status=4)
    assert "tick" in done.stderr


def test_a_one_off_has_the_apps_variables_and_gives_its_status(homeport, shop):
    homeport.run("secrets", "set", "TOKEN", cwd=shop.directory, stdin="hush-hush-hush")
    homeport.run("deploy", "--config-only", cwd=shop.directory)
    done = homeport.run(
        "run", "--", "sh", "-c", "echo $HOMEPORT_ENVIRONMENT $TOKEN; exit 7", cwd=shop.directory, status=7
    )
    assert done.stdout == "production hush-hush-hush\n"
    assert homeport.run("run", "--", "no-such-program", cwd=shop.directory, status=127).stderr
    events = [e for e in homeport.json("events", cwd=shop.directory) if e["kind"].startswith("command.")]
    assert events[-1]["kind"] == "command.ended" and events[-1]["data"]["status"] == 127
    homeport.run("run", "--", "sh", "-c", "kill -9 $$", cwd=shop.directory, status=137)


def test_a_one_off_on_a_terminal_is_interactive(homeport, shop):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.directory)
        os.execve(HOMEPORT, [str(HOMEPORT), "run", "--", "sh"], homeport.env)

    def until(end):
        found = b""
        while end not in found:
            assert select.select([terminal], [], [], 20)[0], found
            found += os.read(terminal, 1000)
        return found

    os.write(terminal, b"stty size; test -t 0 && echo is-a-$((1+1))-tty\n")
    until(b"is-a-2-tty")
    os.write(terminal, b"sleep 100; echo went-$((2+2))-on\n")
    time.sleep(1)
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo still-$((3+3))-here; exit 5\n")
    assert b"went-4-on" not in until(b"still-6-here")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)


def test_a_one_off_whose_terminal_goes_away_leaves_nothing(homeport, shop):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.directory)
        script = "trap '' HUP; (trap '' HUP; sleep 971) & echo ready; sleep 972"
        os.execve(HOMEPORT, [str(HOMEPORT), "run", "--", "sh", "-c", script], homeport.env)
    found = b""
    while b"ready" not in found:
        found += os.read(terminal, 1000)
    assert [n for n in homeport.pids().values() if ".run." in n]
    os.close(terminal)
    homeport.wait(lambda: not [n for n in homeport.pids().values() if ".run." in n], seconds=20)
    os.waitpid(pid, 0)


def test_a_caller_that_is_killed_takes_the_command_along(homeport, shop):
    child = subprocess.Popen(
        [HOMEPORT, "run", "--", "sleep", "973"],
        cwd=shop.directory,
        env=homeport.env,
        stdin=subprocess.DEVNULL,
    )
    homeport.wait(lambda: [n for n in homeport.pids().values() if ".run." in n])
    child.send_signal(signal.SIGKILL)
    child.wait()
    homeport.wait(lambda: not [n for n in homeport.pids().values() if ".run." in n])


def test_a_caller_that_is_killed_takes_even_a_stubborn_command_along(homeport, shop):
    script = "trap '' HUP TERM; echo deaf; while true; do sleep 0.2; done"
    child = subprocess.Popen(
        [HOMEPORT, "run", "--", "sh", "-c", script],
        cwd=shop.directory,
        env=homeport.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    with child.stdout as out:
        assert out.readline() == b"deaf\n"
        child.send_signal(signal.SIGKILL)
    child.wait()
    homeport.wait(lambda: not [n for n in homeport.pids().values() if ".run." in n])

    def ended():
        told = homeport.json("events", "-n", "1000", cwd=shop.directory)
        return [e["data"]["status"] for e in told if e["kind"] == "command.ended"]

    homeport.wait(lambda: ended()[-1:] == [137], what="its end is told")


def test_a_one_off_runs_as_the_apps_user(homeport):
    if os.geteuid() != 0:
        return
    homeport.work.chmod(0o755)
    homeport.data.chmod(0o711)
    app = homeport.app("nobodys")
    app.write("1", process='user = "nobody"')
    homeport.deploy(app)
    assert homeport.run("run", "--", "id", "-un", cwd=app.directory).stdout == "nobody\n"


def test_destroying_an_app_ends_its_jobs(homeport):
    app = homeport.app("jobs")
    app.write("1", more='\n[cron.long]\nschedule = "0 0 1 1 *"\ncommand = "sleep 974"\n')
    homeport.deploy(app)
    running = homeport.start("cron", "run", "long", cwd=app.directory)
    homeport.wait(lambda: [n for n in homeport.pids().values() if n.startswith("jobs.production.cron")])
    homeport.run("destroy", "jobs", "--yes", "jobs")
    homeport.wait(lambda: not [n for n in homeport.pids().values() if n.startswith("jobs.")])
    running.wait(20)
    assert "Traceback" not in running.stdout.read()
    running.stdout.close()


def test_maintenance_without_the_apps_page_is_on_all_the_same_and_says_so(homeport):
    app = homeport.app("pageless")
    app.write("1", more='\n[maintenance]\npage = "nothere.html"\n')
    homeport.deploy(app)
    done = homeport.run("maintenance", "on", "--message", "soon", cwd=app.directory)
    assert "nothere.html" in done.stderr
    status, body, _ = homeport.get(host=app.host)
    assert status == 503 and "soon" in body


def test_what_the_edge_could_not_put_in_force_is_refused_by_the_deploy(homeport):
    app = homeport.app("exempting")
    paths = ", ".join(f'"/p{n}"' for n in range(101))
    app.write("1", more=f"\n[read_only]\nexempt = [{paths}]\n")
    assert "100" in homeport.deploy(app, status=3).stderr
    assert "exempting" not in [a["name"] for a in homeport.json("apps")]
