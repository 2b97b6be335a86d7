"""The keys of ``homeport.toml`` about backups."""

from __future__ import annotations

from homeport.spec.key import Key, Table
from homeport.spec.model_backup import DRILLS, MASKS
from homeport.spec.values import Duration, Flag, Name, ShortText, Whole
from homeport.spec.values_backup import Drills, Query, Rate

BACKUP = "backup"
KEEP = "backup.keep"
PROOF = "backup.proof"
PROOF_QUERY = "backup.proof.NAME"
MASK = "backup.mask"

BACKUP_TABLES = (
    Table(
        BACKUP,
        "How databases and `[storage]` are backed up. Without it that is as the defaults say. It may stand in an "
        "environment alone, such as `[environments.production.backup]`. Where backups go is the machine's: "
        "`homeport backup repository add`. Previews are not backed up.",
    ),
    Table(
        KEEP,
        "How many backups are kept: the newest of each of the last hours, days, weeks and months that have "
        "one. Besides these, the newest proven one stays, and what returning to any moment of the window needs.",
    ),
    Table(
        PROOF,
        "Queries that a restored copy must answer before its backup counts as proven. A name is of your "
        "choice; a value is a query, or a table with the keys of `[backup.proof.NAME]`. At most 50.",
        example='recent-orders = "SELECT count(*) FROM orders WHERE paid"\n'
        'books-balance = { query = "SELECT sum(amount) FROM entries", expect = "0" }',
    ),
    Table(PROOF_QUERY, "A query with more than its text, such as `[backup.proof.books-balance]`."),
    Table(
        MASK,
        "What a clone shows instead of a column's values. A key is a table and its column, with the schema "
        "where that is not `public`, and with the database in front where that is not `main`; it stands in quotes. "
        "A value is "
        + ", ".join(f"`{rule}`" for rule in MASKS)
        + "; `keep` leaves the values as they are. At most "
        "500.",
        example='"users.email" = "email"\n"crm.people.born" = "date"\n"reports:visits.address" = "ip"',
    ),
)

_KEPT = (
    ("hourly", "hours", 48, 24),
    ("daily", "days", 14, 30),
    ("weekly", "weeks", 8, 12),
    ("monthly", "months", 24, 12),
)

BACKUP_KEYS = (
    Key(
        BACKUP,
        "schedule",
        ShortText(200),
        "When backups are made, as in `[cron.NAME]`: of databases of Homeport's own what changed since the last one, "
        "of all else everything.",
        "30 * * * *",
        default="0 * * * *",
    ),
    Key(
        BACKUP,
        "full",
        ShortText(200),
        "When all of the databases of Homeport's own is backed up anew.",
        "15 3 * * *",
        default="0 2 * * *",
    ),
    Key(
        BACKUP, "timezone", ShortText(64), "The time zone of both schedules.", "Europe/Berlin", default="UTC"
    ),
    Key(
        BACKUP,
        "window",
        Duration("1h", "400d"),
        "How far back a database of Homeport's own can be returned to any moment.",
        "14d",
        default="7d",
    ),
    Key(
        BACKUP,
        "synchronous",
        Flag(),
        "A commit waits until a second copy of it is on disk, so that none is lost with the database's own. It takes "
        "about twice as long then.",
        True,
        default=False,
    ),
    Key(
        BACKUP,
        "proof_rate",
        Rate(),
        "What a proof may read from disks in a second, and what it may write. A cluster has the lowest that one of its "
        "apps with `[backup]` asks, and so has what is proven of Homeport itself.",
        "40MB/s",
        default="100MB/s",
    ),
    Key(
        BACKUP,
        "rate",
        Rate(),
        "The same of a backup. It holds for what goes over the network, too.",
        "40MB/s",
        default="unlimited",
    ),
    Key(
        BACKUP,
        "rpo",
        Duration("1s", "30d"),
        "How much of what was written may be lost. Drills are held against it, and in `homeport backup status` what "
        "would be lost with the machine just now; that is a minute or two on any day.",
        "5m",
        absent="5m in `homeport backup status`, in drills what their scenario has",
    ),
    Key(
        BACKUP,
        "rto",
        Duration("1s", "30d"),
        "The target for how long a recovery may take, which drills are held against.",
        "10m",
        absent="15m",
    ),
    Key(
        BACKUP,
        "drill",
        ShortText(200),
        "When recoveries are rehearsed, each scenario in turn: `daily`, `weekly`, `monthly`, or as in `[cron.NAME]`, "
        "by the same time zone.",
        "0 5 * * 0",
        absent="by hand only",
    ),
    Key(
        BACKUP,
        "drill_scenarios",
        Drills(),
        f"Which of them: {', '.join(f'`{name}`' for name in DRILLS)}.",
        ["table-dropped", "cluster-lost"],
        absent="all of them",
    ),
    *(
        Key(
            KEEP,
            name,
            Whole(0, 1000),
            f"The newest backup of each of so many {what} that have one.",
            example,
            default=default,
        )
        for name, what, example, default in _KEPT
    ),
    Key(
        PROOF_QUERY,
        "query",
        Query(),
        "The query.",
        "SELECT sum(amount) FROM entries",
        absent="required",
    ),
    Key(
        PROOF_QUERY,
        "expect",
        ShortText(500),
        "What the first row's first value has to be, as text.",
        "0",
        absent="a row whose first value is not null, false or 0",
    ),
    Key(PROOF_QUERY, "database", Name(), "The database that is asked.", "reports", default="main"),
)
