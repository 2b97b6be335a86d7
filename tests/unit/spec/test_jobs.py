"""Workers, scheduled commands, hooks, storage and modes: what is read, and what is refused."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import Cron, Heartbeat, Hook, Liveness, Maintenance, ReadOnly, Spec, Storage
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'


def read(text: str) -> Spec:
    return parse(APP + text)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_a_worker() -> None:
    spec = read("""[processes.worker]
command = "work"
start = "after-traffic"
exclusive = true
liveness = { command = "check", interval = "1m", timeout = "2s", unhealthy_after = 5 }
heartbeat = { file = "./tmp/beat", max_age = "5s" }
""")
    worker = spec.processes[1]
    assert (worker.start, worker.exclusive) == ("after-traffic", True)
    assert worker.liveness == Liveness("check", 60.0, 2.0, 5)
    assert worker.heartbeat == Heartbeat("tmp/beat", 5.0)
    assert (spec.processes[0].start, spec.processes[0].liveness) == ("before-traffic", None)


def test_a_scheduled_command() -> None:
    [short, full] = read("""[cron.short]
schedule = "@every 10m"
command = "x"
[cron.full]
schedule = " 0 3 * * 1-5 "
command = "x"
timezone = "Europe/Berlin"
overlap = "replace"
timeout = "1m"
retries = 3
retry_delay = "1s"
missed = "all"
random_delay = "2m"
user = "www-data"
memory = "1GB"
cpu = 0.5
stop_grace = "1s"
[cron.off]
schedule = "@daily"
command = "x"
enabled = false
""").cron
    assert short == Cron("short", "@every 10m", "x")
    assert full == Cron(
        "full", "0 3 * * 1-5", "x", "Europe/Berlin", "replace", 60.0, 3, 1.0, "all", 120.0, "www-data",
        1_000_000_000, 0.5, 1.0,
    )  # fmt: skip


def test_hooks_come_in_the_order_in_which_they_run() -> None:
    spec = read("""[hooks]
after-rollback = "d"
before-traffic = { command = "b", timeout = "1s" }
before-build = " a "
""")
    assert spec.hooks == (
        Hook("before-build", "a"),
        Hook("before-traffic", "b", 1.0),
        Hook("after-rollback", "d"),
    )
    assert spec.hook("before-build") is spec.hooks[0]
    assert spec.hook("after-build") is None


def test_storage_and_modes() -> None:
    spec = read("""[storage]
