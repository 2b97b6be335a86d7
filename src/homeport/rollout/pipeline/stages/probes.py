"""Requests to an environment through its edge, and commands with its address."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from homeport.rollout.pipeline.stages import expect, place, shell
from homeport.rollout.pipeline.stages.work import Found, Work
from homeport.spec.model import SmokeRequest
from homeport.system import http

OURS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "proxy-connection")
)
"""Headers that a request may not set: they say where it goes and how it is carried."""
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
"""Where an edge that listens on every address is reached."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What requests or a command came to."""

    problems: tuple[str, ...]
    """A sentence for each that failed."""
    lines: tuple[str, ...]
    """With each what the answer or the output was."""
    details: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def ok(self) -> bool:
        return not self.problems and self.stopped is None


def address(work: Work) -> tuple[str, int]:
    where, port = work.edge
    return ANY_ADDRESS.get(where, where), port


def url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}" if port == 80 else f"http://{shown}:{port}"


def requests(work: Work, wanted: Sequence[SmokeRequest], *, quiet: bool = False) -> Probed:
    """Send the requests one after the other, each to the edge and nowhere else, and judge the answers.

    A redirect is an answer as any other. ``quiet``: the log is told of those that fail only.
    """
    problems: list[str] = []
    lines: list[str] = []
    told: list[dict[str, Any]] = []
    for request in wanted:
        stopped = work.stop()
        if stopped is not None:
            return Probed(tuple(problems), tuple(lines), {"requests": told}, stopped)
        got = _send(work, request)
        if got.problem == STOPPED:
            return Probed(tuple(problems), tuple(lines), {"requests": told}, work.stop() or "cancelled")
        problem = work.masker.mask_text(expect.problem(request, got))
        body = work.masker.mask_text(got.body[: 1 << 16].decode("utf-8", "replace"))
        name = work.masker.mask_text(f"{request.method} {request.path}")
        told.append(
            {
                "request": name,
                "ok": not problem,
                "status": got.status,
                "milliseconds": round(got.seconds * 1000, 1),
                "problem": problem,
            }
        )
        excerpt = expect.excerpt(body) if problem else ()
        if problem:
            problems.append(problem)
            lines += [problem, *(f"  {line}" for line in excerpt)]
        if problem or not quiet:
            mark = f"✗ {problem}" if problem else f"✓ {name}: {got.status} in {got.seconds * 1000:.0f} ms"
            work.log.write("".join(f"{x}\n" for x in (mark, *(f"  {e}" for e in excerpt))).encode())
    return Probed(tuple(problems), tuple(lines), {"requests": told})


STOPPED = "stopped"


def _send(work: Work, wanted: SmokeRequest) -> expect.Got:
    refused = next((k for k, _ in wanted.headers if k.lower() in OURS), None)
    if refused is not None:
        return expect.Got(None, problem=f"the header {refused} cannot be set")
    if not wanted.path.startswith("/"):
        return expect.Got(None, problem='its path does not begin with "/"')
    host = expect.host_for(wanted.host, work.hosts)
    if host is None:
        known = ", ".join(work.hosts)
        is_not = f"{wanted.host} is not a host of {work.environment}, which has {known}"
        none = f"{work.environment} has no route"
        return expect.Got(None, problem=is_not if wanted.host and known else none)
    where, port = address(work)
    given = {k.lower() for k, _ in wanted.headers}
    usual = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": "homeport-smoke",
    }
    got = http.request(
        where,
        port,
        wanted.method,
        wanted.path,
        headers=(
            ("Host", host),
            *((k, v) for k, v in usual.items() if k.lower() not in given),
            *wanted.headers,
            ("Connection", "close"),
        ),
        body=wanted.body.encode(),
        timeout=wanted.within,
        limit=expect.MAX_BODY,
        stop=lambda: work.stop() is not None,
    )
    return expect.Got(got.status, got.headers, got.body, got.cut, got.seconds, got.problem)


def command(work: Work) -> Probed:
    """Run the stage's command in the commit's files, with where the environment is.

    ``HOMEPORT_URL`` names its host, which the command may have to resolve; ``HOMEPORT_ADDRESS`` is the
    edge's address, to be asked with ``HOMEPORT_HOST`` as the Host.
    """
    host = expect.host_for("", work.hosts)
    if host is None:
        return Probed((f"{work.environment} has no route, so the command has no address",), ())
    where, port = address(work)
    watch = place.Watch(work)
    work.log.write(f"$ {work.stage.command}\n".encode())
    try:
        with place.unpacked(work) as directory:
            ended = shell.run(
                work,
                work.stage.command,
                mark=f"{work.name}.command",
                directory=directory,
                timeout=work.stage.timeout,
                watch=watch,
                tell=lambda line: work.log.write(line + b"\n"),
                more={
                    "HOMEPORT_URL": url(host, port),
                    "HOMEPORT_ADDRESS": url(where, port),
                    "HOMEPORT_HOST": host,
                    "HOMEPORT_APP": work.app,
                    "HOMEPORT_ENVIRONMENT": work.environment,
                    "HOMEPORT_RELEASE": work.release or "",
                },
            )
    except place.Unusable as e:
        return Probed((e.found.reason,), e.found.lines)
    details = {
        "command": {
            "ok": ended.ok,
            "seconds": ended.seconds,
            "status": ended.status,
            "problem": ended.problem,
        }
    }
    if ended.ok:
        return Probed((), (), details)
    problems = (f"the command failed: {ended.problem}",)
    return Probed(problems, ended.lines, details, watch.stopped)


def found(*probed: Probed, details: dict[str, Any] | None = None) -> Found:
    """What several came to: the first problem is the reason, all are told in the lines."""
    merged: dict[str, Any] = dict(details or {})
    for p in probed:
        merged |= p.details
    stopped = next((p.stopped for p in probed if p.stopped is not None), None)
    if stopped is not None:
        return Found(False, shell.why(stopped), details=merged, stopped=stopped)
    problems = [x for p in probed for x in p.problems]
    if not problems:
        return Found(True, details=merged)
    more = len(problems) - 1
    reason = problems[0] + (f"; {more} more failed" if more else "")
    return Found(False, reason, tuple(x for p in probed for x in p.lines)[: shell.TOLD], merged)
