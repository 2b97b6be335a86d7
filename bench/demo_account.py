"""What the demo saw, as records and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from load import compare_orders

GETS = ("get", "pipeline")
"""Kinds of load that ask for what the bad canary fails at."""
OWN_ERROR = "no connection is left"
"""What it says then."""


class Unexpected(Exception):
    """The demo did not go as it should; what happened instead."""


@dataclass
class Deploy:
    what: str
    release: str
    verdict: str
    serving: str
    seconds: float
    build_seconds: float


@dataclass
class Push:
    """A ``git push`` and the run of the pipeline that it was."""

    what: str
    commit: str
    release: str
    state: str
    """Of the run: passed or failed."""
    reason: str
    serving: str
    seconds: float
    stages: dict[str, float]
    """Seconds of each stage that began."""
    requests: int
    """Sent while it ran, to production."""
    canary_requests: int
    """Of them answered by the release on trial, up to the verdict, as the edge counted."""
    canary_errors: int
    failed: int
    """Of the requests, as their clients saw them."""
    failed_by_canary: int
    """Of those, answered with status 500, which is the app's: the edge has others."""


@dataclass
class Migration:
    """Of production's database, as Homeport recorded it."""

    version: str
    description: str
    release: str
    contract: bool
    state: str


def account(figures: dict[str, Any], pushes: list[Push], stored: list[str]) -> dict[str, Any]:
    """Of a demo that went to its end. The one release on trial that was to fail answers 500; nothing else may."""
    orders = compare_orders(figures["acknowledged"], figures["unacknowledged"], stored)
    own = sum(p.failed_by_canary for p in pushes if p.state == "failed")
    own = min(own, sum(figures["by_kind"].get(kind, {}).get("failed", 0) for kind in GETS))
    otherwise = max(figures["failed"] - own, len(others(figures["failures"])))
    return {
        "requests_sent": figures["sent"],
        "requests_failed": figures["failed"],
        "failed_by_bad_canary": own,
        "failed_otherwise": otherwise,
        "failures": figures["failures"],
        "orders_lost": len(orders["lost"]),
        "orders_doubled": len(orders["doubled"]),
        "by_kind": figures["by_kind"],
        "releases": figures["releases"],
        "ok": not otherwise and not orders["lost"] and not orders["doubled"],
    }


def others(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failed requests that are not the bad canary's own."""
    return [f for f in failures if OWN_ERROR not in f["what"]]


def seconds_of(stage: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(stage[key]) for key in ("started_at", "finished_at"))
    return round((ended - began).total_seconds(), 2)


def table(result: dict[str, Any]) -> Iterator[str]:
    """The table, of a demo that was stopped too."""
    rows = [("WHAT", "RELEASE", "VERDICT", "SERVES", "SECONDS", "OF IT BUILD")]
    for d in result["deploys"]:
        seconds = (f"{d['seconds']:.2f}", f"{d['build_seconds']:.2f}")
        rows.append((d["what"], d["release"], d["verdict"], d["serving"], *seconds))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    yield ""
    for p in result["pushes"]:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in p["stages"].items())
        yield f"push: {p['what']}: {p['state']} after {p['seconds']:.1f} s, {p['serving']} serves ({stages})"
    if result["pushes"]:
        yield ""
    for release in dict.fromkeys(m["release"] for m in result["migrations"]):
        names = [m["description"] for m in result["migrations"] if m["release"] == release]
        yield f"migrations of {release}: {', '.join(names)}"
    if result["migrations"]:
        yield ""
    if result["stopped"]:
        yield f"requests sent   {result['requests_sent']}, failed {result['requests_failed']}"
        yield f"✗ the demo did not go as it should: {result['stopped']}"
        return
    own, sent = result["failed_by_bad_canary"], result["requests_sent"]
    yield f"requests sent   {sent}"
    yield f"requests failed {result['requests_failed']}"
    yield f"  of them GETs that the bad canary answered with its own 500: {own}, {100 * own / sent:.2f} % of all"
    yield f"  otherwise: {result['failed_otherwise']}"
    if result["failed_otherwise"]:
        for failure in others(result["failures"]):
            yield f"  {failure['time']} {failure['kind']}: {failure['what']}"
    yield f"orders lost     {result['orders_lost']}, doubled {result['orders_doubled']}"
    yield ""
    yield from recovered(result["recovery"])
    yield ""
    yield f"open            {result['url']}"


def recovered(found: dict[str, Any]) -> Iterator[str]:
    """The act as lines below the table. ``found``: a ``Recovery`` as a dict."""
    of = [
        f"{p['what']}, {p['rows']} rows" if p["rows"] else f"{p['what']}, {p['files']} files"
        for p in found["proven"]
        if p["rows"] or p["files"]
    ]
    yield f"backup          made and proven after {found['backup_seconds']:.1f} s ({'; '.join(of)})"
    yield f"orders dropped  {found['moment']}, with {found['orders_before']} of them accepted before"
    yield (
        f"  back after {found['seconds']:.1f} s: {found['orders_back']} of {found['orders_before']}; "
        f"accepted since {found['orders_after']}, lost {found['orders_lost']}"
    )
    yield (
        f"  read-only for {found['read_only_seconds']:.1f} s; "
        f"at the switch statements waited for {found['held_seconds']:.2f} s"
    )
    yield (
        f"  of {found['requests']} requests, orders refused without their table: {found['refused_without_table']}, "
        f"while read-only: {found['refused_read_only']}; failed otherwise: {found['failed']}"
    )
    if found["failed"]:
        for cause, count in found["causes"].items():
            yield f"    {count} × {cause}"