a = { path = "./var//uploads/" }
b = { path = "var/uploads-b" }
[maintenance]
page = "public/m.html"
retry_after = "5s"
[read_only]
exempt = ["/login", "/api/v1/"]
""")
    assert spec.storage == (Storage("a", "var/uploads"), Storage("b", "var/uploads-b"))
    assert spec.maintenance == Maintenance("public/m.html", 5.0)
    assert spec.read_only == ReadOnly(("/login", "/api/v1"))
    assert read("").maintenance == Maintenance()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("start = 'after-traffic'\nexclusive = true\nliveness = { command = 'x' }\nheartbeat = { file = 'x' }", [
            f"{5 + n}: at 'processes.web.{key}': is for a worker, and a route leads to this process: take it out, or "
            "the route" for n, key in enumerate(("start", "exclusive", "liveness", "heartbeat"))]),
        ("[processes.w]\ncommand = 'x'\nstart = 'never'",
         ["7: at 'processes.w.start': must be \"before-traffic\" or \"after-traffic\", got \"never\""]),
        ("[processes.w]\ncommand = 'x'\nliveness = {}\nheartbeat = {}",
         ["7: at 'processes.w.liveness': needs a key \"command\"",
          "8: at 'processes.w.heartbeat': needs a key \"file\""]),
        ("[processes.w]\ncommand = 'x'\nliveness = 'x'\nheartbeat = { file = '/x' }",
         ["7: at 'processes.w.liveness': must be a table, got \"x\"",
          "8: at 'processes.w.heartbeat.file': must be relative to the top of the release, such as \"tmp/alive\", got "
          "\"/x\""]),
        *((f"[processes.{name}]\ncommand = 'x'",
           [f"5: at 'processes.{name}': must not begin with \"cron-\" or \"run-\" or \"hook-\": such names are "
            "Homeport's own"]) for name in ("cron-x", "run-1", "hook-x")),
        ("[cron.a]\n", ["5: at 'cron.a': needs a key \"schedule\"", "5: at 'cron.a': needs a key \"command\""]),
        ("[cron]\na = 'x'\nschedule = 'x'",
         ["6: at 'cron.a': must be a table, got \"x\"",
          "7: at 'cron.schedule': belongs in a table, such as [cron.nightly]"]),
        (f"[cron.{'a' * 31}]\nschedule = '@daily'\ncommand = 'x'",
         [f"5: at 'cron.{'a' * 31}': must be a name: 1 to 30 of a-z, 0-9 and inner hyphens, a letter first, such as "
          f"\"shop\", got \"{'a' * 31}\""]),
        ("[cron.a]\nschedule = '0 0 30 2 *'\ncommand = 'x'",
         ["6: at 'cron.a.schedule': must be a time that comes: \"0 0 30 2 *\" never does"]),
        ("[cron.a]\nschedule = '@daily'\ncommand = 'x'\ntimezone = 'Europe/Berln'",
         ["8: at 'cron.a.timezone': must be a time zone: did you mean \"Europe/Berlin\"?"]),
        ("[cron.a]\nschedule = 3\ncommand = 'x'\noverlap = 'no'",
         ["6: at 'cron.a.schedule': must be text in quotes, got 3",
          "8: at 'cron.a.overlap': must be \"skip\" or \"queue\" or \"replace\", got \"no\""]),
        ("[cron.daily]\nschedule = '@daily'\ncommand = 'x'\n[cron.dayly]\nenabled = false",
         ["8: at 'cron.dayly': is no command that could be left out; did you mean \"daily\"?"]),
        ("[hooks]\nbefore_build = 'x'", ["6: at 'hooks.before_build': unknown key; did you mean \"before-build\"?"]),
        ("[hooks]\nbefore-build = 1\nafter-build = { timeout = '1s' }\nafter-traffic = { comand = 'x' }",
         ["6: at 'hooks.before-build': must be a shell command in quotes, got 1",
          "7: at 'hooks.after-build': needs a key \"command\"",
          "8: at 'hooks.after-traffic.comand': unknown key; did you mean \"command\"?",
          "8: at 'hooks.after-traffic': needs a key \"command\""]),
        ("[storage.a]\npath = '.'",
         ["6: at 'storage.a.path': must lie below the top of the release, such as \"var/uploads\", got \".\""]),
        ("[storage.a]\npath = '../a'", ["6: at 'storage.a.path': must stay inside the release: no \"..\", got \"../a\""]),
        ("[storage.a]\npath = 'var'\n[storage.b]\npath = 'var/'\n[storage.c]\npath = 'var/c/d'\n[storage.d]\n"
         "path = 'var-d'",
         ["8: at 'storage.b.path': is the same directory as 'storage.a.path' in line 6",
          "10: at 'storage.c.path': lies inside of the one of 'storage.a.path' in line 6"]),
        ("[storage.a]", ["5: at 'storage.a': needs a key \"path\""]),
        ("[maintenance]\npage = '/etc/passwd'\nretry_after = 5",
         ["6: at 'maintenance.page': must be relative to the top of the release, such as "
          '"public/maintenance.html", got "/etc/passwd"',
          "7: at 'maintenance.retry_after': must be a duration from 1s to 7d, such as \"30s\" or \"10m\", got 5"]),
        ("[read_only]\nexempt = '/x'",
         ["6: at 'read_only.exempt': must be an array of URL paths, such as [\"/login\"], got \"/x\""]),
        ("[read_only]\nexempt = ['login']",
         ["6: at 'read_only.exempt': must be URL paths that begin with \"/\", such as \"/login\", got \"login\" in it"]),
        ("[read_only]\nexempt = ['/a/../b']",
         ["6: at 'read_only.exempt': must have a path without \"//\", \".\" or \"..\", got \"/a/../b\""]),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, problem: list[str]) -> None:
    assert problems(text) == problem


def test_nothing_unprintable_of_a_schedule_gets_into_a_message() -> None:
    for schedule in (
        "\\u202e * * * *",
        "\\u2028",
        "0 0 30 2 \\u0007*",
        "@\\u202eevery",
        "\\u001b[31m 1 1 1 1",
    ):
        for problem in problems(f'[cron.a]\nschedule = "{schedule}"\ncommand = "x"'):
            assert problem.isprintable()


def test_a_flood_of_schedules_that_are_wrong_is_not_searched_to_the_end() -> None:
    crons = "".join(
        f"[cron.c{n}]\nschedule = '@daily'\ncommand = 'x'\ntimezone = 'Europe/B{n}'\n" for n in range(150)
    )
    assert len(problems(crons)) == 20
    assert problems("".join(f"[cron.c{n}]\n" for n in range(201))) == [
        "5: at 'cron': has 201 commands; at most 200 are possible"
    ]
