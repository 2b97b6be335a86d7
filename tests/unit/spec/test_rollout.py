"""How requests move and what judges it, and gates: what is read, and what is refused."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import STRATEGIES, Rollout, Signal, Spec
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'


def read(text: str) -> Spec:
    return parse(APP + text)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_a_rollout_with_every_key() -> None:
    spec = read("""[rollout]
strategy = "canary"
drain = "1m"
keep_warm = "0s"
batch = 2
steps = ["0.5%", "33.3%"]
bake = "0s"
max_error_rate = "0.1%"
max_latency_increase = "200%"
on_inconclusive = "ask"
watch_for = "0s"
sticky = true
pin = true
[rollout.signals.checkout]
url = "http://metrics.example.com:9090/q?r={release}&s={side}&x=%20"
json = "data.0.rate"
most = 2
compare = true
interval = "10s"
timeout = "250ms"
[rollout.signals.queue]
command = "bin/queue"
least = -1.5
most = 1000
""")
    assert spec.rollout == Rollout(
        "canary",
        60.0,
        0.0,
        2,
        (0.005, 0.333, 1.0),
        0.0,
        0.001,
        2.0,
        "ask",
        0.0,
        True,
        True,
        (
            Signal(
                "checkout",
                url="http://metrics.example.com:9090/q?r={release}&s={side}&x=%20",
                json="data.0.rate",
                most=2.0,
                compare=True,
                interval=10.0,
                timeout=0.25,
            ),
            Signal("queue", command="bin/queue", least=-1.5, most=1000.0),
        ),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy(strategy: str) -> None:
    assert read(f'[rollout]\nstrategy = "{strategy}"').rollout.strategy == strategy


def test_latency_need_not_be_judged() -> None:
    assert read("[rollout]\nmax_latency_increase = false").rollout.max_latency_increase is None


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        ('["100%"]', (1.0,)),
        ('["5%"]', (0.05, 1.0)),
        ('["0.01%", "99.99%", "100%"]', (0.0001, 0.9999, 1.0)),
        ("[" + ", ".join(f'"{n}%"' for n in range(1, 21)) + "]", (*(n / 100 for n in range(1, 21)), 1.0)),
    ],
)
def test_steps_end_with_all_requests(steps: str, shares: tuple[float, ...]) -> None:
    assert read(f"[rollout]\nsteps = {steps}").rollout.steps == shares


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("steps = []", 'must be an array of percentages, such as ["5%", "25%", "100%"], got an empty one'),
        ('steps = "5%"', 'must be an array of percentages, such as ["5%", "25%", "100%"], got "5%"'),
        ('steps = ["5"]', 'must be a percentage from 0% to 100%, such as "5%", got "5": write "5%"'),
        ("steps = [5, 10]", 'must be a percentage from 0% to 100%, such as "5%", got 5: write "5%"'),
        ("steps = [0.05]", 'must be a percentage from 0% to 100%, such as "5%", got 0.05: write "5%"'),
        ('steps = ["101%"]', 'must be a percentage from 0% to 100%, such as "5%", got "101%"'),
        ('steps = ["0%", "5%"]', 'must rise from above 0% to at most 100%, got "0%" in it'),
        ('steps = ["5%", "5%"]', 'must rise from above 0% to at most 100%, got "5%" in it'),
        ('steps = ["25%", "5%"]', 'must rise from above 0% to at most 100%, got "5%" in it'),
        ('steps = ["100%", "100%"]', 'must rise from above 0% to at most 100%, got "100%" in it'),
        (f"steps = {['1%'] * 21}", "must be at most 20 percentages, got 21"),
        ("max_error_rate = 1", 'must be a percentage from 0% to 100%, such as "5%", got 1: write "1%"'),
        (
            "max_error_rate = false",
            'must be a percentage from 0% to 100%, such as "5%", got false',
        ),
        (
            "max_latency_increase = true",
            'must be a percentage from 0% to 10000%, such as "5%", got true (false means: latency is not judged)',
        ),
        (
            'on_inconclusive = "waite"',
            'must be "wait" or "ask" or "continue", got "waite"; did you mean "wait"?',
        ),
        ('pin = "yes"', 'must be true or false, got "yes"'),
        ("signals = 1", "must be a table, got 1"),
        ("step = 1", 'unknown key; did you mean "steps"?'),
    ],
)
def test_what_a_rollout_may_not_say(line: str, reason: str) -> None:
    key = line.partition(" ")[0]
    assert problems(f"[rollout]\n{line}") == [f"6: at 'rollout.{key}': {reason}"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("most = 1", ["5: at 'rollout.signals.a': needs a \"url\" that answers its number, or a \"command\" that "
                      "prints it"]),
        ("most = 1\nurl = 'http://a.b'\ncommand = 'x'",
         ["5: at 'rollout.signals.a': has both \"url\" and \"command\": a signal has one of them"]),
        ("command = 'x'", ["5: at 'rollout.signals.a': needs a bound: \"most\", \"least\" or both"]),
        ("", ["5: at 'rollout.signals.a': needs a \"url\" that answers its number, or a \"command\" that prints it",
              "5: at 'rollout.signals.a': needs a bound: \"most\", \"least\" or both"]),
        ("command = 'x'\nmost = 1\nleast = 2",
         ["8: at 'rollout.signals.a.least': must not be above \"most\", which is 1, got 2"]),
        ("command = 'x'\nmost = nan",
         ["7: at 'rollout.signals.a.most': must be a number from -1e+15 to 1e+15, got nan"]),
        ("command = 'x'\nmost = -2\ncompare = true",
         ["7: at 'rollout.signals.a.most': must not be below 0 with compare: it is a multiple of what the release "
          "before has, got -2"]),
        ("command = 'x'\nmost = 1\njson = 'a..b'",
         ["8: at 'rollout.signals.a.json': must be a JSON path, such as \"data.orders.0.rate\", got \"a..b\""]),
        ("command = 'x'\nmost = 1\nurls = 'x'",
         ["8: at 'rollout.signals.a.urls': unknown key; did you mean \"url\"?"]),
        ("command = 'x'\nmost = 1\ninterval = 5\ntimeout = 'x'",
         ["8: at 'rollout.signals.a.interval': must be a duration from 1s to 1h, such as \"30s\" or \"10m\", got 5",
          "9: at 'rollout.signals.a.timeout': must be a duration from 100ms to 1m, such as \"30s\" or \"10m\", got "
          '"x"']),
    ],
)  # fmt: skip
def test_what_a_signal_may_not_say(lines: str, told: list[str]) -> None:
    assert problems(f"[rollout.signals.a]\n{lines}") == told


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://a.b/c", "must be a URL, such as"),
        ("/rate", "must be a URL, such as"),
        ("https://a.b/{relase}", "must hold no braces but those of {release} and {side}"),
        ("https://a.b/}{", "must hold no braces but those of {release} and {side}"),
        ("https://a.b/{{side}}", "must hold no braces but those of {release} and {side}"),
        ("https://anna:hunter2@a.b/", "must hold no user and password"),
        ("https:///x", 'must be a host, such as "shop.example.com"'),
        ("https://a.b:0/", "must name a host, and maybe a port"),
        ("https://a.b:99999/", "must name a host, and maybe a port"),
        ("https://a.b:x/", "must name a host, and maybe a port"),
        ("https://a_b/", "must be a host name: letters, digits and inner hyphens"),
        ("https://a.b/ x", "must hold no spaces"),
        ("https://a.b/#x", "must hold no spaces"),
        ("https://ä.b/", "must hold no spaces"),
        ("https://a.b/\\\\", "must hold no spaces"),
        ("https://a.b/\\n", "must hold no spaces"),
        ("https://a.b/" + "x" * 2000, "must be of at most 2000 characters"),
    ],
)
def test_a_url_that_no_signal_has(url: str, reason: str) -> None:
    [problem] = problems(f'[rollout.signals.a]\nmost = 1\nurl = "{url}"')
    assert problem.startswith(f"7: at 'rollout.signals.a.url': {reason}")
    assert "hunter2" not in problem


def test_a_url_may_have_an_address_for_a_host() -> None:
    for url in ("http://127.0.0.1:9090/x", "http://[::1]:9090", "http://localhost?q={side}"):
        [signal] = read(f'[rollout.signals.a]\nmost = 1\nurl = "{url}"').rollout.signals
        assert signal.url == url


def test_names_and_number_of_signals() -> None:
    told = problems('[rollout.signals]\n"A b" = { command = "x", most = 1 }\nc = 1')
    assert told[0].startswith("6: at 'rollout.signals.\"A b\"': must be a name: 1 to 30 of a-z")
    assert told[1:] == ["7: at 'rollout.signals.c': must be a table, got 1"]
    many = "".join(f"s{n} = {{ command = 'x', most = 1 }}\n" for n in range(21))
    assert problems(f"[rollout.signals]\n{many}") == [
        "5: at 'rollout.signals': are 21; at most 20 are possible"
    ]


def test_an_environment_has_its_own_steps_and_signals() -> None:
    spec = read("""[rollout]
