"""What an answer has to be, and the sentence that says how it is not. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from homeport.spec.model import SmokeRequest

MAX_BODY = 5_000_000
"""Bytes of an answer's body that are looked at."""
EXCERPT = 300
"""Characters of a body that are shown."""
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Got:
    """What a request met. ``seconds`` are for all of it, the body included."""

    status: int | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: bool = False
    """The body is longer than :data:`MAX_BODY`."""
    seconds: float = 0.0
    problem: str = ""
    """Why there is no answer, or no whole one."""

    def header(self, name: str) -> str | None:
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(values) if values else None


def problem(wanted: SmokeRequest, got: Got) -> str:
    """How an answer differs from what was asked for, such as ``GET /orders: status 500, 200 was expected
    (in 12 ms)``; "" when it does not.
    """
    found = _problem(wanted, got)
    return f"{wanted.method} {wanted.path}: {found}" if found else ""


def _problem(wanted: SmokeRequest, got: Got) -> str:
    time = f"(in {_time(got.seconds)})"
    if got.status is not None and got.status not in wanted.status:
        return f"status {got.status}, {' or '.join(map(str, wanted.status))} was expected {time}"
    if got.problem:
        return got.problem
    for name, text in wanted.expect_headers:
        value = got.header(name)
        if value is None:
            return (
                f"there is no header {name}, it has to contain {json.dumps(text, ensure_ascii=False)} {time}"
            )
        if text not in value:
            shown, text = _short(value), json.dumps(text, ensure_ascii=False)
            return f"header {name} is {shown}, it has to contain {text} {time}"
    if wanted.contains and wanted.contains not in got.body.decode("utf-8", "replace"):
        where = f"the first {MAX_BODY // 10**6} MB of the body do" if got.cut else "the body does"
        return f"{where} not contain {json.dumps(wanted.contains, ensure_ascii=False)} {time}"
    return _json_problem(wanted, got, time) if wanted.expect_json else ""


def _json_problem(wanted: SmokeRequest, got: Got, time: str) -> str:
    if got.cut:
        return f"the body is larger than {MAX_BODY // 10**6} MB, JSON was expected {time}"
    try:
        document = json.loads(got.body)
    except (ValueError, RecursionError):
        return f"the body is not JSON {time}"
    for path, value in wanted.expect_json:
        found = at(document, path)
        expected = json.dumps(value, ensure_ascii=False)
        if found is _MISSING:
            return f"{path} is not in the body, {expected} was expected {time}"
        if not same(found, value):
            return f"{path} is {_short(found)}, {expected} was expected {time}"
    return ""


def at(document: Any, path: str) -> Any:
    """What a path such as ``items.0.name`` leads to: keys of objects, indexes of lists from 0."""
    found = document
    for part in path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isascii() and part.isdigit() and len(part) < 10:
            if int(part) >= len(found):
                return _MISSING
            found = found[int(part)]
        else:
            return _MISSING
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two values of JSON are the same: 1 is 1.0, and not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    return type(a) is type(b) and bool(a == b)


def excerpt(text: str) -> tuple[str, ...]:
    """The beginning of a body, as lines."""
    lines = text[:EXCERPT].splitlines()
    if len(text) > EXCERPT and lines:
        lines[-1] += "…"
    return tuple(lines)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def host_for(wanted: str, hosts: tuple[str, ...]) -> str | None:
    """The host that a request is sent for: the one asked for, else the environment's first one.

    ``hosts`` are those of the environment's routes, "*" for any and "*.example.com" for any below; a plain
    one goes first. None: what is asked for is not the environment's, or it has none.
    """
    if wanted:
        return wanted if any(_serves(host, wanted) for host in hosts) else None
    for host in hosts:
        if "*" not in host:
            return host
    if "*" in hosts:
        return "localhost"
    return next((f"smoke{host[1:]}" for host in hosts if host.startswith("*.")), None)


def _serves(host: str, wanted: str) -> bool:
    host, wanted = host.lower(), wanted.lower()
    below = host.startswith("*.") and wanted.endswith(host[1:]) and len(wanted) > len(host[1:])
    return host in ("*", wanted) or below
