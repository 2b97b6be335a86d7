-- Never scanned since the counters began; not one that a constraint rests on, or that holds rows unique.
WITH locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT format('%I.%I', s.schemaname, s.indexrelname) AS index, format('%I.%I', s.schemaname, s.relname) AS "table",
       c.relpages * 8192::bigint AS bytes, t.n_tup_ins + t.n_tup_upd + t.n_tup_del AS writes,
       CASE WHEN i.indrelid IN (SELECT relation FROM locked) THEN '' ELSE pg_get_indexdef(s.indexrelid) END
           AS definition
FROM pg_stat_user_indexes AS s
JOIN pg_index AS i ON i.indexrelid = s.indexrelid
JOIN pg_class AS c ON c.oid = s.indexrelid
JOIN pg_stat_user_tables AS t ON t.relid = s.relid
WHERE s.idx_scan = 0 AND i.indisvalid AND i.indislive
  AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisreplident
  AND NOT i.indisclustered
  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = s.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = s.indexrelid)
  -- One that serves a foreign key is used by deletes on the other side, which may be rare.
  AND NOT EXISTS (
      SELECT FROM pg_constraint AS k
      WHERE k.contype = 'f' AND k.conrelid = s.relid
        AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
        AND i.indpred IS NULL
  )
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = s.indexrelid AND d.deptype = 'e'
  )
ORDER BY bytes DESC
LIMIT 200
