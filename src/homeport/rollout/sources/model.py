"""Where an app's commits come from, and what a webhook says."""

import re
from dataclasses import asdict, dataclass
from datetime import datetime

from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, is_name

BAD_APP = declare("sources.bad_app", Kind.INVALID, "What was given as an app is no name of one.")
BAD_URL = declare(
    "sources.bad_url", Kind.INVALID, "The address of a repository is none that Homeport fetches from."
)
BAD_BRANCH = declare("sources.bad_branch", Kind.INVALID, "What was given as a branch is no name of one.")
BAD_DIRECTORY = declare(
    "sources.bad_directory", Kind.INVALID, "The app's directory within its repository is no relative path."
)
BAD_TOKEN = declare(
    "sources.bad_token", Kind.INVALID, "A repository's token cannot be read from where it was said to be."
)
NO_SOURCE = declare("sources.no_source", Kind.NOT_FOUND, "No repository is set for the app.")
FETCH_FAILED = declare(
    "sources.fetch_failed",
    Kind.UNAVAILABLE,
    "A repository could not be asked, or does not hold the branch or commit.",
    retry=True,
)

NO_BRANCH = declare(
    "sources.no_branch", Kind.NOT_FOUND, "A repository that is fetched from has no such branch."
)

BAD_FILES = declare(
    "sources.bad_files", Kind.INVALID, "A commit's files are too large together, or cannot be read."
)
UNREACHABLE = declare(
    "sources.unreachable", Kind.MISSING_PART, "The edge may not enter the data directory with webhooks."
)

PUSHED = "push"
"""Work: a commit of the watched branch."""
BRANCH = "preview"
"""Work: a branch of a pull request."""
GONE = "gone"
"""Work: the branch of a pull request that was closed."""


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be fetched; it waits in the source's row until it is done."""

    kind: str
    branch: str
    commit: str
    actor: str = "webhook"
    cause: str = "webhook"
    """Or "poll"."""
    key: str = ""
    """Unlike any other's: what is begun for it is begun once."""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Source:
    """A repository that Homeport fetches an app from. Times in seconds."""

    app: AppName
    url: str | None
    """None: it only takes pushes."""
    branch: str = "main"
    directory: str = ""
    """Of the app within the repository; "" is its root."""
    poll: float | None = None
    """Between two looks at the branch; None: it is not watched."""
    webhook: bool = False
    credential: bool = False
    seen: str | None = None
    """The commit that a run was last started for."""
    looked_at: datetime | None = None
    failures: int = 0
    """Looks in a row that failed."""
    problem: str | None = None
    pending: tuple[Work, ...] = ()


# What a webhook says


@dataclass(frozen=True, slots=True)
class Push:
    branch: str
    commit: str
    actor: str
    ids: tuple[str, ...]
    """By which the same delivery is known again."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request between branches of the one repository."""

    branch: str
    commit: str
    actor: str
    closed: bool
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Genuine, and nothing to be done."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    """Of the HTTP answer."""
    why: str


Verdict = Push | PullRequest | Ignored | Refused

MOST_PENDING = 100

_BRANCH = re.compile(r"[A-Za-z0-9_+@=][A-Za-z0-9_.+@=#/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PATH = r"[^\s\x00-\x1f\x7f]+"
_HTTPS = re.compile(rf"https://{_HOST}(?::\d{{1,5}})?/{_PATH}")
_SSH = re.compile(rf"ssh://(?:{_USER}@)?{_HOST}(?::\d{{1,5}})?/{_PATH}")
_SCP = re.compile(rf"(?:{_USER}@)?{_HOST}:(?![-/]{{0,1}}/)(?!-){_PATH}")
_LOCAL = re.compile(r"(?:file://)?/[^\x00-\x1f\x7f]*")


def is_commit(text: str) -> bool:
    return _COMMIT.fullmatch(text) is not None


def is_branch(text: str) -> bool:
    """Whether git takes it as a branch, and no program as an option (git-check-ref-format, narrower)."""
    parts = text.split("/")
    return (
        _BRANCH.fullmatch(text) is not None
        and ".." not in text
        and "@{" not in text
        and text != "@"
        and all(p and not p.startswith(".") and not p.endswith((".", ".lock")) for p in parts)
    )


def check_app(text: str) -> str:
    """Raises ``sources.bad_app``."""
    if not is_name(text):
        raise BAD_APP.error(
            f"cannot use {text[:100]!r} as an app's name",
            hint="1 to 40 of a-z, 0-9 and inner hyphens, beginning with a letter",
        )
    return text


def check_branch(text: str) -> str:
    """Raises ``sources.bad_branch``."""
    if not is_branch(text):
        raise BAD_BRANCH.error(f"cannot use {text[:100]!r} as a branch", hint="such as main")
    return text


def check_url(text: str) -> str:
    """An address to fetch from: https, ssh, or an absolute local path. Raises ``sources.bad_url``.

    One with a password in it is refused: an address is shown, and given to git as an argument.
    """
    hint = "https://HOST/PATH, ssh://git@HOST/PATH, git@HOST:PATH, or an absolute path"
    rest = text.partition("://")[2]
    if text.startswith(("https://", "http://")) and "@" in rest.partition("/")[0]:
        raise BAD_URL.error(
            "cannot fetch from that address: it holds a user or password",
            hint="leave it out, and keep it in a file of mode 0600: --token-from file:/PATH",
        )
    patterns = (_HTTPS, _SSH, _LOCAL, _SCP)
    if len(text) > 1000 or not any(p.fullmatch(text) for p in patterns) or "::" in text.partition("/")[0]:
        raise BAD_URL.error(f"cannot fetch from {text[:200]!r}: it is no such address", hint=hint)
    return text


def check_directory(text: str) -> str:
    """A relative path without "..", without "/" at its ends; "" is the root. Raises ``sources.bad_directory``."""
    directory = text.strip("/")
    parts = directory.split("/") if directory else []
    odd = any(p in ("", ".", "..") or p.startswith("-") for p in parts)
    if text.startswith("/") or odd or len(text) > 300 or not all(c.isprintable() and c != ":" for c in text):
        raise BAD_DIRECTORY.error(
            f"cannot use {text[:100]!r} as the app's directory", hint="such as apps/shop"
        )
    return directory
