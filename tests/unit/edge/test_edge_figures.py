"""Counters read as what failed, and the access log's lines. Rows are as HAProxy 2.6.12 gave them."""

import pytest

from homeport.edge import observed
from homeport.edge.access import Access, parse, parse_line
from homeport.edge.model import Counted
from homeport.kernel.ids import ServiceName

SHOP = ServiceName("shop.production.web")
COLUMNS = "pxname,svname,type,scur,stot,econ,eresp,wretr,wredis,srv_abrt,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx"


def row(**numbers: int) -> observed.Count:
    values = [str(numbers.get(column, "")) for column in COLUMNS.split(",")[3:]]
    (found,) = observed.parse_counts(f"\n# {COLUMNS},\n{SHOP},a1,2,{','.join(values)},\n\n")
    return found


@pytest.mark.parametrize(
    ("seen", "requests", "errors"),
    [
        ({"stot": 9, "hrsp_2xx": 3, "hrsp_3xx": 3, "hrsp_4xx": 3}, 9, 0),
        ({"stot": 3, "hrsp_5xx": 3}, 3, 3),
        ({"stot": 3, "eresp": 3}, 3, 3),
        ({"stot": 3, "eresp": 6}, 3, 3),
        ({"stot": 10, "wretr": 10, "wredis": 10}, 10, 10),
        ({"stot": 10, "wretr": 10, "wredis": 10, "eresp": 10}, 10, 10),
        ({"stot": 9, "wredis": 9}, 9, 9),
        ({"stot": 12, "econ": 3, "wretr": 9}, 12, 12),
        ({"stot": 12, "eresp": 15, "wretr": 18}, 12, 12),
        ({"stot": 4, "hrsp_2xx": 4, "eresp": 3, "srv_abrt": 3}, 4, 3),
        ({"stot": 4, "hrsp_2xx": 4, "srv_abrt": 3}, 4, 3),
        ({"stot": 3, "hrsp_1xx": 3, "hrsp_2xx": 3}, 3, 0),
        ({"stot": 6, "hrsp_1xx": 6, "scur": 3}, 0, 0),
        ({"stot": 8, "hrsp_2xx": 3, "scur": 5}, 3, 0),
        ({}, 0, 0),
    ],
)
def test_what_the_columns_mean(seen: dict[str, int], requests: int, errors: int) -> None:
    assert row(**seen).to_counted() == Counted(SHOP, "a1", requests, errors, seen.get("scur", 0))


def test_no_figure_falls() -> None:
    before = row(stot=5, eresp=4, hrsp_2xx=2).to_counted()
    assert (before.requests, before.errors) == (5, 3)
    after = row(stot=5, eresp=4, hrsp_2xx=4).to_counted(before)
    assert (after.requests, after.errors) == (7, 3)
    assert row(stot=5, eresp=4, hrsp_2xx=4).to_counted() == Counted(SHOP, "a1", 5, 1, 0)


SESSIONS = (
    "0x1: [now] id=1 proto=tcpv4\n  backend=shop.production.web (id=4 mode=http) addr=127.0.0.1:1\n"
    "  server=a1 (id=1) addr=127.0.0.1:2\n  txn=0x5 status=-1 req.st=MSG_DONE rsp.st=MSG_RPBEFORE\n"
    "0x2: [now] id=2 proto=tcpv4\n  backend=shop.production.web (id=4 mode=http) addr=127.0.0.1:1\n"
    "  server=a1 (id=1) addr=127.0.0.1:2\n  txn=0x5 status=200 req.st=MSG_DONE rsp.st=MSG_DATA\n"
    "0x3: [now] id=3 proto=unix_stream\n  backend=<NONE> (id=-1 mode=-)\n  server=<NONE> (id=-1)\n"
)


def test_requests_that_wait_are_told_from_others() -> None:
    assert observed.parse_waiting(SESSIONS, SHOP, "a1") == 1
    assert observed.parse_waiting(SESSIONS, SHOP, "a") == 0
    assert observed.parse_waiting(SESSIONS, ServiceName("shop.production"), "a1") == 0
    assert observed.parse_waiting("", SHOP, "a1") == 0


LINE = (
    b'{"time":1795251952.123,"request_id":"id","client":"::1","host":"a\\"b","method":"GET",'
    b'"path":"/\\",\\"status\\":500,\\"end\\":\\"","status":200,"bytes":12,"total_ms":+34,"connect_ms":0,'
    b'"response_ms":33,"service":"shop.production.web","server":"shop.production.r7.web.1","retries":"+1","end":"--"}'
)


def test_a_line() -> None:
    found = parse_line(LINE)
    assert found == Access(
        1795251952.123, SHOP, "shop.production.r7.web.1", 200, 33, 34, 1, "--"
    )  # fmt: skip
    assert found.ended == pytest.approx(1795251952.157)
    unanswered = parse_line(LINE.replace(b'"response_ms":33', b'"response_ms":-1').replace(b":200,", b":-1,"))
    assert unanswered is not None and (unanswered.response_ms, unanswered.status) == (None, -1)


def test_a_connection_may_have_been_idle_before() -> None:
    found = parse_line(LINE.replace(b'123,"request_id"', b'123,"idle_ms":2500,"request_id"'))
    assert found is not None and found.at == pytest.approx(1795251954.623)


def test_what_is_no_line_is_left_out() -> None:
    error = b'{"time":1795251952.123,"client":"::1","error":"SSL handshake failure"}'
    broken = (b"", b"[NOTICE] new worker", error, LINE[:-1], LINE[5:], LINE + b"x", b'{"time":', b"\xff\xfe")
    assert all(parse_line(line) is None for line in broken)
    assert len(parse(b"\n".join((LINE, *broken, LINE, b"")))) == 2
