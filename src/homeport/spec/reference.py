"""``docs/reference/configuration.md``, written from the table of keys that parsing follows."""

from __future__ import annotations

from collections.abc import Mapping

from homeport.kernel.units import format_size
from homeport.spec.document import LARGEST_FILE
from homeport.spec.key import Example, Key, Table
from homeport.spec.keys import KEYS, LATER, TABLES
from homeport.spec.values import quoted

EXAMPLE = """\
[app]
name = "shop"
environment = "staging"

[build]
command = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
timeout = "10m"
disk = "500MB"

[processes.web]
command = ".venv/bin/uvicorn shop:app --port $PORT --timeout-keep-alive 75"
replicas = 2
memory = "512MB"
cpu = 0.5
user = "www-data"
start_timeout = "30s"
stop_grace = "20s"
response_timeout = "2m"

[processes.web.health]
path = "/health"
interval = "2s"
timeout = "1s"
healthy_after = 3
unhealthy_after = 2

[processes.worker]
command = ".venv/bin/python -m shop.worker"
start = "after-traffic"
exclusive = true

[processes.worker.liveness]
command = "test -e tmp/alive"
interval = "15s"
timeout = "3s"
unhealthy_after = 2

[processes.mailer]
command = ".venv/bin/python -m shop.mailer"

[processes.mailer.heartbeat]
file = "tmp/heartbeat"
max_age = "30s"

[processes.guide]
static = "public"

[routes]
"shop.example.com" = "web"
"shop.example.com/guide" = "guide"

[variables]
LOG_LEVEL = "info"
WEB_CONCURRENCY = 1
DATABASE_PASSWORD = { from = "file:/run/secrets/database" }

[variables.STRIPE_KEY]
required = true
secret = true
pattern = "^sk_"
description = "Key for payments"

[variables.MAIL_MODE]
type = "string"
one_of = ["test", "live"]
default = "live"

[variables.API_TOKEN]
from = "command:vault kv get -field=token secret/shop"

[rollout]
strategy = "canary"
drain = "1m"
keep_warm = "30m"
batch = 1
steps = ["1%", "10%", "50%", "100%"]
bake = "1m"
max_error_rate = "0.5%"
max_latency_increase = "25%"
on_inconclusive = "ask"
watch_for = "10m"
sticky = true
pin = false

[rollout.signals.checkout]
url = "https://metrics.example.com/rate?release={release}"
json = "data.rate"
most = 2.0
compare = true
interval = "10s"
timeout = "2s"

[rollout.signals.queue]
command = "bin/queue-length"
least = 0
most = 1000

[cron.nightly-report]
schedule = "0 3 * * *"
command = ".venv/bin/python -m shop.report"
timezone = "Europe/Berlin"
overlap = "queue"
timeout = "20m"
retries = 2
retry_delay = "1m"
missed = "skip"
random_delay = "5m"
user = "www-data"
memory = "256MB"
cpu = 0.5
stop_grace = "20s"
enabled = true

[hooks]
before-build = "bin/check-licenses"
after-build = "bin/compile-messages"
before-start = "bin/migrate"
after-traffic = { command = "bin/purge-cdn", timeout = "1m" }
after-rollback = "bin/tell-team"

[hooks.before-traffic]
command = ".venv/bin/python -m shop.warm"
timeout = "2m"

[storage.uploads]
path = "var/uploads"

[storage.data]
path = "var/data"

[database.main]
engine = "postgresql"
dedicated = true
pool = "session"
connections = 20
extensions = ["pg_trgm", "citext"]
migrations = "migrations"
lock_timeout = "1s"
statement_timeout = "5m"
on_rollback = "down"

[database.main.maintenance.daily-orders]
kind = "refresh"
target = "reports.daily_orders"
schedule = "0 4 * * *"
timezone = "Europe/Berlin"
timeout = "10m"

[database.accounts]
url = "secret:ACCOUNTS_URL"
migrate = "bin/migrate"

[database.reports]
engine = "sqlite"
path = "var/data/reports.db"

[cache.main]
engine = "redis"
memory = "256MB"
persistent = true

[backup]
schedule = "30 * * * *"
full = "15 3 * * *"
timezone = "Europe/Berlin"
window = "14d"
synchronous = true
proof_rate = "40MB/s"
rate = "40MB/s"
rpo = "5m"
rto = "10m"
drill = "weekly"
drill_scenarios = ["table-dropped", "cluster-lost"]

[backup.keep]
hourly = 48
daily = 14
weekly = 8
monthly = 24

[backup.proof]
recent-orders = "SELECT count(*) FROM orders WHERE paid"

[backup.proof.books-balance]
query = "SELECT sum(amount) FROM entries"
expect = "0"
database = "accounts"

[backup.mask]
"users.email" = "email"
"accounts:crm.people.born" = "date"

[maintenance]
page = "public/maintenance.html"
retry_after = "5m"

[read_only]
exempt = ["/login"]

[environments.staging]
domains = ["staging.example.com"]

[environments.staging.variables]
LOG_LEVEL = "debug"
MAIL_MODE = "test"

[environments.staging.cron.nightly-report]
enabled = false

[environments.staging.rollout]
strategy = "blue-green"

[environments.preview]
inherits = "staging"
replicas = { web = 1 }

[environments.production]
replicas = { web = 4 }
gate = "approval"

[pipeline]
branch = "release"
on_newer = "supersede"

[[pipeline.stage]]
kind = "check"

[pipeline.stage.commands]
lint = "ruff check ."

[pipeline.stage.commands.tests]
command = "pytest -q"
timeout = "5m"

[[pipeline.stage]]
kind = "build"

[pipeline.stage.budgets]
"dist/**/*.js" = "300KB"

[pipeline.stage.budgets."static/app.css"]
most = "50KB"
gzip = true

[[pipeline.stage]]
kind = "deploy"
environment = "staging"

[[pipeline.stage]]
kind = "smoke"
name = "smoke tests"
retries = 2
command = "bin/smoke"
timeout = "2m"

[[pipeline.stage.requests]]
path = "/health"

[[pipeline.stage.requests]]
path = "/orders?limit=1"
method = "POST"
host = "staging.example.com"
headers = { "Content-Type" = "application/json" }
body = "{}"
status = [200, 201]
contains = "order"
expect_headers = { "Content-Type" = "json" }
json = { "order.id" = 1 }
within = "2s"

[[pipeline.stage]]
kind = "approve"
people = ["anna", "ben"]
own = false
timeout = "24h"
items = ["support was told"]

[[pipeline.stage]]
kind = "deploy"
environment = "production"

[[pipeline.stage]]
kind = "verify"
watch_for = "1m"
requests = [{ path = "/health" }]

[previews]
domain = "preview.example.com"
ttl = "3d"
sleep_after = "30m"
most = 50
"""
"""A file that uses every key."""

