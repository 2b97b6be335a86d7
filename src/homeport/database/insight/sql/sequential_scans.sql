SELECT s.relid::bigint AS table_id, format('%I.%I', s.schemaname, s.relname) AS "table", s.seq_scan AS scans,
       s.seq_tup_read AS read, coalesce(s.idx_scan, 0) AS index_scans,
       greatest(c.reltuples, s.n_live_tup)::bigint AS rows, c.relpages * 8192::bigint AS bytes
FROM pg_stat_user_tables AS s
JOIN pg_class AS c ON c.oid = s.relid
WHERE s.seq_scan > 0
ORDER BY s.seq_tup_read DESC
LIMIT 200
