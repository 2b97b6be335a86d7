"""The example shop as an ASGI app, without a server."""

import asyncio
import json
from typing import Any

import pytest
import shop.app
from shop import release
from shop.app import Shop
from shop.orders import Conflict, Order, Unavailable
from shop.page import LOOKS, render


class Memory:
    """Stands in for the orders' place."""

    def __init__(self) -> None:
        self.stored: list[Order] = []
        self.error: Exception | None = None
        self.was_ready = True
        self.why = ""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def add(self, order: Order) -> None:
        if self.error is not None:
            raise self.error
        self.stored.append(order)

    async def get(self, key: str) -> Order | None:
        return next((order for order in self.stored if order.key == key), None)

    async def keys(self) -> list[str]:
        return [order.key for order in self.stored]

    def ready(self) -> bool:
        return self.was_ready

    def trouble(self) -> str:
        return self.why


@pytest.fixture
def orders() -> Memory:
    return Memory()


@pytest.fixture
def made(orders: Memory, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("HOMEPORT_RELEASE", "r7")
    return Shop(orders)


def ask(
    made: Shop, method: str, path: str, parts: tuple[bytes, ...] = (b"",), query: bytes = b""
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) == 4:
            made.stopping = True

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    asyncio.run(made(scope, receive, send))
    return (
        sent[0]["status"],
        dict(sent[0]["headers"]),
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


def test_every_answer_names_its_release(made: Shop) -> None:
    for path in ("/", "/health", "/version", "/products", "/missing"):
        assert ask(made, "GET", path)[1][b"x-release"] == b"r7"


def test_unknown_paths_and_methods(made: Shop) -> None:
    assert ask(made, "GET", "/missing")[0] == 404
    assert ask(made, "POST", "/products")[0] == 405
    assert ask(made, "HEAD", "/products")[0] == 200


def test_an_order_sent_twice_is_stored_twice(made: Shop) -> None:
    body = b'{"id":"a-1","items":["tea","bell"]}'
    for _ in range(2):
        status, _, answer = ask(made, "POST", "/orders", (body[:10], body[10:]))
        assert (status, json.loads(answer)) == (201, {"id": "a-1", "items": 2, "currency": "EUR"})
    assert json.loads(ask(made, "GET", "/orders/count")[2]) == {"orders": 2, "distinct": 1}
    assert json.loads(ask(made, "GET", "/orders/ids")[2]) == ["a-1", "a-1"]


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"id":""}', b'{"id":7}', b"\xff", b'{"id":"a\\u0000"}', b'{"id":"\\ud800"}', b'{"id":"%b"}' % (b"x" * 201)])  # fmt: skip
def test_an_order_without_an_id_is_refused(made: Shop, body: bytes) -> None:
    assert ask(made, "POST", "/orders", (body,))[0] == 422
    assert json.loads(ask(made, "GET", "/orders/count")[2])["orders"] == 0


def test_an_order_that_is_too_large_is_refused(made: Shop) -> None:
    assert ask(made, "POST", "/orders", (b" " * 600_000, b" " * 600_000))[0] == 413


def test_an_order_can_be_looked_up(made: Shop, orders: Memory) -> None:
    ask(made, "POST", "/orders", (b'{"id":"a 1","items":["tea","bell"],"customer":"ann@example.com"}',))
    assert orders.stored == [Order("a 1", 2, "ann@example.com")]
    status, _, body = ask(made, "GET", "/orders", query=b"id=a%201")
    assert (status, json.loads(body)) == (200, {"id": "a 1", "items": 2})
    assert ask(made, "GET", "/orders", query=b"id=b")[0] == 404


@pytest.mark.parametrize(("error", "status"), [(Conflict(), 409), (Unavailable(), 503)])
def test_an_order_that_was_not_taken_is_told(
    made: Shop, orders: Memory, error: Exception, status: int
) -> None:
    orders.error = error
    assert ask(made, "POST", "/orders", (b'{"id":"a"}',))[0] == status


def test_health_tells_trouble_and_stays_well_once_orders_were_taken(made: Shop, orders: Memory) -> None:
    orders.was_ready, orders.why = False, "the database cannot be reached"
    assert ask(made, "GET", "/health")[0] == 503
    orders.was_ready = True
    status, _, body = ask(made, "GET", "/health")
    assert (status, json.loads(body)) == (
        200,
        {"status": "degraded", "orders": "the database cannot be reached"},
    )


def test_upload_counts_what_came(made: Shop) -> None:
    assert json.loads(ask(made, "POST", "/upload", (b"x" * 10, b"y" * 5))[2]) == {"bytes": 15}


def test_events_follow_each_other_and_end_when_the_shop_stops(
    made: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.app, "TICK", 0.0)
    status, headers, body = ask(made, "GET", "/events")
    assert (status, headers[b"content-type"]) == (200, b"text/event-stream")
    ids = [line for line in body.decode().splitlines() if line.startswith("id:")]
    assert ids == ["id: 1", "id: 2", "id: 3"]


def test_slow_takes_a_number(made: Shop) -> None:
    assert json.loads(ask(made, "GET", "/slow", query=b"seconds=0")[2]) == {"waited": 0.0}
    assert ask(made, "GET", "/slow", query=b"seconds=x")[0] == 422


def test_a_broken_release_fails_its_health_check(made: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "BROKEN", True)
    with pytest.raises(RuntimeError, match="price list"):
        ask(made, "GET", "/health")


def test_a_leaky_release_is_well_until_its_connections_are_used_up(
    made: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = range(shop.app.CONNECTIONS + 1)
    assert [ask(made, "GET", "/products")[0] for _ in many] == [200] * len(many)
    monkeypatch.setattr(release, "LEAKY", True)
    assert [ask(made, "GET", "/products")[0] for _ in many] == [200] * shop.app.CONNECTIONS + [500]
    status, headers, body = ask(made, "GET", "/products")
    assert (status, headers[b"x-release"]) == (500, b"r7") and b"no connection is left" in body
    assert ask(made, "GET", "/health")[0] == ask(made, "GET", "/")[0] == 200


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_has_no_outside_assets_and_shows_its_release(look: str) -> None:
    page = render("1", look, "r1<script>").decode()
    assert "r1&lt;script&gt;" in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert "width=device-width" in page
