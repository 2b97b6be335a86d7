-- Not those that are being built this moment.
WITH locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT format('%I.%I', n.nspname, c.relname) AS index, format('%I.%I', tn.nspname, t.relname) AS "table",
       c.relname ~ '_ccnew[0-9]*$' OR c.relname ~ '_ccold[0-9]*$' AS leftover,
       c.relpages * 8192::bigint AS bytes, i.indisready AS written, c.relkind::text AS kind,
       CASE WHEN i.indrelid IN (SELECT relation FROM locked) THEN '' ELSE pg_get_indexdef(c.oid) END
           AS definition
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE NOT i.indisvalid AND c.relkind IN ('i', 'I')
  AND NOT EXISTS (
      SELECT FROM pg_stat_progress_create_index AS p
      WHERE p.datname = current_database() AND (p.relid = i.indrelid OR p.relid IS NULL
             OR i.indrelid = (SELECT reltoastrelid FROM pg_class WHERE oid = p.relid))
  )
ORDER BY 1
LIMIT 200
