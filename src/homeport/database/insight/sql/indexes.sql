-- Every valid index of the app's tables, with what makes two of them the same. PostgreSQL can write out expressions
-- and predicates only of tables that nobody has locked, or it waits.
WITH locked AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), one AS MATERIALIZED (
    SELECT i.indexrelid, l.relation IS NOT NULL AS locked,
           CASE WHEN l.relation IS NULL AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
                THEN pg_get_indexdef(i.indexrelid) ELSE '' END AS definition
    FROM pg_index AS i
    LEFT JOIN (SELECT DISTINCT relation FROM locked) AS l ON l.relation = i.indrelid
)
SELECT i.indrelid::bigint AS table_id, format('%I.%I', n.nspname, t.relname) AS "table",
       format('%I.%I', n.nspname, c.relname) AS index, am.amname AS method,
       string_to_array(i.indkey::text, ' ')::int[] AS columns,
       i.indnkeyatts::int AS keys,
       string_to_array(i.indclass::text, ' ')::bigint[] AS classes,
       string_to_array(i.indcollation::text, ' ')::bigint[] AS collations,
       string_to_array(i.indoption::text, ' ')::int[] AS options,
       i.indexprs IS NOT NULL AS expressions,
       CASE WHEN i.indpred IS NULL THEN '' ELSE substring(one.definition FROM ' WHERE (.*)$') END AS predicate,
       substring(one.definition FROM ' USING (.*)$') AS shape,
       one.locked AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AS locked,
       i.indisunique AS "unique", i.indnullsnotdistinct AS nulls_same, i.indisprimary AS "primary",
       i.indisexclusion OR i.indisreplident OR i.indisclustered OR con.oid IS NOT NULL
           OR h.inhrelid IS NOT NULL OR NOT i.indimmediate AS bound,
       c.relpages * 8192::bigint AS bytes
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
JOIN one ON one.indexrelid = i.indexrelid
JOIN pg_am AS am ON am.oid = c.relam
LEFT JOIN pg_inherits AS h ON h.inhrelid = c.oid
LEFT JOIN LATERAL (SELECT oid FROM pg_constraint WHERE conindid = c.oid LIMIT 1) AS con ON true
WHERE i.indisvalid AND i.indislive AND c.relkind = 'i' AND t.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 2, 3
LIMIT 20000
