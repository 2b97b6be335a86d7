"""The demo's last act: the table of orders is dropped while the shop sells, and comes back."""

import re
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_account import Unexpected
from load import LoadProcess, Mix, compare_orders

if TYPE_CHECKING:
    from demo import Demo

REPOSITORY = "local"
DROP = "BEGIN; LOCK TABLE orders; SELECT clock_timestamp(); DROP TABLE orders; COMMIT"
"""The time is taken under the lock: what was sold before it is before it, to the order."""
COUNT = "SELECT count(*) FROM orders"
SELLING = 3.0
"""Seconds of sales before the drop, and after the table is back."""
SHOWING = 1.5
"""Seconds for which it is shown what customers see."""
RUN = re.compile(r"b-[0-9a-f]{10}")
BUSY = 5
"""Exit status of a command that has to wait for another run."""
PATIENCE = 300.0
SETTLED = 0.5
NO_TABLE = 'post: status 503: b\'{"error":"orders cannot be taken just now"}\''
"""What the shop answers while it has no table."""


@dataclass
class Recovery:
    """What was seen. Times in seconds."""

    backup_seconds: float = 0.0
    proven: list[dict[str, Any]] = field(default_factory=list)
    """Of each thing: its name, rows or files, and how long its proof took."""
    moment: str = ""
    orders_before: int = 0
    """That were accepted before the drop: answered with success, in this act and those before."""
    orders_back: int = 0
    """Of them."""
    orders_after: int = 0
    """That were accepted once the table was back."""
    orders_lost: int = 0
    """Of all that were accepted."""
    rows: int = 0
    """In the table when it was back."""
    seconds: float = 0.0
    """Of the restore."""
    read_only_seconds: float = 0.0
    held_seconds: float = 0.0
    """For which statements waited at the switch."""
    kept: str = ""
    requests: int = 0
    refused_without_table: int = 0
    refused_read_only: int = 0
    failed: int = 0
    """Neither; nothing may."""
    causes: dict[str, int] = field(default_factory=dict)
    """Of all that were not answered with success."""

    @property
    def ok(self) -> bool:
        return not self.failed and not self.orders_lost and self.orders_back == self.orders_before


