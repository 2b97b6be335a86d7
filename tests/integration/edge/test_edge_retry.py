"""Requests that meet a dying instance: what may be sent again is, at once; what may not is not."""

import pytest
from edge_rig import Client, Rig, wait_until

from homeport.edge.model import Server


@pytest.fixture
def pair(rig: Rig) -> Rig:
    """Two servers whose checks are too rare to see one die."""
    rig.backend("good")
    rig.backend("bad")
    rig.start(rig.state(rig.server("good"), rig.server("bad"), check_interval=60.0))
    return rig


def statuses(rig: Rig, method: str, count: int = 20, body: bytes = b"") -> list[int]:
    got = []
    with Client(rig.port) as client:
        for n in range(count):
            try:
                got.append(client.request(method, "/x", body, X_Test_Id=f"{method}-{n}").status)
            except ConnectionError:
                got.append(0)
                client.close()
    return got


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_closed_before_answering_is_asked_elsewhere_at_once(pair: Rig, method: str) -> None:
    pair.backends["bad"].dying = True
    assert statuses(pair, method) == [200] * 20
    assert pair.backends["bad"].requests[f"{method} /x"] > 0
    wait_until(lambda: len(pair.log_lines()) == 20)
    lines = pair.log_lines()
    assert any(line["retries"] != "0" for line in lines)
    took = [int(str(line["total_ms"])) for line in lines if line["retries"] != "0"]
    assert min(took) < 900, "the pause before a retry is 1 s"


@pytest.mark.parametrize(
    ("method", "body"), [("GET", b""), ("POST", b"data"), ("PUT", b"data"), ("DELETE", b"")]
)
def test_refused_is_asked_elsewhere_at_once_with_any_method(pair: Rig, method: str, body: bytes) -> None:
    pair.backends["bad"].stop()
    assert statuses(pair, method, body=body) == [200] * 20
    assert set(pair.backends["good"].seen_ids.values()) == {1}
    wait_until(lambda: len(pair.log_lines()) == 20)
    assert max(int(str(line["total_ms"])) for line in pair.log_lines()) < 900


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("POST", b"data"),
        ("PUT", b"data"),
        ("PATCH", b"data"),
        ("GET", b"data"),
        ("POST", b""),
        ("DELETE", b""),
    ],
)
def test_what_an_app_may_have_taken_is_never_sent_twice(pair: Rig, method: str, body: bytes) -> None:
    pair.backends["bad"].dying = True
    got = statuses(pair, method, body=body)
    seen = pair.backends["good"].seen_ids + pair.backends["bad"].seen_ids
    assert len(seen) == 20 and set(seen.values()) == {1}
    assert got.count(200) == sum(pair.backends["good"].seen_ids.values())
    assert set(got) <= {200, 502, 0} and 200 in got and got.count(200) < 20


def test_a_chunked_body_is_never_sent_twice(pair: Rig) -> None:
    pair.backends["bad"].dying = True
    for n in range(10):
        with Client(pair.port) as client:
            client.send(
                f"GET /x HTTP/1.1\r\nHost: a\r\nX-Test-Id: {n}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                + b"4\r\ndata\r\n0\r\n\r\n"
            )
            try:
                client.read_answer()
            except ConnectionError:
                pass
    seen = pair.backends["good"].seen_ids + pair.backends["bad"].seen_ids
    assert len(seen) == 10 and set(seen.values()) == {1}


def test_idle_connections_that_an_app_closes_lose_no_post(rig: Rig) -> None:
    """An app that dies and comes back between two POSTs of one client, at rest, costs nothing."""
    backend = rig.backend("a1")
    rig.start(rig.state(rig.server("a1"), check_interval=60.0))
    with Client(rig.port) as client:
        assert client.request("POST", "/x", b"1").status == 200
        port = backend.port
        backend.stop()
        from edge_rig import Backend

        rig.backends["a1"] = Backend("a1", port).start()
        assert client.request("POST", "/x", b"2").status == 200


def test_a_server_that_fails_its_checks_gets_nothing_and_comes_back(rig: Rig) -> None:
    rig.backend("a1")
    late = rig.backend("b1")
    late.health_status = 500
    rig.start(rig.state(rig.server("a1")))
    added = rig.server("b1", health_path="/up?deep=1")
    assert rig.edge.apply(rig.state(rig.server("a1"), added)).method == "runtime"

    def status(name: str) -> object:
        return next(s for s in rig.edge.observe() if s.name == name)

    wait_until(lambda: not status("b1").up)
    assert status("b1").check == "L7STS/500"
    assert set(late.health_requests) == {"/up?deep=1"}
    with Client(rig.port) as client:
        assert {client.get("/").text for _ in range(10)} == {"a1"}
        late.health_status = 204
        wait_until(lambda: status("b1").up)
        assert {client.get("/").text for _ in range(10)} == {"a1", "b1"}


def test_a_server_added_at_run_time_equals_the_same_one_from_the_file(rig: Rig) -> None:
    """Both are compared as HAProxy reports them, but for its counters."""
    rig.backend("a1")
    rig.backend("b1")
    rig.start(rig.state(rig.server("a1")))
    both = rig.state(rig.server("a1", 3), rig.server("b1", 7, health_path="/up"))
    assert rig.edge.apply(both).method == "runtime"
    rig.wait_up("a1", "b1")
    from homeport.edge import control

    def table() -> dict[str, dict[str, str]]:
        import csv
        import io

        text = control.ask(rig.layout, "show stat -1 4 -1")[2:]
        rows = {row["svname"]: row for row in csv.DictReader(io.StringIO(text.strip() + "\n"))}
        keep = (
            "status weight uweight addr check_status check_code check_rise check_fall check_health agent_rise"
            " slim qlimit tracked throttle cookie mode algo srv_icur act bck"
        )
        return {name: {k: row.get(k, "") for k in keep.split()} for name, row in rows.items()}

    def state() -> list[list[str]]:
        lines = control.ask(rig.layout, "show servers state").splitlines()
        return sorted(f[3:8] + f[14:] for f in (x.split() for x in lines) if len(f) > 10 and f[0].isdigit())

    table_before, state_before = table(), state()
    more = rig.state(rig.server("a1", 3), rig.server("b1", 7, health_path="/up"), unhealthy_after=2)
    from dataclasses import replace

    from homeport.edge.model import Service
    from homeport.kernel.ids import ServiceName

    more = replace(more, services=(*more.services, Service(ServiceName("other.production.web"))))
    assert rig.edge.apply(more).method == "reload"
    rig.wait_up("a1", "b1")
    assert table() == table_before
    assert state() == state_before


def test_shares_follow_weights(rig: Rig) -> None:
    rig.backend("a1")
    rig.backend("b1")
    rig.start(rig.state(rig.server("a1", 100)))
    rig.edge.apply(rig.state(rig.server("a1", 90), rig.server("b1", 10)))
    with Client(rig.port) as client:
        got = [client.get("/").text for _ in range(200)]
    assert 15 <= got.count("b1") <= 25
    assert isinstance(rig.server("a1"), Server)
