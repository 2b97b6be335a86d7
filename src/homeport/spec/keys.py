"""Every key of ``homeport.toml``, once. Parsing and the reference in docs/ both follow this table.

A default here is the TOML that would say what :mod:`homeport.spec.model` does without the key; a test
compares the two.
"""

from __future__ import annotations

from homeport.spec.key import Key, Table
from homeport.spec.keys_backup import BACKUP_KEYS, BACKUP_TABLES
from homeport.spec.keys_config import (
    CONFIG_KEYS,
    CONFIG_TABLES,
    ENVIRONMENT_KEYS,
    ENVIRONMENT_TABLES,
    MODE_KEYS,
    MODE_TABLES,
)
from homeport.spec.keys_database import CACHE_KEYS, CACHE_TABLES, DATABASE_KEYS, DATABASE_TABLES
from homeport.spec.keys_jobs import JOB_KEYS, JOB_TABLES
from homeport.spec.keys_pipeline import PIPELINE_KEYS, PIPELINE_TABLES
from homeport.spec.keys_processes import PROCESS_KEYS, PROCESS_TABLES
from homeport.spec.keys_rollout import ROLLOUT_KEYS, ROLLOUT_TABLES
from homeport.spec.values import Duration, Name, ShellLine, Size

DEFAULT_ROUTE = ("*", "web")
"""Without ``[routes]``, every request goes to the process of this name, where there is one."""

TABLES = (
    Table("app", "What the app is called, and where it runs."),
    Table(
        "build",
        "How a release is made. The command runs once for each release, in a fresh copy of the commit's "
        "files; what it leaves there is the release. Without `[build]` the files are the release as they "
        "are.",
    ),
    *PROCESS_TABLES,
    Table(
        "routes",
        "Which requests go to which process. A key is a host, a host and a path prefix, `*` for any host, "
        "or `*` and a prefix; it stands in quotes. The value is the name of a process. The longest prefix "
        "wins, and a named host wins over `*`. A prefix matches whole parts of a path: `/shop` matches "
        "`/shop` and `/shop/cart`, not `/shopping`. Upper case in a host and a `/` at the end make no "
        "difference. Hosts beyond ASCII are converted to the form that browsers send (`xn--…`). Ports, "
        "schemes and wildcards such as `*.example.com` are not accepted.\n\n"
        'Without `[routes]`, an app that has a process `web` gets the route `"*" = "web"`.',
        example='"shop.example.com" = "web"\n"example.com/shop" = "web"\n"*/guide" = "guide"',
    ),
    *CONFIG_TABLES,
    *ROLLOUT_TABLES,
    *JOB_TABLES,
    *DATABASE_TABLES,
    *CACHE_TABLES,
    *BACKUP_TABLES,
    *MODE_TABLES,
    *ENVIRONMENT_TABLES,
    *PIPELINE_TABLES,
)

KEYS = (
    Key(
        "app",
        "name",
        Name(),
        "Name of the app: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first.",
        "shop",
        absent="required",
    ),
    Key(
        "app",
        "environment",
        Name(),
        "The environment of commands that name none.",
        "staging",
        default="production",
    ),
    Key(
        "build",
        "command",
        ShellLine(),
        "One shell line that makes the release, run in its directory.",
        "npm ci && npm run build",
        absent="builds nothing",
    ),
    Key(
        "build",
        "timeout",
        Duration("1s", "24h"),
        "After this time the build is stopped and its files are removed.",
        "10m",
        default="15m",
    ),
    Key(
        "build",
        "disk",
        Size("1MB", "1TB"),
        "How much disk a release may take, sources included; a build that takes more is stopped.",
        "500MB",
        default="2GB",
    ),
    *PROCESS_KEYS,
    *CONFIG_KEYS,
    *ROLLOUT_KEYS,
    *JOB_KEYS,
    *DATABASE_KEYS,
    *CACHE_KEYS,
    *BACKUP_KEYS,
    *MODE_KEYS,
    *ENVIRONMENT_KEYS,
    *PIPELINE_KEYS,
)

LATER = {
    "alerts": "alerts are",
    "checks": "checks are",
    "limits": "limits on requests are",
    "notifications": "notifications are",
    "tls": "certificate settings are",
}
"""What later versions of Homeport bring, so that it can be refused by its name."""

OLDER = {"env": "variables"}
"""Tables that are still read, and what they are called now; the reference does not name them."""

ELSEWHERE = {
    "secrets": "is no table of this file: declare secrets under [variables] with secret = true, and set them "
    "with `homeport secrets set`",
    "environments.NAME.build": "is the same for all environments: write [build]",
    "environments.NAME.app": "is the same for all environments: write [app]",
    "environments.NAME.env": "is called variables in an environment",
    "environments.NAME.pipeline": "is the same for all environments: write [pipeline]",
    "environments.NAME.previews": "is the same for all environments: write [previews]; what previews run is "
    "[environments.preview]",
    "environments.NAME.environments": "must not be inside of another environment; see inherits",
    "processes.NAME.env": "is not known for one process: variables are for all of them, in [variables]",
}
"""What people may look for in a place where it is not, and what to do instead."""


def keys_of(table: str) -> dict[str, Key]:
    return {key.name: key for key in KEYS if key.table == table}


def tables_in(table: str) -> tuple[str, ...]:
    """The names of the tables right inside ``table``; "" is the top of the file."""
    prefix = f"{table}." if table else ""
    names = (t.path.removeprefix(prefix).split(".")[0] for t in TABLES if t.path.startswith(prefix))
    return tuple(name for name in dict.fromkeys(names) if name != "NAME")
