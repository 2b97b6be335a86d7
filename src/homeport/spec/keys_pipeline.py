"""The keys of ``homeport.toml`` about pipelines and previews."""

from __future__ import annotations

from collections.abc import Mapping

from homeport.spec.containers import Array, Entries
from homeport.spec.key import Key, Table
from homeport.spec.model import ON_NEWER, STAGES
from homeport.spec.routes import Domain, Host
from homeport.spec.values import Choice, Duration, Flag, Name, OrFalse, ShellLine, Size, Whole
from homeport.spec.values_pipeline import (
    AppPath,
    HeaderName,
    HeaderValue,
    JsonPath,
    JsonValue,
    Line,
    LongText,
)

PIPELINE = "pipeline"
STAGE = "pipeline.stage"
CHECK = "pipeline.stage.commands.NAME"
BUDGET = "pipeline.stage.budgets.NAME"
REQUEST = "pipeline.stage.requests"
PREVIEWS = "previews"

BUDGET_SIZE = Size("1B", "1TB")

KINDS_OF: Mapping[str, tuple[str, ...]] = {
    "environment": ("deploy", "smoke", "approve", "verify"),
    "commands": ("check",),
    "budgets": ("build",),
    "requests": ("smoke", "verify"),
    "command": ("smoke", "verify"),
    "timeout": ("smoke", "approve", "verify"),
    "retries": ("smoke",),
    "watch_for": ("verify",),
    "people": ("approve",),
    "own": ("approve",),
    "items": ("approve",),
}
"""The kinds of stages that a key is for; one that is not here is for all."""

PIPELINE_TABLES = (
    Table(
        PIPELINE,
        "The way of a commit to production. Without stages it is built and deployed to the environment that "
        "`[app]` names. Before a deploy to an environment with a gate, a person is asked, whether or not there is a "
        "stage for that. It is of the whole app: an environment has none of its own.",
    ),
    Table(
        STAGE,
        "One stage; they run in the order of the file, and one that fails ends the run. A `check` runs commands in a "
        "fresh copy of the commit's files, side by side. `build` makes the release. `deploy` rolls it out to an "
        "environment. `smoke` sends requests to that environment, or runs a command that does. `approve` waits for a "
        "person. `verify` looks whether the environment stays well. A `deploy` stands after the `build`, where there "
        "is one. At most 50 stages, with 100 commands, 100 budgets and 200 requests together.",
        array=True,
    ),
    Table(
        "pipeline.stage.commands",
        "Of `check`: its commands by name. A value is a shell line, or a table with the keys of "
        "`[pipeline.stage.commands.NAME]`. Instead of the table, `commands` may be one shell line, which is called "
        'by its first word. Also in one line: `commands = { lint = "ruff check ." }`.',
    ),
    Table(CHECK, "A command with more than its line, of the stage above it."),
    Table(
        "pipeline.stage.budgets",
        "Of `build`: how large the files of the release may be that match a pattern, all together. A pattern is "
        "relative to the release's top; `*` is any part of a name, `**` any directories. A value is a size, or a "
        "table with the keys of `[pipeline.stage.budgets.NAME]`.",
    ),
    Table(BUDGET, "A budget with more than its size, of the stage above it; `NAME` is a pattern in quotes."),
    Table(
        REQUEST,
        "Of `smoke` and `verify`: a request to the environment, and what its answer has to be. Redirects are not "
        "followed: they are answers. Each may also be written in one line, in an array: "
        '`requests = [{ path = "/health" }]`.',
        array=True,
    ),
    Table(
        PREVIEWS,
        "Environments of branches, each at `<name>.<app>.<domain>`. With this table an app has them. They run what "
        "`[environments.preview]` says, or the app itself; hosts of routes and `domains` do not hold for them.",
    ),
)