_INTRODUCTION = f"""\
<!-- Generated by `python -m homeport.spec.reference`. Change src/homeport/spec/keys.py instead. -->

# homeport.toml

`homeport.toml` stands at the top of an app's repository and says what the app is and how it runs. \
`homeport init` writes a first one. It is [TOML](https://toml.io) 1.0 in UTF-8, of at most \
{format_size(LARGEST_FILE)}. The shortest useful file:

```toml
[app]
name = "shop"

[processes.web]
command = "node server.js"
```

All errors of a file are told at once, each with its line and the key it is about. An unknown key is an \
error, so that a misspelled one never goes unseen.

A **duration** is written like `"250ms"`, `"30s"`, `"10m"`, `"1h30m"` or `"7d"`, a **size** like `"512MB"` \
(decimal) or `"512MiB"` (binary). A **shell command** is one line that `sh` runs.
"""

_LATER = (
    "Names that later versions of Homeport bring are refused by this one, each with a message that says so: "
)


def render() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION, *(_section(table) for table in TABLES)]
    parts.append("## Not in this version yet\n\n" + _LATER + ", ".join(f"`{key}`" for key in LATER) + ".\n")
    parts.append(f"## A file with every key\n\n```toml\n{EXAMPLE}```\n")
    return "\n".join(parts)


def _section(table: Table) -> str:
    lines = [f"## {table.heading}", "", table.meaning, ""]
    if table.example:
        lines += ["```toml", table.heading, table.example, "```", ""]
    keys = [key for key in KEYS if key.table == table.path]
    if keys:
        lines += ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
        lines += [_row(key) for key in keys]
        lines.append("")
    return "\n".join(lines)


def _row(key: Key) -> str:
    default = key.absent if key.default is None else f"`{toml(key.default)}`"
    cells = (f"`{key.name}`", key.type.words, default, key.meaning, f"`{toml(key.example)}`")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def toml(value: Example) -> str:
    """A value as TOML writes it, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() | float():
            return str(value)
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + " }"
        case _:
            return f"[{', '.join(map(toml, value))}]"


def _key(name: str) -> str:
    return name if name.isidentifier() else quoted(name)


if __name__ == "__main__":
    print(render(), end="")
