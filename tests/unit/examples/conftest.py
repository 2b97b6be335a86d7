"""``examples/shop`` is an app of its own, not part of the package."""

import sys
from pathlib import Path

SHOP = str(Path(__file__).parents[3] / "examples" / "shop")
if SHOP not in sys.path:
    sys.path.insert(0, SHOP)