strategy = "canary"
steps = ["1%", "2%", "3%"]
[rollout.signals.a]
command = "a"
most = 1
[environments.staging.rollout]
steps = ["50%"]
max_latency_increase = false
[environments.staging.rollout.signals]
a = { most = 5 }
b = { command = "b", least = 2 }
[environments.qa]
inherits = "staging"
[environments.qa.rollout.signals.b]
least = 3
""")
    staging, qa = spec.for_environment("staging").rollout, spec.for_environment("qa").rollout
    assert (spec.rollout.steps, staging.steps) == ((0.01, 0.02, 0.03, 1.0), (0.5, 1.0))
    assert (spec.rollout.max_latency_increase, staging.max_latency_increase) == (0.5, None)
    assert spec.rollout.signals == (Signal("a", command="a", most=1.0),)
    assert staging.signals == (Signal("a", command="a", most=5.0), Signal("b", command="b", least=2.0))
    assert qa.signals == (Signal("a", command="a", most=5.0), Signal("b", command="b", least=3.0))


def test_an_error_of_an_environments_rollout_is_told_where_it_was_written_and_once() -> None:
    told = problems("""[rollout.signals.a]
command = "a"
most = 1
[environments.staging.rollout]
steps = [1]
[environments.staging.rollout.signals.a]
url = "http://a.b"
[environments.qa]
inherits = "staging"
""")
    assert [problem.partition(": ")[2].partition(": ")[0] for problem in told] == [
        "at 'environments.staging.rollout.steps'",
        "at 'environments.staging.rollout.signals.a'",
    ]
    assert told[0].startswith("9: ")
    assert told[1].startswith("10: ")


def test_a_gate_is_of_an_environment_and_inherited() -> None:
    spec = read("""[environments.production]
