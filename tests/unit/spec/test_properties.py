"""For any text: a spec or one HomeportError. For any valid spec: writing and reading gives it back."""

import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, ProcessName
from homeport.kernel.variables import is_reserved
from homeport.spec.model import (
    HOOKS,
    MISSED,
    OVERLAPS,
    STARTS,
    STRATEGIES,
    Build,
    Cron,
    Health,
    Heartbeat,
    Hook,
    Liveness,
    Maintenance,
    Process,
    ReadOnly,
    Rollout,
    Route,
    Spec,
    Storage,
    Variable,
)
from homeport.spec.parse import parse
from homeport.spec.read_processes import OWN_NAMES
from homeport.spec.reference import EXAMPLE, toml
from homeport.spec.values import quoted

quick = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

LINE = re.compile(r"homeport\.toml:\d+: \S.*")


def parses_or_is_refused(text: str) -> None:
    try:
        spec = parse(text)
    except HomeportError as error:
        assert error.code == "spec.invalid"
        assert error.sentence.startswith("cannot ")
        assert error.details
        for detail in error.details:
            assert detail.isprintable()
            match = LINE.fullmatch(detail)
            assert match, detail
            assert 1 <= int(detail.split(":")[1]) <= text.count("\n") + 1
    else:
        assert isinstance(spec, Spec)


@quick
@given(st.text())
def test_any_text(text: str) -> None:
    parses_or_is_refused(text)


@quick
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_with_lone_surrogates_in_a_string(text: str) -> None:
    parses_or_is_refused("x = '" + text + "'")


PIECES = st.sampled_from(
    [
        *EXAMPLE.splitlines(keepends=True),
        *("[", "]", "[[", "]]", "{", "}", "=", ".", ",", '"', "'", '"""', "#", "\n", "\\", "\0", "é", "\r\n"),
        *(
            "routes",
            "processes",
            "env",
            "environments.",
            "cron",
            "inherits = 'preview'\n",
            "health = {}",
            "= 1",
            "= true",
            "= []",
            "= {}",
            "= 1e999",
            "= nan",
            "[[pipeline.stage]]\n",
            "kind = 'deploy'\n",
            "requests = [{}, 1, {}]\n",
            '"5%"',
        ),
        *(
            '= "*"',
            "= 1979-05-27",
            "= 0x" + "f" * 50,
            "app = 1\n",
            "[[processes]]\n",
            "[processes.web.x.y]\n",
        ),
    ]
)


@quick
@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 40), PIECES), min_size=1, max_size=4))
def test_any_mutation_of_a_valid_file(edits: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for position, removed, inserted in edits:
        text = text[:position] + inserted + text[position + removed :]
    parses_or_is_refused(text)


VALUES = st.recursive(
    st.one_of(
        st.sampled_from(
            ['"x"', '""', "'/a'", "0", "-1", "1.5", "nan", "inf", "true", "1979-05-27", "07:32:00"]
        ),
        st.integers().map(str),
        st.text(max_size=8).map(quoted),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["path", "command", "x", '"*"']), inner, max_size=2).map(
            lambda pairs: "{" + ", ".join(f"{k} = {v}" for k, v in pairs.items()) + "}"
        ),
    ),
    max_leaves=4,
)


@quick
@given(st.sampled_from([line for line in EXAMPLE.splitlines() if " = " in line]), VALUES)
def test_any_value_for_any_key(line: str, value: str) -> None:
    parses_or_is_refused(EXAMPLE.replace(line, f"{line.partition(' = ')[0]} = {value}"))


