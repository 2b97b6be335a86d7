"""Backup, restore and proof of a database by Homeport, against raw pgBackRest on the same one in the same run.

    python bench/backup.py [--megabytes N]

Raw is what the same programs take without Homeport: pgBackRest with the same options, and a server on what it
restored. Homeport's backup has a manifest besides (rows and a digest of each table), its restore ends with files
that are cleanly stopped and free of what only the recovery needed.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration" / "backup"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from physical_home import PhysicalHome
from ship import figure

from homeport.backup.physical import commands
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.model import AtTime, Newest
from homeport.backup.physical.pgbackrest import silent
from homeport.backup.physical.restore import check_log
from homeport.spec.model_backup import PROOF_RATE

RATIO = 1.1
PROOF = 20.0
ROW = 600
"""Bytes, about half of which compress away, as of text."""


def fill(home: PhysicalHome, megabytes: int) -> None:
    home.sql("CREATE TABLE orders (id bigint PRIMARY KEY, what text)")
    rows = megabytes * 1024 * 1024 // ROW
    home.sql(
        "INSERT INTO orders SELECT g, (SELECT string_agg(md5(g::text || i::text), ' ' || g) "
        f"FROM generate_series(1, {ROW // 45}) i) FROM generate_series(1, {rows}) g"
    )
    home.sql("CREATE TABLE moments (n int)")
    home.sql("VACUUM ANALYZE orders")
    home.sql("CHECKPOINT")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    found = work()
    return time.monotonic() - began, found


def raw_backup(home: PhysicalHome) -> None:
    argv = commands.pgbackrest(home.backups.layout, "backup", "--type=full", repository=1)
    home.backups._program.work(argv, "backup", "measure", silent)


def raw_restore(home: PhysicalHome, directory: Path) -> None:
    program = home.backups._program
    copy = Copy(program, directory, home.cluster.version, home.clock, throwaway=False)
    backup = home.backups.get("r1")
    way = check_log(program, backup, Newest(), with_tail=False)
    copy.make()
    argv = commands.restore(
        program.layout, 1, backup.label, copy.files, kind="default", timeline=way.timeline, idle=False
    )
    # Without the words that make it yield.
    program.work(argv[len(commands.YIELDING) :], "copy", "measure", silent)
    copy.start()
    copy.stop()


def exact(home: PhysicalHome) -> bool:
    """Whether a moment between two commits brings back the first of them and not the second."""
    home.sql("INSERT INTO moments VALUES (1)")
    moment = home.sql("SELECT clock_timestamp()")[0][0]
    home.sql("INSERT INTO moments VALUES (2)")
    restored = home.backups.restore(AtTime(moment), "moment")
    copy = Copy(
        home.backups._program, restored.files.parent, home.cluster.version, home.clock, throwaway=True
    )
    copy.start()
    try:
        with copy.connect("postgres") as connection:
            return connection.execute("SELECT n FROM moments").fetchall() == [(1,)]
    finally:
        copy.stop()
        home.backups.drop_restored("moment")


def run(megabytes: int = 1024, say: Any = lambda text: None) -> list[dict[str, Any]]:
    home = PhysicalHome()
    try:
        say(f"filling {megabytes} MB")
        fill(home, megabytes)
        home.backups.flush()
        raw, _ = timed(lambda: raw_backup(home))
        say(f"raw backup {raw:.1f} s")
        ours, made = timed(lambda: home.backups.backup(full=True))
        say(f"backup {ours:.1f} s, pgBackRest's part {made[0].seconds:.1f} s")
        scratch = home.backups.layout.scratch / "raw"
        raw_back, _ = timed(lambda: raw_restore(home, scratch))
        say(f"raw restore {raw_back:.1f} s")
        shutil.rmtree(scratch)
        back, _ = timed(lambda: home.backups.restore(Newest(), "measured"))
        say(f"restore {back:.1f} s")
        home.backups.drop_restored("measured")
        proven, proof = timed(lambda: home.backups.prove("r1", rate=PROOF_RATE))
        say(f"proof {proven:.1f} s, of which held back {proof.paused:.1f} s: {proof.steps}")
        is_exact = exact(home)
        size = made[0].backup.bytes
    finally:
        home.end()
    return [
        figure("size of the cluster", round(size / 1e6), "MB"),
        figure("full backup with its manifest", round(ours, 1), "s", raw=round(raw, 1)),
        figure("full backup, of raw pgBackRest's time", round(ours / raw, 2), "times", f"<= {RATIO}", ours <= RATIO * raw),
        figure("restore to the newest moment", round(back, 1), "s", raw=round(raw_back, 1)),
        figure("restore, of raw pgBackRest's time", round(back / raw_back, 2), "times", f"<= {RATIO}", back <= RATIO * raw_back),
        figure("proof, held to its default rate", round(proven, 1), "s", f"<= {PROOF:g}", proven <= PROOF),
        figure("proof passed", proof.passed, "", "True", proof.passed),
        figure("point in time exact to the transaction", is_exact, "", "True", is_exact),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    options = parser.parse_args()
    figures = run(options.megabytes, lambda t: print(t, file=sys.stderr, flush=True))
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    return 1 if any(f["holds"] is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
