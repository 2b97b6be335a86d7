"""What differs from one release of the shop to the next. The demo changes this file and commits it."""

VERSION = "1"
LOOK = "harbour"
"""harbour or sunset."""
BROKEN = False
"""A mistake that only shows when the app runs: the health check then answers 500."""
LEAKY = False
"""A mistake that only shows under load: a connection is lost with each list of products, then there is none."""
ITEMS = "items"
"""The column that says how many items an order has; it was called quantity (``migrations/``)."""