@quick
@given(st.lists(st.tuples(st.text(max_size=12).map(quoted), VALUES), max_size=4), st.sampled_from(
    ["", "app", "build", "processes", "processes.web", "processes.web.health", "routes", "env", "rollout",
     "variables", "variables.STRIPE_KEY", "cron", "cron.nightly-report", "hooks", "hooks.before-traffic", "storage",
     "storage.uploads", "maintenance", "read_only", "environments", "environments.staging",
     "environments.staging.variables", "environments.staging.cron.nightly-report", "environments.preview",
     "environments.production.rollout", "environments.production.hooks", "rollout.signals.checkout",
     "environments.production.rollout.signals.checkout", "environments.production", "pipeline", "[pipeline.stage]",
     "pipeline.stage.commands", "pipeline.stage.commands.tests", "pipeline.stage.budgets",
     "[pipeline.stage.requests]", "previews", "database", "database.main", "database.main.maintenance",
     "database.main.maintenance.daily-orders", "database.reports", "environments.staging.database.main", "cache",
     "cache.main", "environments.staging.cache.main"]
))  # fmt: skip
def test_any_keys_in_any_table(pairs: list[tuple[str, str]], table: str) -> None:
    lines = "".join(f"{key} = {value}\n" for key, value in pairs)
    head = f"[{table}]\n"
    text = (
        EXAMPLE.replace(head, head + lines)
        if head in EXAMPLE
        else (f"[{table}]\n" if table else "") + lines + EXAMPLE
    )
    parses_or_is_refused(text)


# Round trip: each model as people may write it.

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,12}[a-z0-9])?", fullmatch=True).filter(
    lambda name: not name.startswith(OWN_NAMES)
)
SHELL_LINES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30)


def milliseconds(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(int(low * 1000), int(high * 1000)).map(lambda ms: ms * 0.001)


HEALTHS = st.builds(
    Health,
    path=st.from_regex(r"/[!-\"$-~]{0,20}", fullmatch=True),
    interval=milliseconds(0.1, 300),
    timeout=milliseconds(0.1, 60),
    healthy_after=st.integers(1, 100),
    unhealthy_after=st.integers(1, 100),
)


FILES = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8})?", fullmatch=True)
LIVENESSES = st.builds(
    Liveness,
    command=SHELL_LINES,
    interval=milliseconds(1, 3600),
    timeout=milliseconds(0.1, 600),
    unhealthy_after=st.integers(1, 100),
)
HEARTBEATS = st.builds(Heartbeat, file=FILES, max_age=milliseconds(1, 86400))
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"), max_size=20)
VARIABLE_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: not is_reserved(name)
)


def variables(name: str) -> st.SearchStrategy[Variable]:
    described = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)
    return st.one_of(
        st.builds(Variable, st.just(name), TEXTS),
        st.builds(
            Variable,
            st.just(name),
            st.integers(-(2**62), 2**62).map(str),
            type=st.just("int"),
            pattern=st.just("[0-9]"),
            description=described,
        ),
        st.builds(Variable, st.just(name), st.just("b"), one_of=st.just(("a", "b"))),
        st.builds(Variable, st.just(name), required=st.booleans(), secret=st.booleans()),
        st.builds(
            Variable,
            st.just(name),
            secret=st.just(True),
            source=st.sampled_from(["file:/run/a", "command:pass show a"]),
        ),
    )


def crons(name: str) -> st.SearchStrategy[Cron]:
    return st.builds(
        Cron,
        name=st.just(name),
        schedule=st.sampled_from(["0 3 * * *", "*/5 * * * 1-5", "@hourly", "@every 90s"]),
        command=SHELL_LINES,
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        overlap=st.sampled_from(OVERLAPS),
        timeout=milliseconds(1, 86400),
        retries=st.integers(0, 100),
        retry_delay=milliseconds(1, 3600),
        missed=st.sampled_from(MISSED),
        random_delay=milliseconds(0, 3600),
        user=st.none() | st.just("www-data"),
        memory=st.none() | st.integers(8 * 10**6, 10**12),
        cpu=st.none() | st.floats(0.01, 1024),
        stop_grace=milliseconds(0, 3600),
    )


