"""HAProxy's own words, parsed: what runs now. Pure."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from homeport.edge.commands import HOOKS
from homeport.edge.model import Counted, ServerStatus
from homeport.kernel.ids import ServiceName


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server as the current worker has it. ``weight`` is the one set, also while in maintenance."""

    service: ServiceName
    name: str
    endpoint: str
    weight: int
    status: str
    """HAProxy's word: "UP", "DOWN 1/2", "DRAIN", "MAINT", "no check"."""
    sessions: int
    connections: int
    """Connections to it, idle ones too; it cannot be deleted before there are none."""
    check: str

    @property
    def in_maintenance(self) -> bool:
        return self.status.startswith("MAINT")

    @property
    def up(self) -> bool:
        return self.status.startswith(("UP", "DRAIN", "no check"))

    def to_status(self) -> ServerStatus:
        return ServerStatus(
            service=self.service,
            name=self.name,
            port=int(self.endpoint.rpartition(":")[2] or 0),
            weight=0 if self.in_maintenance else self.weight,
            up=self.up,
            sessions=self.sessions,
            check=self.check,
        )


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Running:
    """The current worker. Maps are pairs, since HAProxy may hold a key twice."""

    pid: int
    digest: str
    stopping: bool
    servers: tuple[RunningServer, ...]
    hosts: Pairs
    routes: Pairs
    health: Pairs
    pins: Pairs
    mode_maps: tuple[Pairs, ...]
    """In the order of ``Layout.mode_maps``."""


@dataclass(frozen=True, slots=True)
class Info:
    pid: int
    digest: str
    stopping: bool
    version: str


def parse_info(text: str) -> Info:
    """``show info``. Raises ValueError when it is not that."""
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    try:
        words = fields["description"].split()
        return Info(
            pid=int(fields["Pid"]),
            digest=words[1] if len(words) == 2 and words[0] == "homeport" else "",
            stopping=fields.get("Stopping", "0") != "0",
            version=fields.get("Version", ""),
        )
    except KeyError as e:
        raise ValueError(f"no {e} in HAProxy's answer") from e


def parse_servers(text: str) -> tuple[RunningServer, ...]:
    """``show stat … 4 -1`` (CSV). Empty for an answer that is no table."""
    return tuple(_server(row) for row in _server_rows(text))


def _server_rows(text: str) -> Iterator[Mapping[str, str]]:
    """Servers of services: not the one of hooks, which is part of the configuration."""
    start = text.find("# pxname,")
    if start >= 0:
        rows = csv.DictReader(io.StringIO(text[start + 2 :].strip() + "\n"))
        yield from (row for row in rows if row.get("type") == "2" and row["pxname"] != HOOKS)


def _server(row: Mapping[str, str]) -> RunningServer:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    check = row.get("check_status", "").removeprefix("* ")
    code = row.get("check_code", "")
    return RunningServer(
        service=ServiceName(row["pxname"]),
        name=row["svname"],
        endpoint=row.get("addr", ""),
        weight=number("uweight") if row.get("uweight") else number("weight"),
        status=row["status"],
        sessions=number("scur"),
        connections=max(
            number("used_conn_cur") + number("idle_conn_cur") + number("safe_conn_cur"), number("scur")
        ),
        check=f"{check}/{code}" if code and code != "0" else check,
    )


def parse_map(text: str) -> Pairs:
    """``show map FILE``: one ``0xADDRESS key value`` a line."""
    pairs = []
    for line in text.splitlines():
        fields = line.split(" ", 2)
        if len(fields) == 3 and fields[0].startswith("0x"):
            pairs.append((fields[1], fields[2]))
    return tuple(pairs)


def parse_maps(text: str, count: int) -> tuple[Pairs, ...]:
    """The answer to ``count`` ``show map`` on one line: each ends with an empty line.

    Raises ValueError when it is not that.
    """
    found: list[Pairs] = []
    answer: list[str] = []
    for line in text.split("\n")[:-1]:
        if line:
            answer.append(line)
        else:
            found.append(parse_map("\n".join(answer)))
            answer = []
    if answer or len(found) != count:
        raise ValueError(f"{len(found)} maps instead of {count}")
    return tuple(found)


def parse_workers(text: str) -> tuple[int, ...]:
    """Pids of the workers, old ones too, from the master's ``show proc``."""
    workers = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0].isdigit() and fields[1] == "worker":
            workers.append(int(fields[0]))
    return tuple(workers)


def parse_failed_reloads(text: str) -> int:
    """How many reloads in a row have failed, from the master's ``show proc`` ("[failed: N]")."""
    _, mark, rest = text.partition("[failed:")
    return int(rest.split("]")[0]) if mark else 0


@dataclass(frozen=True, slots=True)
class Count:
    """A server's own counters, as far as they say what failed."""

    service: ServiceName
    name: str
    attempts: int
    """Requests sent here, each time that they were."""
    answered: int
    """Answers with a status of 2xx to 4xx that came whole."""
    failed: int
    """Failures as counted by HAProxy: never fewer than there were; 0 when there were none."""
    sessions: int

    def to_counted(self, before: Counted | None = None) -> Counted:
        """``before`` is what was told of the same counters last; no figure falls below it."""
        errors = min(self.failed, self.attempts - self.answered)
        if before is not None:
            errors = max(errors, before.errors)
        requests = self.answered + errors
        if before is not None:
            requests = max(requests, before.requests)
        return Counted(self.service, self.name, requests, errors, self.sessions)


def parse_counts(text: str) -> tuple[Count, ...]:
    """``show stat … 4 -1``. What the columns mean was seen on HAProxy 2.6 (tests/integration/edge).

    ``eresp`` counts a reset connection twice, and one that is tried again at the same server is twice
    in ``wretr``; therefore failures are bounded by the attempts (``stot``) that got no good answer. What
    is over can be no more than requests that wait just now, WebSockets, and uploads that clients broke off.
    """
    return tuple(_count(row) for row in _server_rows(text))


def _count(row: Mapping[str, str]) -> Count:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    broken = number("srv_abrt")
    good = number("hrsp_2xx") + number("hrsp_3xx") + number("hrsp_4xx")
    return Count(
        service=ServiceName(row["pxname"]),
        name=row["svname"],
        attempts=number("stot"),
        answered=max(0, good - broken),
        failed=number("hrsp_5xx")
        + number("econ")
        + max(number("wretr"), number("wredis"))
        + max(number("eresp"), broken),
        sessions=number("scur"),
    )


_SESSION = re.compile(r"^0x", re.MULTILINE)


def parse_waiting(text: str, service: ServiceName, server: str) -> int:
    """``show sess all``: requests at a server of which no answer has come yet."""
    return sum(
        f"\n  backend={service} " in one and f"\n  server={server} " in one and " rsp.st=MSG_RPBEFORE" in one
        for one in _SESSION.split(text)
    )
