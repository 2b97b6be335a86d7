"""The web process: ``python -m shop.web`` serves the shop on ``127.0.0.1:$PORT``."""

import os
from types import FrameType

import uvicorn

from shop.app import Shop, create


class Server(uvicorn.Server):
    """Tells the shop when it is asked to stop, so that endless answers end as well."""

    def __init__(self, config: uvicorn.Config, shop: Shop) -> None:
        super().__init__(config)
        self._shop = shop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._shop.stopping = True
        super().handle_exit(sig, frame)


def main() -> None:
    shop = create()
    config = uvicorn.Config(
        shop,
        host="127.0.0.1",
        port=int(os.environ.get("PORT", "8000")),
        lifespan="on",
        access_log=False,
        # Longer than the edge keeps an idle connection, so that it is the edge that closes.
        timeout_keep_alive=75,
    )
    Server(config, shop).run()


if __name__ == "__main__":
    main()