def processes(name: str, routed: bool) -> st.SearchStrategy[Process]:
    return st.builds(
        Process,
        name=st.just(ProcessName(name)),
        command=SHELL_LINES,
        health=HEALTHS if routed else st.just(Health()),
        replicas=st.integers(1, 100),
        memory=st.none() | st.integers(8_000_000, 10**12),
        cpu=st.none() | st.floats(0.01, 1024),
        user=st.none() | st.from_regex(r"[a-z_][a-z0-9_-]{0,31}", fullmatch=True),
        start_timeout=milliseconds(1, 3600),
        stop_grace=milliseconds(0, 3600),
        response_timeout=milliseconds(1, 86400) if routed else st.just(300.0),
        start=st.just("before-traffic") if routed else st.sampled_from(STARTS),
        exclusive=st.just(False) if routed else st.booleans(),
        liveness=st.none() if routed else st.none() | LIVENESSES,
        heartbeat=st.none() if routed else st.none() | HEARTBEATS,
    ) | (
        st.builds(
            Process,
            name=st.just(ProcessName(name)),
            command=st.just(""),
            static=st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8})?", fullmatch=True),
        )
        if routed
        else st.nothing()
    )


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    routed = draw(st.lists(NAMES, unique=True, max_size=2))
    workers = draw(
        st.lists(NAMES.filter(lambda n: n not in routed), unique=True, min_size=not routed, max_size=2)
    )
    keys = draw(
        st.lists(
            st.tuples(
                st.from_regex(r"\*|[a-z0-9]{1,10}(\.[a-z]{2,5}){0,2}", fullmatch=True),
                st.from_regex(r"/|(/[A-Za-z0-9_~-]{1,8}){1,2}", fullmatch=True),
            ),
            unique=True,
            min_size=len(routed),
            max_size=len(routed) * 2,
        )
    )
    return Spec(
        app=AppName(draw(NAMES)),
        build=draw(
            st.builds(
                Build,
                command=st.just("") | SHELL_LINES,
                timeout=milliseconds(1, 86400),
                disk=st.integers(10**6, 10**12),
            )
        ),
        processes=tuple(draw(processes(name, name in routed)) for name in (*routed, *workers)),
        routes=tuple(
            Route(host, prefix, ProcessName(routed[n % len(routed)])) for n, (host, prefix) in enumerate(keys)
        ),
        rollout=draw(
            st.builds(
                Rollout,
                strategy=st.sampled_from(STRATEGIES),
                drain=milliseconds(0, 3600),
                keep_warm=milliseconds(0, 7 * 86400),
                batch=st.integers(1, 100),
            )
        ),
        variables=tuple(
            draw(variables(name)) for name in draw(st.lists(VARIABLE_NAMES, unique=True, max_size=3))
        ),
        cron=tuple(draw(crons(name)) for name in draw(st.lists(NAMES, unique=True, max_size=2))),
        hooks=tuple(
            Hook(name, draw(SHELL_LINES), draw(milliseconds(1, 86400)))
            for name in HOOKS
            if draw(st.booleans())
        ),
        storage=tuple(
            Storage(name, f"{n}/{draw(FILES)}")
            for n, name in enumerate(draw(st.lists(NAMES, unique=True, max_size=3)))
        ),
        maintenance=draw(
            st.builds(Maintenance, page=st.just("") | FILES, retry_after=milliseconds(1, 86400))
        ),
        read_only=ReadOnly(tuple(draw(st.lists(st.sampled_from(["/", "/a", "/a/b"]), unique=True)))),
        default_environment=EnvironmentName(draw(NAMES)),
    )


def duration(seconds: float) -> str:
    return f'"{round(seconds * 1000)}ms"'


def size(count: int) -> str:
    return f'"{count}B"'


def worker(process: Process) -> list[str]:
    lines = [f"start = {quoted(process.start)}", f"exclusive = {toml(process.exclusive)}"]
    if (live := process.liveness) is not None:
        lines.append(
            f"liveness = {{ command = {quoted(live.command)}, interval = {duration(live.interval)}, "
            f"timeout = {duration(live.timeout)}, unhealthy_after = {live.unhealthy_after} }}"
        )
    if (beat := process.heartbeat) is not None:
        lines.append(f"heartbeat = {{ file = {quoted(beat.file)}, max_age = {duration(beat.max_age)} }}")
    return lines


def declared(variable: Variable) -> list[str]:
    lines = [f"[variables.{variable.name}]", f"type = {quoted(variable.type)}"]
    lines += [f"default = {quoted(variable.value)}"] if variable.value is not None else []
    lines += [f"{key} = true" for key in ("required", "secret") if getattr(variable, key)]
    lines += [f"pattern = {quoted(variable.pattern)}"] if variable.pattern else []
    lines += [f"one_of = {toml(variable.one_of)}"] if variable.one_of else []
    lines += [f"from = {quoted(variable.source)}"] if variable.source else []
    return [*lines, f"description = {quoted(variable.description)}"]


