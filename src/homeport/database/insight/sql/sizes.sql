-- Of tables with their indexes and what is stored beside them, as of their last VACUUM or ANALYZE: sizes of the
-- moment would wait for whoever locks a table.
SELECT format('%I.%I', n.nspname, c.relname) AS "table",
       8192 * (c.relpages + coalesce(t.relpages, 0) + coalesce((
           SELECT sum(ic.relpages) FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid
           WHERE i.indrelid IN (c.oid, c.reltoastrelid)
       ), 0))::bigint AS bytes
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid AND c.reltoastrelid <> 0
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 2 DESC
LIMIT 2000
