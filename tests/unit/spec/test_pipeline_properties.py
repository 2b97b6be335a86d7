"""Rollouts, pipelines and previews: what is written and read is the same, wherever it may be written."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeport.kernel.ids import EnvironmentName
from homeport.spec.model import (
    INCONCLUSIVE,
    ON_NEWER,
    STRATEGIES,
    Budget,
    Check,
    Pipeline,
    Previews,
    Rollout,
    Signal,
    SmokeRequest,
    Stage,
)
from homeport.spec.parse import parse
from homeport.spec.pipelines import stages_of
from homeport.spec.values import quoted

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'
GATED = '[environments.staging]\n[environments.production]\ngate = "approval"\n'

few = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))

SHELL_LINES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
LINES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
SHARES = st.integers(1, 100_000).map(lambda n: n / 100_000)
NUMBERS = st.integers(-1000, 1000) | st.floats(-1e9, 1e9)
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept", "X-A", "cookie"]), st.from_regex(r"[!-~]{0,9}", fullmatch=True)
)


def seconds(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(int(low * 1000), int(high * 1000)).map(lambda ms: ms * 0.001)


def signals(name: str) -> st.SearchStrategy[Signal]:
    bounds = st.sampled_from([(1.5, None), (None, 0.0), (2.0, 1.0)])
    where = st.tuples(st.just("https://a.b/{release}?x={side}"), st.just("")) | st.tuples(
        st.just(""), SHELL_LINES
    )
    return st.builds(
        lambda bounds, where, **rest: Signal(name, *where, most=bounds[0], least=bounds[1], **rest),
        bounds,
        where,
        json=st.sampled_from(["", "a", "a.0.b"]),
        compare=st.booleans(),
        interval=seconds(1, 3600),
        timeout=seconds(0.1, 60),
    )


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    steps = draw(st.lists(SHARES, unique=True, min_size=1, max_size=5).map(sorted))
    return Rollout(
        strategy=draw(st.sampled_from(STRATEGIES)),
        steps=tuple(steps) if steps[-1] == 1 else (*steps, 1.0),
        bake=draw(seconds(0, 86400)),
        max_error_rate=draw(SHARES),
        max_latency_increase=draw(st.none() | SHARES),
        on_inconclusive=draw(st.sampled_from(INCONCLUSIVE)),
        watch_for=draw(seconds(0, 86400)),
        sticky=draw(st.booleans()),
        pin=draw(st.booleans()),
        signals=tuple(draw(signals(name)) for name in draw(st.lists(NAMES, unique=True, max_size=2))),
    )


REQUESTS = st.builds(
    SmokeRequest,
    path=st.sampled_from(["/", "/a?b=c://d", "/a//b"]),
    method=st.sampled_from(["GET", "POST"]),
    host=st.sampled_from(["", "a.example.com"]),
    headers=HEADERS.map(lambda pairs: tuple(pairs.items())),
    body=st.just("") | TEXTS,
    status=st.lists(st.integers(200, 599), unique=True, min_size=1, max_size=3).map(tuple),
    contains=st.just("") | TEXTS,
    expect_headers=HEADERS.map(lambda pairs: tuple(pairs.items())),
    expect_json=st.dictionaries(
        st.sampled_from(["a", "b.0.c"]), TEXTS | st.booleans() | st.integers(-9, 9)
    ).map(lambda pairs: tuple(pairs.items())),
    within=seconds(0.001, 300),
)


@st.composite
def stages(draw: st.DrawFn, kind: str, name: str) -> Stage:
    stage = Stage(kind, name)
    if kind not in ("check", "build"):
        stage = replace(stage, environment=EnvironmentName(draw(st.sampled_from(["staging", "production"]))))
    if kind == "check":
        names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=2))
        checks = tuple(Check(n, draw(SHELL_LINES), draw(seconds(1, 86400))) for n in names)
        return replace(stage, checks=checks)
    if kind == "build":
        patterns = draw(st.lists(st.sampled_from(["**/*.js", "a b", "x"]), unique=True, max_size=2))
        budgets = tuple(Budget(p, draw(st.integers(1, 10**9)), draw(st.booleans())) for p in patterns)
        return replace(stage, budgets=budgets)
    if kind == "approve":
        return replace(
            stage,
            people=tuple(draw(st.lists(LINES, unique=True, max_size=2))),
            own=draw(st.booleans()),
            items=tuple(draw(st.lists(LINES, unique=True, max_size=2))),
            timeout=draw(seconds(1, 86400)),
        )
    if kind in ("smoke", "verify"):
        stage = replace(
            stage,
            requests=tuple(draw(st.lists(REQUESTS, max_size=2))),
            command=draw(SHELL_LINES),
            timeout=draw(seconds(1, 86400)),
        )
    if kind == "smoke":
        return replace(stage, retries=draw(st.integers(0, 20)))
    return replace(stage, watch_for=draw(seconds(0, 86400))) if kind == "verify" else stage


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    kinds = draw(st.lists(st.sampled_from(["deploy", "check", "smoke", "approve", "verify"]), max_size=4))
    kinds = draw(st.sampled_from([[], ["build"]])) + kinds
    names = draw(st.lists(LINES, unique=True, min_size=len(kinds), max_size=len(kinds)))
    return Pipeline(
        tuple(draw(stages(kind, name)) for kind, name in zip(kinds, names, strict=True)),
        branch=draw(LINES),
        on_newer=draw(st.sampled_from(ON_NEWER)),
    )


PREVIEWS = st.none() | st.builds(
    Previews,
    domain=st.sampled_from(["localhost", "p.example.com"]),
    ttl=seconds(1, 86400),
    sleep_after=st.none() | seconds(1, 86400),
    most=st.integers(1, 1000),
)


def plain(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case tuple() if value and isinstance(value[0], tuple):
            return "{ " + ", ".join(f"{quoted(key)} = {plain(item)}" for key, item in value) + " }"
        case tuple():
            return f"[{', '.join(map(plain, value))}]"
        case _:
            return repr(value)


def percent(share: float) -> str:
    return f'"{share * 100:.3f}%"'


def time(value: float) -> str:
    return f'"{round(value * 1000)}ms"'


def lines(value: object, *, names: tuple[str, ...]) -> list[str]:
    """Those of the fields that hold something; times are told by their names."""
    found = []
    for name in names:
        item = getattr(value, name)
        if item is not None and item != "" and item != ():
            timed = name in ("interval", "timeout", "bake", "watch_for", "within", "ttl", "sleep_after")
            found.append(f"{name.removeprefix('expect_') if name == 'expect_json' else name} = "
                         f"{time(item) if timed else plain(item)}")  # fmt: skip
    return found


def rollout_text(rollout: Rollout, prefix: str) -> str:
    latency = rollout.max_latency_increase
    text = [
        f"[{prefix}rollout]",
        f"steps = [{', '.join(map(percent, rollout.steps))}]",
        f"max_error_rate = {percent(rollout.max_error_rate)}",
        f"max_latency_increase = {'false' if latency is None else percent(latency)}",
    ]
    text += lines(rollout, names=("strategy", "bake", "on_inconclusive", "watch_for", "sticky", "pin"))
    for signal in rollout.signals:
        text.append(f"[{prefix}rollout.signals.{signal.name}]")
        keys = ("url", "command", "json", "most", "least", "compare", "interval", "timeout")
        text += lines(signal, names=keys)
    return "\n".join(text) + "\n"


def request_lines(request: SmokeRequest) -> list[str]:
    keys = (
        "path",
        "method",
        "host",
        "headers",
        "body",
        "status",
        "contains",
        "expect_headers",
        "expect_json",
    )
    return lines(request, names=(*keys, "within"))


def pipeline_text(pipeline: Pipeline, *, inline: bool) -> str:
    text = ["[pipeline]", *lines(pipeline, names=("branch", "on_newer"))]
    for stage in pipeline.stages:
        text += ["[[pipeline.stage]]", *lines(stage, names=("kind", "name", "environment", "command"))]
        own = {"smoke": ("timeout", "retries"), "verify": ("timeout", "watch_for"),
               "approve": ("timeout", "people", "own", "items")}  # fmt: skip
        text += lines(stage, names=own.get(stage.kind, ()))
        if inline and stage.requests:
            tables = (f"{{ {', '.join(request_lines(request))} }}" for request in stage.requests)
            text.append("requests = [\n" + ", # {\n".join(tables) + "\n]")
        for check in stage.checks:
            text += [f"[pipeline.stage.commands.{check.name}]", *lines(check, names=("command", "timeout"))]
        for budget in stage.budgets:
            text += [f"[pipeline.stage.budgets.{quoted(budget.pattern)}]", f'most = "{budget.most}B"']
            text.append(f"gzip = {plain(budget.gzip)}")
        for request in () if inline else stage.requests:
            text += ["[[pipeline.stage.requests]]", *request_lines(request)]
    return "\n".join(text) + "\n"


@few
@given(rollouts(), rollouts())
def test_a_rollout_that_is_written_and_read_is_the_same(app: Rollout, environment: Rollout) -> None:
    environment = replace(environment, signals=app.signals or environment.signals)
    text = APP + rollout_text(app, "") + rollout_text(environment, "environments.staging.")
    spec = parse(text)
    assert spec.rollout == app
    assert spec.for_environment("staging").rollout == environment


@few
@given(pipelines(), st.booleans())
def test_a_pipeline_that_is_written_and_read_is_the_same(pipeline: Pipeline, inline: bool) -> None:
    assert parse(APP + GATED + pipeline_text(pipeline, inline=inline)).pipeline == pipeline


@few
@given(PREVIEWS, NAMES)
def test_previews_that_are_written_and_read_are_the_same(previews: Previews | None, name: str) -> None:
    keys = ("domain", "ttl", "sleep_after", "most")
    text = "" if previews is None else "\n".join(["[previews]", *lines(previews, names=keys)])
    spec = parse(APP + text)
    assert spec.previews == previews
    hosts = [route.host for route in spec.for_environment(f"preview-{name}").routes]
    assert hosts == (["*"] if previews is None else [f"{name}.shop.{previews.domain}"])


@few
@given(pipelines())
def test_no_deploy_passes_a_gate_unasked_and_no_two_stages_have_one_name(pipeline: Pipeline) -> None:
    spec = replace(parse(APP + GATED), pipeline=pipeline)
    hold = stages_of(spec)
    assert len({stage.name for stage in hold}) == len(hold)
    assert [stage for stage in hold if stage in pipeline.stages] == list(pipeline.stages)
    asked: set[str | None] = set()
    for stage in hold:
        if stage.kind == "approve":
            asked.add(stage.environment)
        elif stage.kind == "deploy":
            assert stage.environment == "staging" or "production" in asked
            asked.clear()