class LastAct:
    def __init__(self, demo: "Demo", accepted: list[str]) -> None:
        """``accepted``: orders that were answered with success until now."""
        self.demo = demo
        self.accepted = accepted
        self.found = Recovery()

    def play(self) -> Recovery:
        """Raises ``Unexpected``."""
        self._add_repository()
        self._back_up()
        with LoadProcess(self.demo.address, self.demo.host, Mix()) as load:
            time.sleep(SELLING)
            self._has_sold(load)
            self._drop(load)
            self._bring_back()
            time.sleep(SELLING)
            self._account(load.stop())
        return self.found

    def _add_repository(self) -> None:
        demo = self.demo
        if any(r["name"] == REPOSITORY for r in demo.homeport("backup", "repository", "list")):
            return
        # Root's PostgreSQL runs as another user. What a data directory that is gone left there is another's.
        place = Path(f"{demo.data_dir}-backups") / f"{time.time():.0f}"
        place.mkdir(parents=True)
        for directory in (place.parent, place):
            directory.chmod(0o755)
        demo.say(f"$ homeport backup repository add {REPOSITORY} {place} < passphrase")
        done = subprocess.run(
            [demo.program, "backup", "repository", "add", REPOSITORY, str(place)],
            env=demo.environment, cwd=demo.shop, input=" ".join(secrets.token_hex(3) for _ in range(6)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            demo.say(f"  {line}")
        if done.returncode:
            raise Unexpected(
                f"homeport backup repository add ended with status {done.returncode}: {done.stdout}"
            )
        demo.say()

    def _back_up(self) -> None:
        """With its proof; one that the clock began meanwhile is awaited first."""
        deadline = time.monotonic() + PATIENCE
        while (ended := self.demo.watch("homeport", "backup", "run"))[0] == BUSY:
            if time.monotonic() > deadline:
                raise Unexpected(f"another backup was under way for {PATIENCE:g} s")
            time.sleep(SETTLED)
        status, seconds, told = ended
        run = self._run(told)
        if status:
            raise Unexpected(f"homeport backup run ended with status {status}: {run['reason']}")
        self.found.backup_seconds = round(seconds, 2)
        self.found.proven = [
            {
                "what": s["name"].removeprefix("prove "),
                "tables": s["result"].get("tables"),
                "rows": s["result"].get("rows"),
                "files": s["result"].get("files"),
                "seconds": s["seconds"],
            }
            for s in run["steps"]
            if s["name"].startswith("prove ") and s["result"]
        ]
        self.demo.say()

    def _run(self, told: list[str]) -> dict[str, Any]:
        """The run that a command told of."""
        id = next((run[0] for line in told if (run := RUN.match(line))), None)
        if id is None:
            raise Unexpected(f"no run began: {told}")
        shown: dict[str, Any] = self.demo.homeport("backup", "show", id)
        return shown

    def _has_sold(self, load: LoadProcess) -> None:
        deadline = time.monotonic() + PATIENCE
        while not load.latest["orders_acknowledged"]:
            if time.monotonic() > deadline:
                raise Unexpected(f"the shop accepted no order in {PATIENCE:g} s")
            time.sleep(0.1)

    def _drop(self, load: LoadProcess) -> None:
        demo = self.demo
        demo.say("# somebody means the other database\n")
        status, _, told = demo.watch("homeport", "db", "shell", "--", "-q", "-A", "-t", "-c", DROP)
        if status:
            raise Unexpected(f"the table was not dropped: {told}")
        self.found.moment = next(line for line in told if line[:2] == "20")
        refused = load.latest["by_kind"]["post"]["failed"]
        time.sleep(SHOWING)
        latest = load.latest
        self.found.orders_before = len(self.accepted) + latest["orders_acknowledged"]
        refused = latest["by_kind"]["post"]["failed"] - refused
        demo.say(
            f"  customers look around as before; the {refused} orders of the last {SHOWING:g} s were refused\n"
        )

    def _bring_back(self) -> None:
        at = ("--at", self.found.moment)
        status, seconds, told = self.demo.watch("homeport", "restore", *at, "--confirm", "shop")
        run = self._run(told)
        results: dict[str, Any] = {}
        for step in run["steps"]:
            results |= step["result"] or {}
        if status:
            raise Unexpected(f"homeport restore ended with status {status}: {run['reason']}")
        self.found.seconds = round(seconds, 2)
        self.found.read_only_seconds = results["read_only_seconds"] or 0.0
        self.found.held_seconds = results["held"] or 0.0
        self.found.kept = results["kept"]
        self.demo.say()
        _, _, told = self.demo.watch("homeport", "db", "shell", "--read-only", "--", "-A", "-t", "-c", COUNT)
        self.found.rows = next((int(line) for line in told if line.isdigit()), -1)
        self.demo.say()

    def _account(self, figures: dict[str, Any]) -> None:
        found = self.found
        accepted = [*self.accepted, *figures["acknowledged"]]
        stored = self.demo.stored_orders()
        there = set(stored)
        orders = compare_orders(accepted, figures["unacknowledged"], stored)
        found.orders_back = sum(key in there for key in accepted[: found.orders_before])
        found.orders_after = len(accepted) - found.orders_before
        found.orders_lost = len(orders["lost"]) + len(orders["doubled"])
        found.requests = figures["sent"]
        found.causes = figures["causes"]
        found.refused_without_table = found.causes.get(NO_TABLE, 0)
        found.refused_read_only = sum(n for cause, n in found.causes.items() if is_read_only(cause))
        found.failed = figures["failed"] - found.refused_without_table - found.refused_read_only
        if found.orders_after <= 0:
            raise Unexpected("the table is back, and no order was accepted since")


def is_read_only(cause: str) -> bool:
    """Whether the edge refused an order because data were being brought back."""
    return cause.startswith("post: status 503: ") and "Data are being brought back" in cause
