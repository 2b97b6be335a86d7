"""Static sites: the command that serves a directory, and which names may be cached for good."""

import re
import shlex
import sys

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
"""A browser may keep it, and asks each time whether it is still good (a 304 when it is)."""

_HASHED = re.compile(
    r".+[.-](?P<hash>[0-9A-Za-z_]{8,64})(?:\.min|\.chunk)?\.(?P<extension>[0-9a-z]+)(?:\.map)?", re.DOTALL
)
_HEX = re.compile(r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])(?!(?:19|20)[0-9]{6})[0-9a-f]+")
_MIXED = re.compile(
    r"(?!(?:19|20)[0-9]{6})(?=.*[0-9][A-Za-z])(?:(?=.*[a-z])(?=.*[A-Z])|(?=.*[0-9].*[0-9])).+"
)
_BUILT = frozenset({"css", "js", "mjs", "woff", "woff2", "wasm"})


def command(directory: str) -> str:
    """The shell line that serves ``directory``, relative to where it runs, on ``127.0.0.1:$PORT``.

    ``-I`` keeps the site's own files and ``PYTHON*`` variables from being taken for Python modules.
    """
    return (
        f"{shlex.quote(sys.executable)} -I -m homeport.runtime.static_site_app {shlex.quote(directory)} $PORT"
    )


def is_hashed(name: str) -> bool:
    """Whether a file name holds a hash of its content, so that it never means other content.

    Either 8 or more hex digits before the extension (``logo.3f9a1c2b.svg``) or, for what only build
    tools write, 8 or more letters and digits that are no word with a number (``index-B4xK9s2Q.js``).
    A hash that is not seen costs a 304; a word taken for one would be stale for a year. So a date
    (``report-20260101.pdf``) and ``theme-version12.css`` do not count.
    """
    match = _HASHED.fullmatch(name)
    if match is None:
        return False
    if _HEX.fullmatch(match["hash"]):
        return True
    return match["extension"] in _BUILT and _MIXED.fullmatch(match["hash"]) is not None


def cache_control(name: str) -> str:
    """The ``Cache-Control`` of a file by its name."""
    return IMMUTABLE if is_hashed(name) else REVALIDATE


def is_hidden(path: str) -> bool:
    """Whether a relative path has a part that begins with a dot, but for ``.well-known`` at its top."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if parts[:1] == [".well-known"]:
        parts = parts[1:]
    return any(part.startswith(".") for part in parts)


def accepted_encodings(header: str) -> tuple[str, ...]:
    """Which of br and gzip an ``Accept-Encoding`` header takes, best first; br before gzip when equal."""
    quality: dict[str, float] = {}
    for item in header.lower().split(","):
        name, _, parameters = item.strip().partition(";")
        key, _, value = parameters.strip().partition("=")
        try:
            quality[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            quality[name.strip()] = 0.0
    wanted = [(quality.get(name, quality.get("*", 0.0)), name) for name in ("br", "gzip")]
    return tuple(name for q, name in sorted(wanted, key=lambda x: -x[0]) if q > 0)