def scheduled(cron: Cron) -> list[str]:
    lines = [f"[cron.{cron.name}]"]
    for key in ("schedule", "command", "timezone", "overlap", "missed", "user"):
        value = getattr(cron, key)
        lines += [f"{key} = {quoted(value)}"] if value is not None else []
    for key in ("timeout", "retry_delay", "random_delay", "stop_grace"):
        lines.append(f"{key} = {duration(getattr(cron, key))}")
    lines.append(f"retries = {cron.retries}")
    lines += [f"memory = {size(cron.memory)}"] if cron.memory is not None else []
    lines += [f"cpu = {cron.cpu!r}"] if cron.cpu is not None else []
    return lines


def written(spec: Spec) -> str:
    """``spec`` as a homeport.toml that names every value."""
    build, rollout = spec.build, spec.rollout
    lines = ["[app]", f"name = {quoted(spec.app)}"]
    lines += [f"environment = {quoted(spec.default_environment)}", "[build]"]
    lines += [f"command = {quoted(build.command)}"] if build.command else []
    lines += [f"timeout = {duration(build.timeout)}", f"disk = {size(build.disk)}"]
    for process in spec.processes:
        lines.append(f"[processes.{process.name}]")
        what = ("static", process.static) if process.static else ("command", process.command)
        lines.append(f"{what[0]} = {quoted(what[1])}")
        lines.append(f"replicas = {process.replicas}")
        lines += [f"memory = {size(process.memory)}"] if process.memory is not None else []
        lines += [f"cpu = {process.cpu!r}"] if process.cpu is not None else []
        lines += [f"user = {quoted(process.user)}"] if process.user is not None else []
        lines.append(f"start_timeout = {duration(process.start_timeout)}")
        lines.append(f"stop_grace = {duration(process.stop_grace)}")
        if spec.is_routed(process.name):
            health = process.health
            lines.append(f"response_timeout = {duration(process.response_timeout)}")
            lines.append(f"[processes.{process.name}.health]")
            lines.append(f"path = {quoted(health.path)}")
            lines.append(f"interval = {duration(health.interval)}")
            lines.append(f"timeout = {duration(health.timeout)}")
            lines.append(f"healthy_after = {health.healthy_after}")
            lines.append(f"unhealthy_after = {health.unhealthy_after}")
        else:
            lines += worker(process)
    lines.append("[routes]")
    lines += [f"{quoted(route.host + route.prefix)} = {quoted(route.process)}" for route in spec.routes]
    for variable in spec.variables:
        lines += declared(variable)
    for cron in spec.cron:
        lines += scheduled(cron)
    for hook in spec.hooks:
        lines += [
            f"[hooks.{hook.name}]",
            f"command = {quoted(hook.command)}",
            f"timeout = {duration(hook.timeout)}",
        ]
    for storage in spec.storage:
        lines += [f"[storage.{storage.name}]", f"path = {quoted(storage.path)}"]
    lines.append("[maintenance]")
    lines += [f"page = {quoted(spec.maintenance.page)}"] if spec.maintenance.page else []
    lines.append(f"retry_after = {duration(spec.maintenance.retry_after)}")
    lines += ["[read_only]", f"exempt = {toml(spec.read_only.exempt)}"]
    lines.append("[rollout]")
    lines.append(f"strategy = {quoted(rollout.strategy)}")
    lines.append(f"drain = {duration(rollout.drain)}")
    lines.append(f"keep_warm = {duration(rollout.keep_warm)}")
    lines.append(f"batch = {rollout.batch}")
    return "\n".join(lines)


@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_a_spec_that_is_written_and_read_is_the_same(spec: Spec) -> None:
    assert parse(written(spec)) == spec


@settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_an_environment_that_says_all_of_it_again_is_the_same(spec: Spec) -> None:
    text = written(spec)
    again = text.partition("\n[processes.")[2]
    environment = f"[processes.{again}".replace("\n[", "\n[environments.all.")
    environment = environment.replace("[processes.", "[environments.all.processes.", 1)
    parsed = parse(f"{text}\n{environment}")
    assert parsed.for_environment("all") == replace(parsed, environments=()) == spec
