"""The shop's own tests, the first stage of its pipeline: ``python3 -m unittest discover -s tests``."""

import asyncio
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from shop.app import CONNECTIONS, Shop
from shop.files import FileOrders, FilePacking
from shop.page import LOOKS, PRODUCTS, render


class ShopTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        orders = FileOrders(self.directory)
        self.addCleanup(lambda: asyncio.run(orders.close()))
        self.shop = Shop(orders)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        asyncio.run(self.shop(scope, receive, send))
        return sent[0]["status"], sent[1]["body"]

    def test_products_have_a_name_and_a_price(self) -> None:
        status, body = self.ask("GET", "/products")
        self.assertEqual((status, json.loads(body)), (200, PRODUCTS))
        self.assertTrue(all(product["name"] and int(str(product["price"])) > 0 for product in PRODUCTS))

    def test_the_page_shows_every_product_in_every_look(self) -> None:
        for look in LOOKS:
            page = render("1", look, "r1").decode()
            self.assertTrue(all(str(product["name"]).split("'")[0] in page for product in PRODUCTS))

    def test_an_order_is_taken_and_packed_once(self) -> None:
        self.assertEqual(self.ask("POST", "/orders", b'{"id":"a","items":["tea"]}')[0], 201)
        packing = FilePacking(self.directory)
        self.assertEqual([packing.pack(), packing.pack()], [1, 0])

    def test_what_is_no_order_is_refused(self) -> None:
        self.assertEqual(self.ask("POST", "/orders", b"{}")[0], 422)

    def test_a_few_lists_of_products_leave_the_connections_alone(self) -> None:
        for _ in range(CONNECTIONS // 4):
            self.assertEqual(self.ask("GET", "/products")[0], 200)


if __name__ == "__main__":
    unittest.main()
