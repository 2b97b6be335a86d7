"""git's arguments and environment, as data. No shell, and an address never stands where an option could."""

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path

MAX_PUSH = 200_000_000
"""Bytes of a pushed pack; a larger one is refused while it comes in."""
MAX_FILE = 200_000_000
"""Bytes of one file: a pack may hold far more than it weighs."""
MAX_FILES = 2_000_000_000
"""Bytes of a commit's files together. A tree can name one file any number of times."""
BIG_FILE = "32m"
"""From here on git works on a file in pieces, not in memory."""
PROTOCOLS = "https:ssh:file"
REFS = "refs/sources"
"""Where fetched branches are kept; pushes neither see nor reach them."""
DIRECTORY = "homeport.directory"
"""The setting of a repository that holds the app's directory within it."""

_HARMLESS = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone")
"""What old histories of well-known repositories have: told to the pusher, not refused."""

INCLUDED = "homeport.config"
"""In a repository: :func:`settings`."""
SETTINGS: tuple[tuple[str, str], ...] = (
    ("receive.maxInputSize", str(MAX_PUSH)),
    ("receive.fsckObjects", "true"),
    *((f"receive.fsck.{name}", "warn") for name in _HARMLESS),
    # Always as a pack: unpacking to files would cost more the more a pack inflates to.
    ("receive.unpackLimit", "1"),
    ("receive.hideRefs", REFS),
    ("uploadpack.hideRefs", REFS),
    ("fetch.fsckObjects", "true"),
    *((f"fetch.fsck.{name}", "warn") for name in _HARMLESS),
    ("core.bigFileThreshold", BIG_FILE),
    ("core.logAllRefUpdates", "true"),
)


def init(path: Path) -> tuple[str, ...]:
    """An empty bare repository, without the user's template and its hooks."""
    return ("git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path))


def configure(path: Path, name: str, value: str) -> tuple[str, ...]:
    return ("git", f"--git-dir={path}", "config", name, value)


def settings(hooks: Path) -> str:
    """The settings as a file that a repository's own includes. ``hooks``: the only place git looks for hooks in."""
    lines = ["# Written by Homeport; changes made here are undone."]
    # Said here, or a setting of the user's own would have git look elsewhere.
    for name, value in (*SETTINGS, ("core.hooksPath", str(hooks))):
        *sections, key = name.split(".")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append("[" + " ".join([sections[0], *(f'"{part}"' for part in sections[1:])]) + "]")
        lines.append(f'\t{key} = "{quoted}"')
    return "\n".join(lines) + "\n"


def setting(path: Path, name: str) -> tuple[str, ...]:
    return ("git", f"--git-dir={path}", "config", "--get", name)


def hook(argv: tuple[str, ...]) -> str:
    """The hook that a push runs: it becomes ``argv``."""
    return f"#!/bin/sh\n# Written by Homeport: a push is a run of the pipeline.\nexec {shlex.join(argv)}\n"


def list_branch(url: str, branch: str) -> tuple[str, ...]:
    return ("git", "ls-remote", "--heads", "--", url, f"refs/heads/{branch}")


def fetch(path: Path, url: str, branch: str) -> tuple[str, ...]:
    """The branch with its history: whether a commit is older than another is read from it."""
    return (
        "git",
        f"--git-dir={path}",
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
        "--",
        url,
        f"+refs/heads/{branch}:{REFS}/{branch}",
    )


def forget(path: Path, branch: str) -> tuple[str, ...]:
    return ("git", f"--git-dir={path}", "update-ref", "-d", f"{REFS}/{branch}")


def head(path: Path, branch: str) -> tuple[str, ...]:
    return ("git", f"--git-dir={path}", "rev-parse", "--verify", "--quiet", f"{REFS}/{branch}^{{commit}}")


def is_ancestor(path: Path, ancestor: str, descendant: str) -> tuple[str, ...]:
    return ("git", f"--git-dir={path}", "merge-base", "--is-ancestor", ancestor, descendant)


def about(path: Path, commit: str) -> tuple[str, ...]:
    """Prints subject, author and time of a commit, apart by NUL."""
    form = "--format=%<(500,trunc)%s%x00%an <%ae>%x00%cI"  # a subject may be as long as a push
    return ("git", f"--git-dir={path}", "log", "-1", form, commit, "--")


def archive(path: Path, commit: str, directory: str, output: Path) -> tuple[str, ...]:
    """Ends with an error where the archive becomes larger than :data:`MAX_FILES`."""
    tree = f"{commit}:{directory}" if directory else commit
    return (
        "prlimit",
        f"--fsize={MAX_FILES}",
        "git",
        f"--git-dir={path}",
        "archive",
        "--format=tar",
        f"--output={output}",
        tree,
    )


def environment(base: Mapping[str, str], url: str = "", credential: str = "") -> dict[str, str]:
    """What git sees: it never asks, and speaks no protocol but :data:`PROTOCOLS`.

    A credential ("TOKEN" or "USER:TOKEN") goes to the host of ``url`` alone, so redirects are not followed.
    """
    env = {k: v for k, v in base.items() if not k.startswith("GIT_")}
    env |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15",
        "LC_ALL": "C.UTF-8",
    }
    settings = [
        ("http.followRedirects", "false"),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", "30"),
        ("maintenance.auto", "false"),
        ("gc.auto", "0"),
    ]
    if credential and url.startswith("https://"):
        pair = credential if ":" in credential else f"x-access-token:{credential}"
        origin = "/".join(url.split("/", 3)[:3]) + "/"
        value = base64.b64encode(pair.encode()).decode()
        settings.append((f"http.{origin}.extraHeader", f"Authorization: Basic {value}"))
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for n, (name, value) in enumerate(settings):
        env[f"GIT_CONFIG_KEY_{n}"] = name
        env[f"GIT_CONFIG_VALUE_{n}"] = value
    return env
