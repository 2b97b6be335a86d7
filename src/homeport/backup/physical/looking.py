"""What a server says of its log."""

from pathlib import Path

from homeport.backup.physical import heartbeat
from homeport.backup.physical.model import SLOT
from homeport.backup.physical.plan import ServerLook
from homeport.backup.physical.wal import segment
from homeport.database.connect import Connection
from homeport.system import files

_QUERY = """
SELECT clock_timestamp(), current_setting('archive_command'), a.last_archived_wal, a.last_archived_time,
  CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity') THEN a.last_failed_wal END,
  a.last_failed_time, pg_walfile_name(pg_current_wal_insert_lsn()), w.ready, w.oldest,
  s.slot_name IS NOT NULL, coalesce(s.active, false), coalesce(s.wal_status, ''),
  coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn), 0)::bigint,
  (SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_waldir())
FROM pg_stat_archiver a
CROSS JOIN (SELECT count(*) AS ready, min(modification) AS oldest
  FROM pg_ls_archive_statusdir() WHERE name LIKE '%%.ready') w
LEFT JOIN pg_replication_slots s ON s.slot_name = %s
"""


def look(connection: Connection, disk: Path) -> ServerLook:
    row = connection.execute(_QUERY, (SLOT,)).fetchone()
    assert row is not None
    return ServerLook(
        now=row[0],
        archive_command=row[1],
        last_archived=row[2] or "",
        last_archived_at=row[3],
        last_failed=row[4] or "",
        last_failed_at=row[5],
        current=segment(row[6]),
        ready=row[7],
        oldest_ready_at=row[8],
        slot=row[9],
        slot_active=row[10],
        slot_status=row[11],
        slot_behind=row[12],
        log_bytes=row[13],
        free_bytes=files.free_bytes(disk),
        heartbeat_at=heartbeat.newest(connection),
    )