PIPELINE_KEYS = (
    Key(
        PIPELINE,
        "branch",
        Line(200),
        "The branch whose pushes start it.",
        "release",
        default="main",
    ),
    Key(
        PIPELINE,
        "on_newer",
        Choice(ON_NEWER),
        "What a newer commit does to a run that waits: it waits behind it (`queue`), or takes its place "
        "(`supersede`).",
        "supersede",
        default="queue",
    ),
    Key(STAGE, "kind", Choice(STAGES), "What the stage does.", "smoke", absent="required"),
    Key(
        STAGE,
        "name",
        Line(60),
        "What it is called; no two stages are called the same.",
        "smoke tests",
        absent="the kind, and the environment",
    ),
    Key(
        STAGE,
        "environment",
        Name(),
        "Of `deploy`, `smoke`, `approve` and `verify`: a declared environment, or the one of `[app]`.",
        "staging",
        absent="of `deploy`: that of `[app]`; of `approve`: that of the next `deploy`; else that of the last "
        "`deploy`",
    ),
    Key(
        STAGE,
        "command",
        ShellLine(),
        "Of `smoke` and `verify`: one shell line that ends with status 0 when all is well. `HOMEPORT_URL` is the "
        "environment's address.",
        "bin/smoke",
        absent="none",
    ),
    Key(
        STAGE,
        "timeout",
        Duration("1s", "90d"),
        "Of `approve`: how long it waits for a person. Of `smoke` and `verify`: how long the command may take.",
        "24h",
        absent="of `approve` 7 days, else 10 minutes",
    ),
    Key(
        STAGE,
        "retries",
        Whole(0, 20),
        "Of `smoke`: how often it is tried again.",
        2,
        default=0,
    ),
    Key(
        STAGE,
        "watch_for",
        Duration("0s", "24h"),
        "Of `verify`: how long the environment has to stay well; `0s` looks once.",
        "1m",
        default="0s",
    ),
    Key(
        STAGE,
        "people",
        Array(Line(100), "people", '["anna", "ben"]'),
        "Of `approve`: who may.",
        ["anna", "ben"],
        absent="anybody",
    ),
    Key(
        STAGE,
        "own",
        Flag(),
        "Of `approve`: whether the commit's author, and who started the run, may.",
        False,
        default=True,
    ),
    Key(
        STAGE,
        "items",
        Array(Line(200), "items", '["support was told"]'),
        "Of `approve`: what the person has to tick.",
        ["support was told"],
        absent="none",
    ),
    Key(
        CHECK,
        "command",
        ShellLine(),
        "One shell line, run in a fresh copy of the commit's files.",
        "pytest -q",
        absent="required",
    ),
    Key(
        CHECK,
        "timeout",
        Duration("1s", "24h"),
        "A command that takes longer is stopped and has failed.",
        "5m",
        default="10m",
    ),
    Key(
        BUDGET,
        "most",
        BUDGET_SIZE,
        "How large the files may be, all together.",
        "50KB",
        absent="required",
    ),
    Key(
        BUDGET,
        "gzip",
        Flag(),
        "What counts is what gzip makes of each file.",
        True,
        default=False,
    ),
    Key(
        REQUEST,
        "path",
        AppPath(),
        "Path in the app, and maybe a query.",
        "/orders?limit=1",
        absent="required",
    ),
    Key(
        REQUEST,
        "method",
        Choice(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
        "How it is asked for.",
        "POST",
        default="GET",
    ),
    Key(
        REQUEST,
        "host",
        Host(),
        "A host that a route of the environment names.",
        "shop.example.com",
        absent="the first one",
    ),
    Key(
        REQUEST,
        "headers",
        Entries(HeaderName(sent=True), HeaderValue(), "headers", '{ Accept = "text/html" }', any_case=True),
        "Headers that are sent.",
        {"Content-Type": "application/json"},
        absent="none",
    ),
    Key(
        REQUEST,
        "body",
        LongText(64_000, empty=True),
        "What is sent.",
        "{}",
        absent="nothing",
    ),
    Key(
        REQUEST,
        "status",
        Array(Whole(200, 599), "statuses", "[200, 201]"),
        "The status of the answer has to be one of these.",
        [200, 201],
        default=[200],
    ),
    Key(
        REQUEST,
        "contains",
        LongText(4_000),
        "Text that the answer's body has to contain.",
        "order",
        absent="anything",
    ),
    Key(
        REQUEST,
        "expect_headers",
        Entries(HeaderName(sent=False), HeaderValue(), "headers", '{ Content-Type = "json" }', any_case=True),
        "Headers that the answer has to have, and what their values have to contain.",
        {"Content-Type": "json"},
        absent="any",
    ),
    Key(
        REQUEST,
        "json",
        Entries(JsonPath(), JsonValue(), "values by JSON path", '{ "order.id" = 1 }'),
        "Values that the JSON in the answer's body has to have. A path is keys and, from 0, numbers of elements, "
        "in quotes.",
        {"order.id": 1},
        absent="any",
    ),
    Key(
        REQUEST,
        "within",
        Duration("1ms", "5m"),
        "How long the whole answer may take.",
        "2s",
        default="5s",
    ),
    Key(
        PREVIEWS,
        "domain",
        Domain(),
        "The domain below which previews have their hosts. Its DNS has to lead all names below it here.",
        "preview.example.com",
        default="localhost",
    ),
    Key(
        PREVIEWS,
        "ttl",
        Duration("1s", "365d"),
        "A preview without a new commit for this long is taken away.",
        "3d",
        default="7d",
    ),
    Key(
        PREVIEWS,
        "sleep_after",
        OrFalse(Duration("1s", "30d"), "never"),
        "The instances of a preview without a request for this long are stopped; the next request waits until they "
        "are started again.",
        "30m",
        absent="never",
    ),
    Key(
        PREVIEWS,
        "most",
        Whole(1, 1000),
        "How many previews there may be.",
        50,
        default=20,
    ),
)
