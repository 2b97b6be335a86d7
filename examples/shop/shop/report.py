"""The daily report: ``python -m shop.report`` counts what was ordered and packed."""

import json
import os

from shop.orders import Orders, data_directory


def main() -> None:
    directory = data_directory()
    orders = Orders(directory)
    found = orders.all()
    orders.close()
    mark = directory / "packed.json"
    report = {
        "orders": len(found),
        "items": sum(int(str(o.get("items", 0))) for o in found),
        "packed": json.loads(mark.read_text())["orders"] if mark.exists() else 0,
        "release": os.environ.get("HOMEPORT_RELEASE", ""),
    }
    (directory / "report.json").write_text(json.dumps(report) + "\n")
    print(f"{report['orders']} orders, {report['items']} items, {report['packed']} packed")


if __name__ == "__main__":
    main()
