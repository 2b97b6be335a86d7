"""The daily report: ``python -m shop.report`` counts what was ordered and packed."""

import json
import os
from dataclasses import asdict

from shop.orders import data_directory, for_packing


def main() -> None:
    orders = for_packing()
    found = orders.report()
    orders.close()
    report = asdict(found) | {"release": os.environ.get("HOMEPORT_RELEASE", "")}
    directory = data_directory()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(report) + "\n")
    print(f"{found.orders} orders, {found.items} items, {found.packed} packed")


if __name__ == "__main__":
    main()
