"""The keys of ``homeport.toml`` about environments: variables, modes, and what differs by environment."""

from __future__ import annotations

from dataclasses import dataclass

from homeport.spec.key import Key, Table
from homeport.spec.model import GATES, VARIABLE_TYPES
from homeport.spec.patterns import Pattern
from homeport.spec.routes import Hosts, Prefixes
from homeport.spec.values import (
    Choice,
    Duration,
    File,
    Flag,
    Name,
    OrFalse,
    ShortText,
    VariableValue,
    shown,
)
from homeport.spec.variables import Options, Source


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many instances, by process. The numbers are read as those processes' own ``replicas``."""

    words: str = "table of whole numbers, 1 to 100"

    def read(self, value: object) -> dict[str, object]:
        if isinstance(value, dict):
            return value
        raise ValueError(f"must be a table of numbers by process, such as {{ web = 4 }}, got {shown(value)}")


VARIABLE = "variables.NAME"
ENVIRONMENT = "environments.NAME"
OVERRIDABLE = (
    "variables",
    "processes",
    "routes",
    "rollout",
    "cron",
    "hooks",
    "storage",
    "database",
    "cache",
    "backup",
    "maintenance",
    "read_only",
)
"""The tables that an environment may have of its own."""

CONFIG_TABLES = (
    Table(
        "variables",
        "Environment variables of all processes and the build. A name is letters, digits and `_`, no digit "
        "first; a value is a string of one line, a whole number, or true or false, and holds where nobody "
        "sets another. Or the value is a table with the keys of `[variables.NAME]`, which declares what the "
        "variable may be. `PORT`, `PATH` and names that begin with `HOMEPORT_` are reserved. Passwords and "
        "keys do not belong into a file of the repository: declare them with `secret = true` and set them "
        "with `homeport secrets set`.",
        example='LOG_LEVEL = "info"\nWEB_CONCURRENCY = 2\nDEBUG = false\n'
        'STRIPE_KEY = { required = true, secret = true, pattern = "^sk_", description = "Stripe, for payments" }\n'
        'DATABASE_PASSWORD = { from = "file:/run/secrets/database" }',
    ),
    Table(
        VARIABLE,
        "A declared variable, such as `[variables.STRIPE_KEY]`. A deploy is refused before the build while a "
        "required one has no value, or one has a value that does not fit.",
    ),
)

MODE_TABLES = (
    Table("maintenance", "What `homeport maintenance on` answers with."),
    Table("read_only", "What `homeport read-only on` leaves alone."),
)

ENVIRONMENT_TABLES = (
    Table(
        ENVIRONMENT,
        "What is different in one environment, such as `[environments.staging]`. Besides the keys below it may "
        "have tables of its own: "
        + ", ".join(f"`{name}`" for name in OVERRIDABLE)
        + ". They are written as those of the app, such as `[environments.staging.rollout]` or "
        "`[environments.staging.processes.web]`, and merged over them: tables key by key, values and arrays "
        "replaced; `routes` are replaced as a whole. A plain value for a variable that the app declares "
        "is its default there and leaves the declaration as it is; `default`, `required` and `from` say "
        "together where a value comes from, so a table that has one of them replaces all three. "
        "`enabled = false` leaves a command of `[cron]` out. The build is the same for all environments.",
    ),
)

CONFIG_KEYS = (
    Key(
        VARIABLE,
        "required",
        Flag(),
        "A deploy without a value for it is refused.",
        True,
        default=False,
    ),
    Key(
        VARIABLE,
        "secret",
        Flag(),
        "Its value is kept as a secret and never shown; it has no default in the file.",
        True,
        default=False,
    ),
    Key(
        VARIABLE,
        "type",
        Choice(VARIABLE_TYPES),
        "What a value must be: any `string`, an `int` (whole number), a `bool` (`true` or `false`), a `url` "
        "with its scheme, or a `duration`.",
        "int",
        default="string",
    ),
    Key(
        VARIABLE,
        "pattern",
        Pattern(),
        "Has to be found in a value; `^` and `$` bind it to the beginning and the end. It must not repeat "
        "what repeats itself, as in `(a+)+`.",
        "^sk_",
        absent="any value",
    ),
    Key(
        VARIABLE,
        "one_of",
        Options(),
        "The only values it may have.",
        ["test", "live"],
        absent="any value",
    ),
    Key(
        VARIABLE,
        "default",
        VariableValue(),
        "What it is where nobody sets it.",
        "8",
        absent="not set",
    ),
    Key(
        VARIABLE,
        "description",
        ShortText(500),
        "For people.",
        "Key for payments",
        absent="none",
    ),
    Key(
        VARIABLE,
        "from",
        Source(),
        "Read at each rollout from a file, or from what a command prints, instead. Such a value is a secret.",
        "file:/run/secrets/token",
        absent="not read",
    ),
)

MODE_KEYS = (
    Key(
        "maintenance",
        "page",
        File("file", "public/maintenance.html"),
        "An HTML file of the release that people see.",
        "public/maintenance.html",
        absent="Homeport's own page",
    ),
    Key(
        "maintenance",
        "retry_after",
        Duration("1s", "7d"),
        "When clients are told to come again.",
        "5m",
        default="2m",
    ),
    Key(
        "read_only",
        "exempt",
        Prefixes(),
        "Path prefixes that may be written to all the same. They match whole parts of a path.",
        ["/login"],
        absent="none",
    ),
)

ENVIRONMENT_KEYS = (
    Key(
        ENVIRONMENT,
        "domains",
        Hosts(),
        "The hosts of this environment, which take the place of those in the app's routes. Not together "
        "with routes of its own.",
        ["staging.example.com"],
        absent="the app's",
    ),
    Key(
        ENVIRONMENT,
        "inherits",
        Name(),
        "Another environment, over which this one is merged.",
        "staging",
        absent="only the app",
    ),
    Key(
        ENVIRONMENT,
        "replicas",
        Replicas(),
        "How many instances run, by process; the same as `replicas` in `[environments.NAME.processes.…]`.",
        {"web": 4},
        absent="as the app says",
    ),
    Key(
        ENVIRONMENT,
        "gate",
        OrFalse(Choice(GATES), "no gate"),
        "With `approval`, nothing is deployed here before a person approved it in a pipeline. `false` is for one "
        "that inherits from an environment with a gate.",
        "approval",
        absent="no gate",
    ),
)
