-- Foreign keys whose columns no index begins with, in whatever order. A partial index counts where it leaves out NULL.
WITH locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT c.conrelid::bigint AS table_id, format('%I.%I', n.nspname, t.relname) AS "table",
       quote_ident(c.conname) AS name, format('%I.%I', rn.nspname, r.relname) AS refers,
       (SELECT array_agg(quote_ident(a.attname) ORDER BY k.position)
        FROM unnest(c.conkey) WITH ORDINALITY AS k (number, position)
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns,
       greatest(t.reltuples, s.n_live_tup, 0)::bigint AS rows, t.relpages * 8192::bigint AS bytes,
       c.confdeltype::text AS on_delete
FROM pg_constraint AS c
JOIN pg_class AS t ON t.oid = c.conrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_class AS r ON r.oid = c.confrelid
JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
LEFT JOIN pg_stat_user_tables AS s ON s.relid = t.oid
WHERE c.contype = 'f' AND t.relkind = 'r'
  AND NOT EXISTS (
      SELECT FROM pg_index AS i
      WHERE i.indrelid = c.conrelid AND i.indisvalid
        AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
        AND (i.indpred IS NULL OR CASE WHEN i.indrelid IN (SELECT relation FROM locked) THEN true
                                       ELSE pg_get_indexdef(i.indexrelid) LIKE '%IS NOT NULL%' END)
  )
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.deptype = 'e'
  )
ORDER BY rows DESC
LIMIT 200