gate = "approval"
[environments.canada]
inherits = "production"
[environments.preview]
inherits = "production"
gate = false
[environments.staging]
""")
    gates = {name: spec.for_environment(name).gate for name, _ in spec.environments}
    assert gates == {"production": "approval", "canada": "approval", "preview": "", "staging": ""}
    assert spec.gate == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[environments.a]\ngate = 'aproval'",
         ["6: at 'environments.a.gate': must be \"approval\", got \"aproval\"; did you mean \"approval\"? "
          "(false means: no gate)"]),
        ("[environments.a]\ngate = true", ["6: at 'environments.a.gate': must be \"approval\", got true (false "
 "means: no gate)"]),
        ("gate = 'approval'", ["5: at 'processes.web.gate': unknown key; did you mean 'environments.NAME.gate'?"]),
        ("[rollout]\ngate = 'approval'\n[environments.a]",
         ["6: at 'rollout.gate': unknown key; did you mean 'environments.NAME.gate'?"]),
    ],
)  # fmt: skip
def test_what_is_no_gate(text: str, told: list[str]) -> None:
    assert problems(text) == told


def test_a_gate_of_the_app_is_refused_once() -> None:
    with pytest.raises(HomeportError) as caught:
        parse(f"gate = 3\n{APP}[environments.a]")
    assert caught.value.details == (
        "homeport.toml:1: at 'gate': unknown key; did you mean 'environments.NAME.gate'?",
    )
