SELECT slot_name AS name, slot_type AS type, active, wal_status,
       pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
       )::bigint AS retained,
       safe_wal_size
FROM pg_replication_slots
WHERE NOT temporary
ORDER BY slot_name
LIMIT 200
